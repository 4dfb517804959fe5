#include "planner/advice_search.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>
#include <limits>
#include <memory>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/optimum.hpp"

namespace isoflop::planner {
namespace {

using cost::Recompute;
using model::ModelConfig;
using recipe::PlanKeys;

constexpr double kInfinity = std::numeric_limits<double>::infinity();
/// Compute, as a fraction, below which an architecture is no cheaper than another.
constexpr double kNegligibleCompute = 0.01;

void set_execution(recipe::TrainingEfficiency& keys, const cost::Execution& execution) {
    keys.batch_size = execution.micro_batch_size;
    keys.gradient_accumulation_steps = execution.grad_accum_steps;
    keys.use_flash_attention.reset();
    keys.attention_backend = execution.attention_backend;
    keys.recompute = execution.recompute;
    keys.parallelism = execution.parallelism;
}

/// With four digits, rounded down.
double readable_mfu(double mfu) {
    const double step = std::pow(10.0, std::floor(std::log10(mfu)) - 3);
    const double rounded = std::floor(mfu / step) * step;
    return std::stod(fmt::format("{:.4g}", rounded));
}

bool can_be_counted(const BackwardPlan& plan, const ModelConfig& member) {
    return model::find_inconsistency(member).empty() &&
           cost::flops_are_countable(member, 1, plan.run.config.execution.sequence_length);
}

bool may_fit(const BackwardPlan& plan, const ModelConfig& member, Recompute recompute) {
    return can_be_counted(plan, member) && fits_frugally(plan, member, recompute);
}

void append(std::vector<ModelConfig>& members, std::vector<ModelConfig> more) {
    std::move(more.begin(), more.end(), std::back_inserter(members));
}

}  // namespace

ModelConfig member_at(const ModelConfig& config, double scale) {
    const double layers = std::round(static_cast<double>(config.num_hidden_layers) * scale);
    return grid_member(config, scale, std::max<std::int64_t>(std::llround(layers), 1));
}

bool fits_frugally(const BackwardPlan& plan, const ModelConfig& member, Recompute recompute) {
    cost::Execution frugal = recipe::frugal_execution(member, plan.run.config.execution);
    frugal.recompute = recompute;
    return cost::memory_is_countable(member, frugal) &&
           cost::memory_plan(member, model::parameter_layout(member), frugal,
                             *plan.run.config.optimizer)
                   .total_bytes() <= plan.memory.capacity_bytes;
}

AdviceSearch::AdviceSearch(const BackwardPlan& plan, PlanKeys keys, const hardware::GpuTable& gpus,
                           Goal goal)
    : plan_(plan), keys_(std::move(keys)), gpus_(gpus), goal_(goal) {
    keys_.notes.clear();
    keys_.source.reset();
    keys_.dataset_constraints.sequence_length = plan.run.config.execution.sequence_length;
    if (goal == Goal::least_compute) return;
    // The budget of the plan, whichever of its keys it was solved from.
    keys_.training_gear.num_gpus = plan.solution.num_gpus;
    keys_.training_gear.available_hours = plan.budget.hours;
    keys_.dataset_constraints.training_tokens = {};
    keys_.scaling_law.target_loss = {};
}

Attempt AdviceSearch::planned(const ModelConfig& member) const {
    try {
        return {.advice = try_plan(member)};
    } catch (const ConfigError& error) {
        // Sizes that cannot be counted, or that the model type refuses; a loss out of reach.
        return {.obstacle = error.what()};
    }
}

bool AdviceSearch::is_near_target(const Advice& advice) const {
    if (advice.slowdown > 0) return false;
    const std::optional<Target> continuous = target(advice.plan->run.config.model, 0);
    return continuous && value_of(advice) <= continuous->value + margin();
}

std::optional<Advice> AdviceSearch::better(std::optional<Advice> first,
                                           std::optional<Advice> second) const {
    if (!first) return second;
    if (is_near_target(*first)) return first;
    if (!second || value_of(*second) >= value_of(*first) - margin()) return first;
    return second;
}

std::optional<Advice> AdviceSearch::improved(std::optional<Advice> best) const {
    constexpr int kMostRounds = 100;  // each is better than the one before by the margin
    for (int round = 0; round < kMostRounds; ++round) {
        const ModelConfig config = best ? best->plan->run.config.model : plan_.run.config.model;
        const double slowdown = best ? best->slowdown : 0;
        if (best && is_near_target(*best)) return best;
        std::optional<Advice> next = best_of(candidates(config, slowdown), best);
        if (!next) return best;
        best = std::move(next);
    }
    return best;
}

double AdviceSearch::margin() const {
    return goal_ == Goal::least_loss ? kNegligibleLoss : kNegligibleCompute;
}

/// Loss, or the logarithm of GPU seconds.
double AdviceSearch::value_of(const Advice& advice) const {
    const BackwardPlan& plan = *advice.plan;
    if (goal_ == Goal::least_loss) return plan.loss_with_repetition.total;
    return std::log(plan.budget.num_gpus * plan.schedule.seconds);
}

/// The value in an execution that is slower than the given one by no more: a lower bound.
double AdviceSearch::estimate(const ModelConfig& member, double slowdown) const {
    const model::ParameterTotals totals = model::parameter_layout(member).totals();
    const double n_params = counted(totals, plan_.law.counts);
    const double flops_per_token = cost::training_flops_per_token(
        member, totals, plan_.run.config.execution, plan_.budget.convention);
    const scaling_law::DataSupply& data = plan_.tokens.data;
    if (goal_ == Goal::least_loss) {
        const double n_tokens =
            data.usable(plan_.budget.counted_flops / ((1 + slowdown) * flops_per_token));
        return scaling_law::loss_with_repetition(plan_.law, n_params, n_tokens, data.unique_tokens)
            .total;
    }
    const double n_tokens =
        scaling_law::tokens_for_loss_with_repetition(
            plan_.law, n_params, plan_.solution.target_loss.value(), data.unique_tokens)
            .value_or(kInfinity);
    if (n_tokens > data.allowed_tokens) return kInfinity;
    return std::log((1 + slowdown) * n_tokens * flops_per_token /
                    (plan_.budget.peak_flops_per_gpu * plan_.budget.mfu));
}

/// That of the least recomputation with which the member fits; nullopt where it does not.
std::optional<double> AdviceSearch::least_slowdown(const ModelConfig& member) const {
    const Recompute given = plan_.run.config.execution.recompute;
    for (const Recompute recompute : {Recompute::none, Recompute::attention, Recompute::block}) {
        if (recompute < given || !fits_frugally(plan_, member, recompute)) continue;
        return recipe::recompute_slowdown(recompute) - recipe::recompute_slowdown(given);
    }
    return std::nullopt;
}

/// The continuous optimum of a family where the execution is slower than the given one.
std::optional<AdviceSearch::Target> AdviceSearch::target(const ModelConfig& config,
                                                         double slowdown) const {
    const std::int64_t length = plan_.run.config.execution.sequence_length;
    const ComputeBudget& budget = plan_.budget;
    if (goal_ == Goal::least_loss) {
        const FamilyOptimum best =
            family_optimum(config, length, plan_.law, budget.counted_flops / (1 + slowdown),
                           plan_.tokens.data, budget.convention);
        return Target{best.scale, best.continuous.loss.total};
    }
    const std::optional<CheapestModel> best =
        cheapest_for_loss(config, length, plan_.law, plan_.solution.target_loss.value(),
                          plan_.tokens.data, budget.convention);
    if (!best) return std::nullopt;
    return Target{best->scale, std::log(best->counted_flops * (1 + slowdown) /
                                        (budget.peak_flops_per_gpu * budget.mfu))};
}

/// Of the members up to the scale `most`, the largest that fits with this recomputation.
double AdviceSearch::largest_scale(const ModelConfig& config, double most,
                                   Recompute recompute) const {
    constexpr double kSmallestScale = 1e-3;
    constexpr double kPrecision = 1e-3;  // of ln scale: 0.3 % of the parameters
    double low = std::log(kSmallestScale);
    double high = std::log(std::max(most, kSmallestScale));
    while (high - low > kPrecision) {
        const double middle = (low + high) / 2;
        (may_fit(plan_, member_at(config, std::exp(middle)), recompute) ? low : high) = middle;
    }
    return std::exp(low);
}

std::vector<ModelConfig> AdviceSearch::candidates(const ModelConfig& config,
                                                  double slowdown) const {
    std::vector<ModelConfig> members = neighbours(config);
    if (const std::optional<Target> optimum = target(config, slowdown)) {
        members.push_back(member_at(config, optimum->scale));
        append(members, roundings(config, optimum->scale));
    }
    add_what_fits(members, config, slowdown);
    return members;
}

/// More recomputation lets larger models fit, and takes a part of the compute.
void AdviceSearch::add_what_fits(std::vector<ModelConfig>& members, const ModelConfig& config,
                                 double slowdown) const {
    // Less memory than the most frugal execution needs, none does: a few steps are enough.
    constexpr std::array kSteps{0.0,   0.016, 0.031, 0.047, 0.063, 0.125, 0.188, 0.25,  0.313,
                                0.375, 0.438, 0.5,   0.563, 0.625, 0.688, 0.75,  0.813, 0.875};
    const Recompute given = plan_.run.config.execution.recompute;
    for (const Recompute recompute : {Recompute::none, Recompute::attention, Recompute::block}) {
        if (recompute < given) continue;
        const double recomputation =
            recipe::recompute_slowdown(recompute) - recipe::recompute_slowdown(given);
        const std::optional<Target> optimum = target(config, std::max(slowdown, recomputation));
        if (!optimum) return;
        if (may_fit(plan_, member_at(config, optimum->scale), recompute)) {
            append(members, roundings(config, optimum->scale));
            return;
        }
        const double scale = largest_scale(config, optimum->scale, recompute);
        for (const double step : kSteps)
            members.push_back(member_at(config, scale * std::exp(-step)));
    }
}

/// The best of those that are better than `current` by more than the margin.
std::optional<Advice> AdviceSearch::best_of(const std::vector<ModelConfig>& members,
                                            const std::optional<Advice>& current) const {
    std::vector<std::pair<double, const ModelConfig*>> order;
    double limit = current ? value_of(*current) - margin() : kInfinity;
    for (const ModelConfig& member : members) {
        if (!can_be_counted(plan_, member)) continue;
        if (const double bound = estimate(member, 0); bound < limit)
            order.emplace_back(bound, &member);
    }
    std::stable_sort(order.begin(), order.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::optional<Advice> best;
    for (const auto& [bound, member] : order) {
        if (bound >= limit) break;
        const std::optional<double> slowdown = least_slowdown(*member);
        if (!slowdown || estimate(*member, *slowdown) >= limit) continue;
        Attempt attempt = planned(*member);
        if (!attempt.advice || value_of(*attempt.advice) >= limit) continue;
        limit = value_of(*attempt.advice);
        best = std::move(attempt.advice);
    }
    return best;
}

Advice AdviceSearch::replanned(PlanKeys keys) const {
    auto plan = std::make_shared<const BackwardPlan>(backward_plan(keys, gpus_, Detail::summary));
    return {.keys = std::move(keys), .plan = std::move(plan)};
}

std::optional<Advice> AdviceSearch::try_plan(const ModelConfig& member) const {
    PlanKeys keys = keys_;
    keys.architecture = resized(keys.architecture, member);
    // Lists of one entry a layer that only one class has are not resized: such a model keeps its
    // number of layers.
    try {
        (void)model::resolve(keys.architecture);
    } catch (const ConfigError&) {
        return std::nullopt;
    }
    Advice advice = replanned(std::move(keys));
    cost::Execution execution = advice.plan->run.config.execution;
    execution.micro_batch_size = advice.plan->batch.micro_batch_size;
    execution.grad_accum_steps = advice.plan->batch.grad_accum_steps;
    set_execution(advice.keys.training_efficiency, execution);
    advice = replanned(std::move(advice.keys));
    if (advice.plan->memory.fits()) return advice;
    const auto change =
        recipe::fitting_change(advice.plan->run, advice.plan->memory.capacity_bytes);
    if (!change) return std::nullopt;
    set_execution(advice.keys.training_efficiency, change->execution);
    if (change->slowdown > 0) {
        std::optional<double>& mfu = advice.keys.training_efficiency.expected_mfu;
        mfu = readable_mfu(mfu.value() / (1 + change->slowdown));
    }
    advice = replanned(std::move(advice.keys));
    advice.slowdown = change->slowdown;
    if (!advice.plan->memory.fits()) return std::nullopt;
    return advice;
}

}  // namespace isoflop::planner
