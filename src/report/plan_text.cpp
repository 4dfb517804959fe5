// A backward plan for people, section by section in the order it was worked out.
#include <fmt/format.h>

#include <cmath>
#include <vector>

#include "isoflop/base/text.hpp"
#include "isoflop/planner/optimum.hpp"
#include "isoflop/report/plan_report.hpp"
#include "isoflop/scaling_law/law.hpp"
#include "isoflop/text/sections.hpp"
#include "report/cost_report.hpp"
#include "report/figures.hpp"
#include "report/solved_report.hpp"

namespace isoflop::report {
namespace {

void megatron_rows(text::TextReport& report, const planner::BackwardPlan& plan) {
    const cost::MegatronEstimate estimate = cost::megatron_estimate(
        plan.run.config.model, plan.run.parameters, plan.run.config.execution);
    report.row("Megatron estimate", human_bytes(static_cast<double>(estimate.total_bytes())),
               "18 bytes per parameter, activations of Korthikanti 2022");
    report.row("  model state", human_bytes(static_cast<double>(estimate.model_state_bytes)));
    report.row("  activations", human_bytes(static_cast<double>(estimate.activation_bytes)));
    report.row("  logits", human_bytes(static_cast<double>(estimate.logits_bytes)));
}

using planner::BackwardPlan;

void budget_section(text::TextReport& report, const BackwardPlan& plan) {
    const planner::ComputeBudget& budget = plan.budget;
    report.section("1. Compute budget");
    report.row("GPUs", fmt::format("{:.0f} x {}", budget.num_gpus, budget.gpu_id), gpus_note(plan));
    report.row("Time", fmt::format("{:g} h", budget.hours), hours_note(plan));
    report.row("Peak per GPU", fmt::format("{:.1f} TFLOP/s", budget.peak_flops_per_gpu / 1e12),
               fmt::format("dense {}, {}", short_name(budget.dtype),
                           budget.peak_from_table ? budget.gpu_source : "given in the config"));
    report.row("MFU", fmt::format("{:.1f} %", budget.mfu * 100),
               fmt::format("model FLOPs, {} convention", to_string(budget.convention)));
    const bool exact = budget.convention == cost::Convention::exact;
    if (!exact) {
        report.row(fmt::format("FLOPs by {}", to_string(budget.convention)),
                   human_flops(budget.counted_flops) + " FLOP", "= GPUs x peak x MFU x seconds");
    }
    report.row("Compute C", human_flops(budget.compute_flops) + " FLOP",
               exact
                   ? "= GPUs x peak x MFU x seconds"
                   : fmt::format("x {:.4f}: every matrix product",
                                 plan.run.exact_flops_per_token / plan.run.model_flops_per_token));
}

void model_section(text::TextReport& report, const BackwardPlan& plan,
                   const PlanTextOptions& options) {
    report.section("2. Parameters");
    report.row("Architecture", text::architecture_line(plan.run.config.model));
    report.row("Parameters N", human_count(static_cast<double>(plan.run.parameters.total)),
               with_separators(plan.run.parameters.total));
    if (plan.run.parameters.active != plan.run.parameters.total) {
        report.row("Active per token", human_count(static_cast<double>(plan.run.parameters.active)),
                   with_separators(plan.run.parameters.active));
    }
    report.row("Non-embedding", human_count(static_cast<double>(plan.run.parameters.non_embedding)),
               with_separators(plan.run.parameters.non_embedding));
    if (options.show_breakdown) text::parameter_rows(report, plan.run.parameters);
}

void flops_section(text::TextReport& report, const BackwardPlan& plan,
                   const PlanTextOptions& options) {
    report.section("3. FLOPs per token");
    const std::int64_t S = plan.run.config.execution.sequence_length;
    report.row("Sequence length S", with_separators(S) + " tokens");
    report.row("Forward", text::flop_count(plan.forward_flops_per_token),
               "exact: every matrix product, full attention");
    report.row(
        "Training", text::flop_count(plan.run.exact_flops_per_token),
        fmt::format("{} FLOP = 3 x forward",
                    with_separators(static_cast<std::int64_t>(plan.run.exact_flops_per_token))));
    if (options.show_breakdown) {
        text::flop_rows(
            report, cost::forward_products(plan.run.config.model, 1, S, cost::AttentionMask::full),
            S);
    }
    if (options.all_conventions) {
        text::convention_table(report, plan.run.convention_flops_per_token);
    } else {
        // That of the MFU, and the one asked for.
        std::vector<cost::Convention> shown{plan.budget.convention};
        if (options.convention != shown.front()) shown.push_back(options.convention);
        for (const cost::Convention convention : shown) {
            if (convention != cost::Convention::exact)
                text::convention_row(report, plan.run.convention_flops_per_token, convention);
        }
    }
}

void token_section(text::TextReport& report, const BackwardPlan& plan) {
    const planner::TokenBudget& tokens = plan.tokens;
    report.section("4. Tokens");
    report.row("Tokens D", human_count(tokens.n_tokens), tokens_note(plan));
    if (tokens.data_limited) {
        report.row("Data limit", human_count(*tokens.data_limited), "dataset_size x max_epochs");
        report.row("Epochs", fmt::format("{:.3g}", tokens.epochs));
    }
    if (tokens.constrained) {
        report.row("Compute would allow", human_count(tokens.compute_limited));
        report.row("Unused compute", human_flops(tokens.unused_compute_flops) + " FLOP",
                   fmt::format("{:.1f} % of C",
                               tokens.unused_compute_flops / plan.budget.compute_flops * 100));
    }
    report.row("Tokens per parameter", ratio_text(plan.optimum.tokens_per_parameter));
}

void loss_section(text::TextReport& report, const BackwardPlan& plan) {
    const scaling_law::LossTerms& loss = plan.loss_with_repetition;
    const bool repeats = plan.tokens.epochs > 1;
    report.section("5. Predicted loss");
    report.row("Law", plan.law.id, plan.law.title);
    const std::string_view tokens = repeats ? "D'" : "D";  // effective ones
    if (plan.law.form == scaling_law::Form::chinchilla) {
        const auto& constants = plan.law.chinchilla;
        report.row("Irreducible E", fmt::format("{:.4f}", loss.irreducible));
        report.row("Model size A / N^alpha", loss_text(loss.model_size),
                   fmt::format("A {:g}, alpha {:g}", constants.A, constants.alpha));
        report.row(fmt::format("Data B / {}^beta", tokens), loss_text(loss.data),
                   fmt::format("B {:g}, beta {:g}", constants.B, constants.beta));
    } else {
        report.row("Model size alone", loss_text(loss.model_size), "(Nc / N)^alpha_N");
        report.row("Data alone", loss_text(loss.data), fmt::format("(Dc / {})^alpha_D", tokens));
    }
    report.row("Loss", loss_text(loss.total),
               loss.standard_error ? fmt::format("+- {:.4f} nats per token (one standard error)",
                                                 *loss.standard_error)
                                   : "nats per token");
    if (repeats) {
        report.row("  with repetition valued", "D' " + human_count(plan.tokens.effective),
                   "effective tokens, arXiv 2305.16264");
        report.row("  were all tokens new", loss_text(plan.loss.total));
    }
    target_loss_rows(report, plan);
}

void verification_section(text::TextReport& report, const BackwardPlan& plan) {
    const planner::Verification& check = plan.verification;
    report.section("6. Verification");
    report.row("C recomputed from N and D", human_flops(check.recomputed_compute_flops) + " FLOP",
               fmt::format("relative error {:.1e}", check.relative_error));
    report.row("6 N D rule", text::flop_count(check.six_nd_flops) + "/token");
    report.row("  - input embedding", text::flop_difference(check.input_embedding),
               "looked up, not multiplied");
    report.row("  - norms and biases", text::flop_difference(check.vectors), "no matrix product");
    report.row("  + attention", text::flop_difference(check.attention),
               "scores and values, which have no parameters");
    report.row(
        "Exact", text::flop_count(check.exact_flops) + "/token",
        fmt::format("{:+.1f} % against 6 N D", check.difference() / check.six_nd_flops * 100));
}

void memory_section(text::TextReport& report, const BackwardPlan& plan,
                    const PlanTextOptions& options) {
    report.section("7. Memory per GPU");
    report.row("Execution", text::execution_line(plan.run.config.execution));
    if (plan.run.attention.fell_back()) {
        report.row("Attention backend", to_string(plan.run.attention.used),
                   plan.run.attention.explanation());
    }
    const cost::MemoryPlan& memory = plan.run.memory;
    if (options.show_breakdown) text::memory_rows(report, memory);
    const auto total = static_cast<double>(memory.total_bytes());
    report.row("Total", human_bytes(total), "arena exact for our trainer; context estimated");
    recipe::fit_rows(report, plan.memory, "GPU memory");
    if (options.megatron_memory) megatron_rows(report, plan);
}

void schedule_section(text::TextReport& report, const BackwardPlan& plan) {
    const planner::Schedule& schedule = plan.schedule;
    report.section("8. Schedule");
    report.row("Global batch",
               fmt::format("{} sequences", human_count(schedule.sequences_per_step)),
               fmt::format("{} tokens per step",
                           with_separators(static_cast<std::int64_t>(schedule.tokens_per_step))));
    report.row("Usual batch", human_count(plan.batch.usual_tokens) + " tokens",
               "0.58 D^0.571, Step Law (arXiv 2503.04715)");
    if (plan.batch.is_unusual()) {
        report.row("Batch advised", human_count(plan.batch.advised_tokens) + " tokens");
        report.row("  to set", planner::batch_setting(plan.batch, plan.run.config.execution));
    }
    report.row("Steps", with_separators(static_cast<std::int64_t>(schedule.steps)));
    report.row("Time", human_seconds(schedule.seconds),
               fmt::format("{} per step", human_seconds(schedule.seconds_per_step)));
    report.row("Throughput", human_count(schedule.tokens_per_second) + " tokens/s",
               fmt::format("{:.0f} tokens/s per GPU", schedule.tokens_per_second_per_gpu));
    for (const cost::Collective& collective : plan.run.traffic) {
        report.row(collective.name, human_bytes(static_cast<double>(collective.bytes_sent)),
                   "sent per GPU and step");
    }
}

std::string verdict(const BackwardPlan& plan) {
    constexpr double kNear = 1.1;
    const planner::OptimumComparison& optimum = plan.optimum;
    if (optimum.reached) return "at the optimum";
    if (!optimum.data_bind && !optimum.memory_binds) {
        const double ratio = optimum.tokens_per_parameter / optimum.optimal_tokens_per_parameter;
        if (ratio > kNear) return fmt::format("over-trained {}x", ratio_text(ratio));
        if (ratio < 1 / kNear) return fmt::format("under-trained {}x", ratio_text(1 / ratio));
        return "near the optimum";
    }
    // With the tokens given, the size of the model is what can be chosen.
    const double ratio = planner::parameters_of_law(plan) / optimum.best.n_params;
    if (ratio > kNear) return fmt::format("{}x too large", ratio_text(ratio));
    if (ratio < 1 / kNear) return fmt::format("{}x too small", ratio_text(1 / ratio));
    return "near the optimum";
}

/// The plan that --emit-plan writes where no loss is asked for.
void advice_rows(text::TextReport& report, const BackwardPlan& plan) {
    if (!plan.advice) return;
    const BackwardPlan& advised = *plan.advice->plan;
    const cost::Execution& execution = advised.run.config.execution;
    report.row("Advised architecture", text::architecture_line(advised.run.config.model));
    report.row("Advised execution", text::execution_line(execution));
    report.row("Advised global batch", human_count(advised.batch.batch_tokens) + " tokens");
    report.row("  to set", fmt::format("batch_size={}, gradient_accumulation_steps={}",
                                       execution.micro_batch_size, execution.grad_accum_steps));
    report.row("Advised memory", human_bytes(static_cast<double>(advised.memory.planned_bytes)),
               human_bytes(static_cast<double>(advised.memory.headroom_bytes())) + " to spare");
    if (plan.advice->slowdown > 0) {
        report.row("Advised MFU", fmt::format("{:.2f} %", advised.budget.mfu * 100),
                   fmt::format("about {:.0f} % slower than the given execution",
                               plan.advice->slowdown * 100));
    }
    report.row(
        "Advised time", human_seconds(advised.schedule.seconds),
        advised.tokens.epochs > 1 ? fmt::format("{:.3g} epochs", advised.tokens.epochs) : "");
}

/// Where the advice leaves what the laws were fitted to.
void caution_rows(text::TextReport& report, const BackwardPlan& plan) {
    constexpr double kFewTokens = 1;  // per parameter; the experiments have several at least
    constexpr std::int64_t kFewLayers = 2;
    if (!plan.advice) return;
    const BackwardPlan& advised = *plan.advice->plan;
    if (advised.optimum.tokens_per_parameter < kFewTokens) {
        report.row("Caution", "extrapolated",
                   "under one token per parameter: models overfit, which no law here counts");
    }
    if (advised.run.config.model.num_hidden_layers <= kFewLayers) {
        report.row("Caution", "few layers",
                   "laws know N and D, not proportions: no model of their experiments is as flat");
    }
}

/// What is lost for want of unique tokens.
void more_data_row(text::TextReport& report, const BackwardPlan& plan) {
    if (!plan.optimum.within_data) return;
    const scaling_law::Optimum& unlimited = plan.optimum.exact.value().continuous;
    const scaling_law::Optimum& limited = plan.optimum.within_data->continuous;
    report.row("More unique data",
               fmt::format("{:+.4f} nats", unlimited.loss.total - limited.loss.total),
               fmt::format("loss {:.4f} with {} at the same compute", unlimited.loss.total,
                           human_count(unlimited.n_tokens)));
}

/// "data, memory"
std::string limits(const BackwardPlan& plan) {
    const planner::OptimumComparison& optimum = plan.optimum;
    if (optimum.data_bind) return optimum.memory_binds ? "data, memory" : "data";
    return optimum.memory_binds ? "memory" : "compute";
}

text::Table optimum_table(const BackwardPlan& plan) {
    const planner::OptimumComparison& optimum = plan.optimum;
    text::Table table({{"", text::Align::left}, {"N*"}, {"D*"}, {"D*/N*"}, {"loss"}});
    const auto add = [&](std::string name, const scaling_law::Optimum& best) {
        table.row({std::move(name), human_count(best.n_params), human_count(best.n_tokens),
                   ratio_text(best.n_tokens / best.n_params), loss_text(best.loss.total)});
    };
    const auto add_plan = [&](std::string name, const BackwardPlan& each) {
        add(std::move(name), {.n_params = planner::parameters_of_law(each),
                              .n_tokens = each.tokens.n_tokens,
                              .loss = each.loss_with_repetition});
    };
    if (optimum.within_data) table.row({"without the data limit:"});
    add("C = 6 N D (closed form)", optimum.six_nd);
    if (optimum.exact) {
        add(fmt::format("{} FLOPs, same proportions", to_string(plan.budget.convention)),
            optimum.exact->continuous);
        const bool too_large = optimum.memory_binds && !optimum.within_data;
        if (optimum.exact->on_grid)
            add(fmt::format("  as a real architecture{}", too_large ? ", does not fit" : ""),
                optimum.exact->grid);
    }
    if (optimum.within_data) add("this budget, within the data", optimum.within_data->continuous);
    if (plan.advice) add_plan("advised, fits the GPUs", *plan.advice->plan);
    add_plan("this plan", plan);
    return table;
}

void optimum_section(text::TextReport& report, const BackwardPlan& plan) {
    report.section("9. What this compute is best spent on");
    report.table(optimum_table(plan));
    report.row("Limit", limits(plan), planner::limit_text(plan));
    report.row("Verdict", verdict(plan),
               fmt::format("loss {}{} nats against the optimum",
                           plan.optimum.loss_gap < 0 ? "" : "+", loss_text(plan.optimum.loss_gap)));
    more_data_row(report, plan);
    advice_rows(report, plan);
    caution_rows(report, plan);
}

std::string quiet_text(const BackwardPlan& plan) {
    return quiet_solution(plan) +
           fmt::format("N {}\nD {}\nC {}\nloss {}\nmemory {} (fits: {})\n",
                       human_count(static_cast<double>(plan.run.parameters.total)),
                       human_count(plan.tokens.n_tokens), human_flops(plan.budget.compute_flops),
                       loss_text(plan.loss_with_repetition.total),
                       human_bytes(static_cast<double>(plan.run.memory.total_bytes())),
                       plan.memory.fits() ? "yes" : "no");
}

}  // namespace

std::string plan_text(const BackwardPlan& plan, const PlanTextOptions& options) {
    if (options.quiet) return quiet_text(plan);
    text::TextReport report(options.colour);
    report.title(fmt::format("Backward plan: N {}, D {}, C {}, loss {}",
                             human_count(static_cast<double>(plan.run.parameters.total)),
                             human_count(plan.tokens.n_tokens),
                             human_flops(plan.budget.compute_flops),
                             loss_text(plan.loss_with_repetition.total)));
    if (!options.file_kind.empty()) report.line(fmt::format("Read as a {}.", options.file_kind));
    budget_section(report, plan);
    model_section(report, plan, options);
    flops_section(report, plan, options);
    token_section(report, plan);
    loss_section(report, plan);
    if (options.verify_calculations) verification_section(report, plan);
    memory_section(report, plan, options);
    schedule_section(report, plan);
    optimum_section(report, plan);
    cost_section(report, plan.cost);
    return report.str();
}

}  // namespace isoflop::report
