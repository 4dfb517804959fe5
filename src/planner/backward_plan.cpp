// The backward plan, step by step in the order of its report.
#include "isoflop/planner/backward_plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/optimum.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "isoflop/recipe/run_plan.hpp"

namespace isoflop::planner {
namespace {

constexpr double kSecondsPerHour = 3600.0;
/// Up to about four epochs repeated data are nearly as good as new ones (Muennighoff 2023, arXiv
/// 2305.16264).
constexpr double kHarmlessEpochs = 4.0;

/// Points at the key of the file in a refusal of its value.
template <class Call>
decltype(auto) at_key(const recipe::PlanKeys& config, std::string_view path, const Call& call) {
    try {
        return call();
    } catch (const ConfigError& error) {
        throw ConfigError(recipe::located(config, path, error.what()));
    }
}

void check_execution(const model::ModelConfig& model, const cost::Execution& execution,
                     std::vector<std::string>& warnings) {
    if (execution.sequence_length <= 0) {
        throw ConfigError(
            "the training context is unknown: set dataset_constraints.sequence_length or "
            "architecture.max_position_embeddings");
    }
    const bool learned = model.position_encoding == model::PositionEncoding::learned_absolute;
    if (execution.sequence_length > model.max_position_embeddings &&
        model.max_position_embeddings > 0) {
        const std::string text =
            fmt::format("sequence_length {} is longer than max_position_embeddings {}",
                        execution.sequence_length, model.max_position_embeddings);
        if (learned) throw ConfigError(text + ", which learned position embeddings cannot serve");
        warnings.push_back(text);
    }
    if (!cost::flops_are_countable(model, execution.micro_batch_size, execution.sequence_length) ||
        !cost::memory_is_countable(model, execution)) {
        throw ConfigError(
            fmt::format("one micro-batch of {} sequences of {} tokens is too large to count "
                        "exactly (over 2^62 FLOPs "
                        "or bytes); use a smaller batch_size or sequence_length",
                        execution.micro_batch_size, execution.sequence_length));
    }
}

bool is_builtin(const hardware::Gpu& gpu) {
    const hardware::Gpu* known = hardware::GpuTable::builtin().find(gpu.id);
    return known != nullptr && *known == gpu;
}

/// The rate of one GPU; `solve` completes GPUs and hours.
ComputeBudget rate_of_gpu(const recipe::PlanKeys& config, const hardware::Gpu& gpu,
                          const hardware::GpuTable& table, std::vector<std::string>& warnings) {
    const recipe::TrainingGear& gear = config.training_gear;
    ComputeBudget budget;
    budget.gpu_id = gpu.id;
    budget.plan_only = gpu.plan_only;
    budget.is_builtin = is_builtin(gpu);
    budget.gpu_source = table.source_name();
    budget.mfu = config.training_efficiency.expected_mfu.value();
    budget.convention = config.training_efficiency.flop_convention;
    budget.dtype = gear.dtype;
    if (gear.peak_flops_per_gpu) {
        budget.peak_flops_per_gpu = *gear.peak_flops_per_gpu;
        budget.peak_from_table = false;
        if (gpu.dense_peak_flops[static_cast<std::size_t>(gear.dtype)]) {
            const auto check = hardware::check_peak(gpu, gear.dtype, budget.peak_flops_per_gpu);
            if (!check.warning.empty()) warnings.push_back(check.warning);
        }
    } else {
        budget.peak_flops_per_gpu = at_key(config, "training_gear.dtype",
                                           [&] { return hardware::peak_flops(gpu, gear.dtype); });
    }
    return budget;
}

/// Completes budget and recipe by what `solve` finds.
Solution complete(const recipe::PlanKeys& config, const scaling_law::Law& law,
                  ComputeBudget& budget, recipe::Recipe& recipe) {
    Solution solution =
        solve(config, {.model = recipe.model,
                       .execution = recipe.execution,
                       .law = law,
                       .flops_per_gpu_second = budget.peak_flops_per_gpu * budget.mfu});
    recipe.world_size = solution.num_gpus;
    recipe.execution.world_size = solution.num_gpus;
    budget.num_gpus = static_cast<double>(solution.num_gpus);
    budget.hours = solution.hours;
    budget.counted_flops =
        budget.num_gpus * budget.peak_flops_per_gpu * budget.mfu * budget.hours * kSecondsPerHour;
    return solution;
}

/// `asked` are tokens that data and budget allow; without them all that they allow are used.
TokenBudget token_budget(const recipe::DatasetConstraints& data, std::optional<double> asked,
                         double compute_flops, double flops_per_token,
                         std::vector<std::string>& warnings) {
    TokenBudget budget;
    budget.compute_limited = asked.value_or(compute_flops / flops_per_token);
    budget.n_tokens = budget.compute_limited;
    budget.effective = budget.n_tokens;
    if (!data.dataset_size) return budget;
    const auto unique = static_cast<double>(*data.dataset_size);
    budget.data_limited = unique * data.max_epochs;
    budget.constrained = !asked && budget.compute_limited > *budget.data_limited;
    if (budget.constrained) budget.n_tokens = *budget.data_limited;
    budget.epochs = budget.n_tokens / unique;
    budget.data = {.unique_tokens = unique, .allowed_tokens = *budget.data_limited};
    budget.effective = scaling_law::effective_tokens(budget.n_tokens, unique);
    if (budget.constrained) {
        budget.unused_compute_flops = (budget.compute_limited - budget.n_tokens) * flops_per_token;
    }
    if (budget.epochs > kHarmlessEpochs) {
        warnings.push_back(
            fmt::format("the data are repeated {:.1f} times; beyond about 4 epochs repeated tokens "
                        "are worth less than the "
                        "law assumes (Muennighoff 2023), so the predicted loss is optimistic",
                        budget.epochs));
    }
    if (budget.epochs > scaling_law::kMostCreditableEpochs) {
        warnings.push_back(fmt::format(
            "{:.1f} epochs are beyond the {:.0f} up to which the value of repetition is known: "
            "real losses are worse than predicted, as models overfit",
            budget.epochs, scaling_law::kMostCreditableEpochs));
    }
    return budget;
}

/// Elements that one token uses, enter no matrix product and are no embedding: norms, biases,
/// decays, kernels of convolutions.
std::int64_t vector_elements(const model::ParameterLayout& layout) {
    std::int64_t elements = 0;
    const auto add = [&](const std::vector<model::TensorSpec>& tensors, std::int64_t layers) {
        for (const model::TensorSpec& tensor : tensors) {
            const bool looked_up = tensor.component == model::Component::token_embedding ||
                                   tensor.component == model::Component::position_embedding;
            if (tensor.is_matmul || looked_up) continue;
            const bool routed = tensor.component == model::Component::routed_experts;
            elements += tensor.elements() *
                        (routed ? layout.num_experts_per_token : tensor.copies) * layers;
        }
    };
    add(layout.embedding, 1);
    for (const model::BlockLayout& block : layout.blocks) add(block.tensors, block.count());
    add(layout.head, 1);
    return elements;
}

Verification verify(const BackwardPlan& plan) {
    Verification result;
    const auto& by_component = plan.run.parameters.by_component;
    const auto parameters = [&](model::Component component) {
        return static_cast<double>(by_component[static_cast<std::size_t>(component)]);
    };
    const double D = plan.tokens.n_tokens;
    result.exact_flops = plan.run.exact_flops_per_token;
    result.six_nd_flops =
        plan.run.convention_flops_per_token[static_cast<std::size_t>(cost::Convention::six_nd)];
    const auto products =
        cost::forward_products(plan.run.config.model, 1, plan.run.config.execution.sequence_length,
                               cost::AttentionMask::full);
    double weights_per_token = 0;
    for (const auto& product : products) {
        const double training = 3.0 * static_cast<double>(product.flops()) /
                                static_cast<double>(plan.run.config.execution.sequence_length);
        // No weights are in these: what tokens have to do with each other.
        const bool core = product.group == cost::FlopGroup::attention_core ||
                          product.name == "recurrence.state" ||
                          product.name == "recurrence.convolution";
        (core ? result.attention : weights_per_token) += training;
    }
    // A tied table serves as the head and is counted there; untied input tables only look rows up.
    result.input_embedding = -6.0 * parameters(model::Component::position_embedding);
    if (!plan.run.layout.tied_head) {
        result.input_embedding -= 6.0 * parameters(model::Component::token_embedding);
    }
    result.vectors = -6.0 * static_cast<double>(vector_elements(plan.run.layout));
    result.recomputed_compute_flops =
        D * (weights_per_token + result.attention) + plan.tokens.unused_compute_flops;
    result.relative_error = result.recomputed_compute_flops / plan.budget.compute_flops - 1.0;
    return result;
}

Schedule schedule(const BackwardPlan& plan) {
    const cost::Execution& execution = plan.run.config.execution;
    Schedule result;
    result.sequences_per_step = static_cast<double>(execution.micro_batch_size) *
                                static_cast<double>(execution.grad_accum_steps) *
                                static_cast<double>(execution.world_size);
    result.tokens_per_step =
        result.sequences_per_step * static_cast<double>(execution.sequence_length);
    result.steps = std::ceil(plan.tokens.n_tokens / result.tokens_per_step);
    // The last step is a whole one; where the data have no tokens for it, it is left out.
    if (const auto limit = plan.tokens.data_limited;
        limit && result.steps * result.tokens_per_step > *limit) {
        result.steps = std::max(1.0, std::floor(*limit / result.tokens_per_step));
    }
    const double counted_flops_per_second =
        plan.budget.num_gpus * plan.budget.peak_flops_per_gpu * plan.budget.mfu;
    result.tokens_per_second = counted_flops_per_second / plan.run.model_flops_per_token;
    result.tokens_per_second_per_gpu = result.tokens_per_second / plan.budget.num_gpus;
    result.seconds = plan.tokens.n_tokens / result.tokens_per_second;
    result.seconds_per_step = result.tokens_per_step / result.tokens_per_second;
    return result;
}

void check_finite(const BackwardPlan& plan) {
    const bool sound = std::isfinite(plan.budget.compute_flops) &&
                       std::isfinite(plan.tokens.n_tokens) && std::isfinite(plan.loss.total) &&
                       plan.tokens.n_tokens > 0 && std::isfinite(plan.optimum.six_nd.n_params) &&
                       std::isfinite(plan.optimum.six_nd.n_tokens) &&
                       std::isfinite(plan.optimum.loss_gap) &&
                       std::isfinite(plan.optimum.six_nd.n_tokens / plan.optimum.six_nd.n_params) &&
                       std::isfinite(plan.optimum.optimal_tokens_per_parameter) &&
                       std::isfinite(1 / plan.optimum.optimal_tokens_per_parameter);
    if (!sound) {
        throw ConfigError(
            "these values lead to figures outside the range of double precision; check hours, "
            "GPUs, the peak "
            "and the constants of the scaling law");
    }
    if (plan.tokens.data_limited && *plan.tokens.data_limited < 1) {
        throw ConfigError("dataset_size x max_epochs is less than one token");
    }
    if (plan.tokens.n_tokens < 1) {
        throw ConfigError(fmt::format(
            "{} FLOP do not pay for one token, which takes {} in training",
            human_flops(plan.budget.compute_flops), human_flops(plan.run.exact_flops_per_token)));
    }
    constexpr double kCountable = 9e15;  // whole numbers are exact in a double up to 2^53
    if (plan.schedule.tokens_per_step > kCountable || plan.schedule.steps > kCountable) {
        throw ConfigError(
            fmt::format("{} steps of {} tokens are too many to count exactly (over {}); check "
                        "hours, GPUs, the peak, batch_size "
                        "and gradient_accumulation_steps",
                        human_count(plan.schedule.steps),
                        human_count(plan.schedule.tokens_per_step), human_count(kCountable)));
    }
}

recipe::RunPlan run_of(recipe::Recipe recipe, Detail detail) {
    recipe::AttentionResolution attention =
        recipe::resolve_attention(recipe.model, recipe.execution);
    const auto extent = detail == Detail::full ? recipe::Extent::plan : recipe::Extent::sweep;
    return recipe::plan_run(std::move(recipe), std::move(attention), extent);
}

}  // namespace

scaling_law::Law chosen_law(const recipe::ScalingLawChoice& choice) {
    const bool overridden = choice.E || choice.A || choice.B || choice.alpha || choice.beta;
    scaling_law::Law law;
    if (choice.base == "custom") {
        if (!(choice.E && choice.A && choice.B && choice.alpha && choice.beta)) {
            throw ConfigError("scaling_law.base \"custom\" needs all of E, A, B, alpha and beta");
        }
        law.id = "custom";
        law.title = "custom constants";
        law.source = "the configuration";
    } else {
        law = scaling_law::law(choice.base);
    }
    if (!overridden) return law;
    if (law.form != scaling_law::Form::chinchilla) {
        throw ConfigError(fmt::format(
            "scaling_law: E, A, B, alpha and beta do not belong to {}, which has another form",
            law.id));
    }
    const scaling_law::ChinchillaConstants published = law.chinchilla;
    scaling_law::ChinchillaConstants& constants = law.chinchilla;
    constants.E = choice.E.value_or(constants.E);
    constants.A = choice.A.value_or(constants.A);
    constants.B = choice.B.value_or(constants.B);
    constants.alpha = choice.alpha.value_or(constants.alpha);
    constants.beta = choice.beta.value_or(constants.beta);
    const bool same = constants.E == published.E && constants.A == published.A &&
                      constants.B == published.B && constants.alpha == published.alpha &&
                      constants.beta == published.beta;
    if (!same) {
        law.uncertainty.reset();  // published for other constants
        if (law.id != "custom") law.title += ", with constants overridden";
    }
    return law;
}

BackwardPlan backward_plan(const recipe::PlanKeys& config, const hardware::GpuTable& gpus,
                           Detail detail) {
    BackwardPlan plan;
    plan.warnings = config.notes;
    recipe::Recipe recipe = recipe::recipe_of(config, model::resolve(config.architecture));
    if (std::string note = recipe::training_context(config, recipe.model).note; !note.empty())
        plan.warnings.push_back(std::move(note));
    check_execution(recipe.model, recipe.execution, plan.warnings);

    const hardware::Gpu& gpu =
        at_key(config, "training_gear.gpu_type",
               [&]() -> const hardware::Gpu& { return gpus.at(config.training_gear.gpu_type); });
    std::vector<std::string> peak_warnings;
    plan.budget = rate_of_gpu(config, gpu, gpus, peak_warnings);
    plan.law = at_key(config, "scaling_law.base", [&] { return chosen_law(config.scaling_law); });
    plan.solution = complete(config, plan.law, plan.budget, recipe);
    plan.run = run_of(std::move(recipe), detail);
    if (plan.run.attention.fell_back())
        plan.warnings.push_back(recipe::fallback_warning(plan.run.attention));
    plan.warnings.insert(plan.warnings.end(), peak_warnings.begin(), peak_warnings.end());

    plan.budget.compute_flops = plan.budget.counted_flops *
                                (plan.run.exact_flops_per_token / plan.run.model_flops_per_token);
    plan.forward_flops_per_token = plan.run.exact_flops_per_token / 3.0;
    plan.tokens =
        token_budget(config.dataset_constraints, plan.solution.n_tokens, plan.budget.compute_flops,
                     plan.run.exact_flops_per_token, plan.warnings);
    plan.loss = scaling_law::loss(plan.law, parameters_of_law(plan), plan.tokens.n_tokens);
    plan.loss_with_repetition = scaling_law::loss_with_repetition(
        plan.law, parameters_of_law(plan), plan.tokens.n_tokens, plan.tokens.data.unique_tokens);
    plan.schedule = schedule(plan);
    plan.batch = batch_advice(plan.run.config.execution, plan.tokens.n_tokens);
    plan.cost =
        run_cost(config, gpu, plan.budget.num_gpus, plan.schedule.seconds / kSecondsPerHour);
    plan.optimum = compare_with_optimum(plan, detail);
    check_finite(plan);

    plan.memory = detail == Detail::full
                      ? recipe::memory_fit(plan.run, gpu.usable_memory_bytes)
                      : recipe::MemoryFit{.planned_bytes = plan.run.memory.total_bytes(),
                                          .capacity_bytes = gpu.usable_memory_bytes};
    if (detail == Detail::row || detail == Detail::fast_row)
        plan.optimum.memory_binds = exceeds_memory(plan);
    if (detail == Detail::row && plan.optimum.memory_binds) {
        advise(plan, config, gpus);
        plan.advice.reset();
    }
    if (detail != Detail::full) return plan;
    plan.verification = verify(plan);
    if (std::string warning = batch_warning(plan.batch, plan.run.config.execution);
        !warning.empty()) {
        plan.warnings.push_back(std::move(warning));
    }
    if (plan.solution.target_loss) {
        plan.cheapest = cheapest_for_loss(
            plan.run.config.model, plan.run.config.execution.sequence_length, plan.law,
            *plan.solution.target_loss, plan.tokens.data, plan.budget.convention);
        if (plan.cheapest) plan.cheapest->fits = fits_some_execution(plan, plan.cheapest->scale);
        plan.cheapest_advice = cheapest_advice(plan, config, gpus);
    }
    advise(plan, config, gpus);
    return plan;
}

}  // namespace isoflop::planner
