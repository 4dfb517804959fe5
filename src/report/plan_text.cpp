// A backward plan for people, section by section in the order it was worked out.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <vector>

#include "isoflop/base/text.hpp"
#include "isoflop/report/plan_report.hpp"
#include "isoflop/scaling_law/law.hpp"
#include "isoflop/text/sections.hpp"

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
    report.row("GPUs", fmt::format("{:.0f} x {}", budget.num_gpus, budget.gpu_id));
    report.row("Time", fmt::format("{:g} h", budget.hours), human_seconds(budget.hours * 3600));
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
    report.row("Forward", fmt::format("{:.2f} GFLOP", plan.forward_flops_per_token / 1e9),
               "exact: every matrix product, full attention");
    report.row(
        "Training", fmt::format("{:.2f} GFLOP", plan.run.exact_flops_per_token / 1e9),
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
    report.row("Tokens D", human_count(tokens.n_tokens),
               tokens.constrained ? "limited by the data" : "= C / training FLOPs per token");
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
    report.row("Tokens per parameter", fmt::format("{:.1f}", plan.optimum.tokens_per_parameter));
}

void loss_section(text::TextReport& report, const BackwardPlan& plan) {
    const scaling_law::LossTerms& loss = plan.loss;
    report.section("5. Predicted loss");
    report.row("Law", plan.law.id, plan.law.title);
    if (plan.law.form == scaling_law::Form::chinchilla) {
        const auto& constants = plan.law.chinchilla;
        report.row("Irreducible E", fmt::format("{:.4f}", loss.irreducible));
        report.row("Model size A / N^alpha", fmt::format("{:.4f}", loss.model_size),
                   fmt::format("A {:g}, alpha {:g}", constants.A, constants.alpha));
        report.row("Data B / D^beta", fmt::format("{:.4f}", loss.data),
                   fmt::format("B {:g}, beta {:g}", constants.B, constants.beta));
    } else {
        report.row("Model size alone", fmt::format("{:.4f}", loss.model_size), "(Nc / N)^alpha_N");
        report.row("Data alone", fmt::format("{:.4f}", loss.data), "(Dc / D)^alpha_D");
    }
    report.row("Loss", fmt::format("{:.4f}", loss.total),
               loss.standard_error ? fmt::format("+- {:.4f} nats per token (one standard error)",
                                                 *loss.standard_error)
                                   : "nats per token");
}

void verification_section(text::TextReport& report, const BackwardPlan& plan) {
    const planner::Verification& check = plan.verification;
    report.section("6. Verification");
    report.row("C recomputed from N and D", human_flops(check.recomputed_compute_flops) + " FLOP",
               fmt::format("relative error {:.1e}", check.relative_error));
    report.row("6 N D rule", fmt::format("{:.2f} GFLOP/token", check.six_nd_flops / 1e9));
    report.row("  - input embedding", fmt::format("{:+.2f} GFLOP", check.input_embedding / 1e9),
               "looked up, not multiplied");
    report.row("  - norms and biases", fmt::format("{:+.4f} GFLOP", check.vectors / 1e9),
               "no matrix product");
    report.row("  + attention", fmt::format("{:+.2f} GFLOP", check.attention / 1e9),
               "scores and values, which have no parameters");
    report.row(
        "Exact", fmt::format("{:.2f} GFLOP/token", check.exact_flops / 1e9),
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
    report.row("GPU memory", human_bytes(static_cast<double>(plan.memory.capacity_bytes)));
    const auto headroom = static_cast<double>(plan.memory.headroom_bytes());
    report.row("fits", plan.memory.fits() ? "yes" : "no",
               plan.memory.fits() ? human_bytes(headroom) + " to spare"
                                  : human_bytes(-headroom) + " too much");
    if (plan.memory.change) {
        report.row("Cheapest change", plan.memory.change->description);
        report.row("", "",
                   fmt::format("needs {}, about {:.0f} % slower",
                               human_bytes(static_cast<double>(plan.memory.change->total_bytes)),
                               plan.memory.change->slowdown * 100));
    } else if (!plan.memory.fits() && plan.memory.gpus_needed) {
        report.row("Fits from", with_separators(*plan.memory.gpus_needed) + " GPUs",
                   fmt::format("with {}, fsdp, recompute=block, batch_size=1",
                               to_string(plan.memory.gpus_needed_backend)));
    } else if (!plan.memory.fits()) {
        report.line(
            "No data parallel setting makes it fit: the model needs tensor or pipeline "
            "parallelism.");
    }
    if (options.megatron_memory) megatron_rows(report, plan);
}

void schedule_section(text::TextReport& report, const BackwardPlan& plan) {
    const planner::Schedule& schedule = plan.schedule;
    report.section("8. Schedule");
    report.row("Global batch",
               fmt::format("{} sequences", human_count(schedule.sequences_per_step)),
               fmt::format("{} tokens per step",
                           with_separators(static_cast<std::int64_t>(schedule.tokens_per_step))));
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
    const double ratio =
        plan.optimum.tokens_per_parameter / plan.optimum.optimal_tokens_per_parameter;
    if (ratio > 1.1) return fmt::format("over-trained {:.1f}x", ratio);
    if (ratio < 1 / 1.1) return fmt::format("under-trained {:.1f}x", 1 / ratio);
    return "near the optimum";
}

void optimum_section(text::TextReport& report, const BackwardPlan& plan) {
    const planner::OptimumComparison& optimum = plan.optimum;
    report.section("9. What this compute is best spent on");
    text::Table table({{"", text::Align::left}, {"N*"}, {"D*"}, {"D*/N*"}, {"loss"}});
    const auto add = [&](std::string name, const scaling_law::Optimum& best) {
        table.row({std::move(name), human_count(best.n_params), human_count(best.n_tokens),
                   fmt::format("{:.1f}", best.n_tokens / best.n_params),
                   fmt::format("{:.4f}", best.loss.total)});
    };
    add("C = 6 N D (closed form)", optimum.six_nd);
    if (optimum.exact) {
        add("exact FLOPs, same proportions", optimum.exact->continuous);
        if (optimum.exact->on_grid) add("  as a real architecture", optimum.exact->grid);
    }
    add("this plan", {.n_params = plan.tokens.n_tokens / optimum.tokens_per_parameter,
                      .n_tokens = plan.tokens.n_tokens,
                      .loss = plan.loss});
    report.table(table);
    if (optimum.exact && optimum.exact->on_grid) {
        report.row("Real architecture", text::architecture_line(optimum.exact->grid_config));
    }
    report.row("Verdict", verdict(plan),
               fmt::format("loss {:+.4f} nats against the optimum", optimum.loss_gap));
}

std::string quiet_text(const BackwardPlan& plan) {
    return fmt::format("N {}\nD {}\nC {}\nloss {:.4f}\nmemory {} (fits: {})\n",
                       human_count(static_cast<double>(plan.run.parameters.total)),
                       human_count(plan.tokens.n_tokens), human_flops(plan.budget.compute_flops),
                       plan.loss.total,
                       human_bytes(static_cast<double>(plan.run.memory.total_bytes())),
                       plan.memory.fits() ? "yes" : "no");
}

std::string comparison_table(std::span<const NamedPlan> plans, text::Colour colour) {
    std::vector<text::Column> columns{{"", text::Align::left}};
    for (const NamedPlan& named : plans) columns.push_back({named.name});
    text::Table table(std::move(columns));
    const auto add = [&](std::string label, const auto& cell) {
        std::vector<std::string> cells{std::move(label)};
        for (const NamedPlan& named : plans) cells.push_back(cell(named.plan));
        table.row(std::move(cells));
    };
    add("GPUs", [](const BackwardPlan& plan) {
        return fmt::format("{:.0f} x {}", plan.budget.num_gpus, plan.budget.gpu_id);
    });
    add("hours", [](const BackwardPlan& plan) { return fmt::format("{:g}", plan.budget.hours); });
    add("peak TFLOP/s", [](const BackwardPlan& plan) {
        return fmt::format("{:.1f} {}", plan.budget.peak_flops_per_gpu / 1e12,
                           short_name(plan.budget.dtype));
    });
    add("MFU", [](const BackwardPlan& plan) {
        return fmt::format("{:.1f} % {}", plan.budget.mfu * 100, to_string(plan.budget.convention));
    });
    add("C", [](const BackwardPlan& plan) { return human_flops(plan.budget.compute_flops); });
    add("N", [](const BackwardPlan& plan) {
        return human_count(static_cast<double>(plan.run.parameters.total));
    });
    add("D", [](const BackwardPlan& plan) { return human_count(plan.tokens.n_tokens); });
    add("D/N", [](const BackwardPlan& plan) {
        return fmt::format("{:.1f}", plan.optimum.tokens_per_parameter);
    });
    add("GFLOP/token", [](const BackwardPlan& plan) {
        return fmt::format("{:.2f}", plan.run.exact_flops_per_token / 1e9);
    });
    add("law", [](const BackwardPlan& plan) { return plan.law.id; });
    add("loss", [](const BackwardPlan& plan) { return fmt::format("{:.4f}", plan.loss.total); });
    add("N* (6ND)",
        [](const BackwardPlan& plan) { return human_count(plan.optimum.six_nd.n_params); });
    add("loss at N*", [](const BackwardPlan& plan) {
        return fmt::format("{:.4f}", plan.optimum.six_nd.loss.total);
    });
    add("memory per GPU", [](const BackwardPlan& plan) {
        return human_bytes(static_cast<double>(plan.run.memory.total_bytes()));
    });
    add("fits",
        [](const BackwardPlan& plan) { return std::string(plan.memory.fits() ? "yes" : "no"); });
    add("time", [](const BackwardPlan& plan) { return human_seconds(plan.schedule.seconds); });
    return table.str("", colour);
}

std::size_t widest_line(std::string_view text) {
    std::size_t widest = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        widest = std::max(widest, end);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return widest;
}

}  // namespace

std::string plan_text(const BackwardPlan& plan, const PlanTextOptions& options) {
    if (options.quiet) return quiet_text(plan);
    text::TextReport report(options.colour);
    report.title(fmt::format("Backward plan: N {}, D {}, C {}, loss {:.4f}",
                             human_count(static_cast<double>(plan.run.parameters.total)),
                             human_count(plan.tokens.n_tokens),
                             human_flops(plan.budget.compute_flops), plan.loss.total));
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
    return report.str();
}

std::string comparison_text(std::span<const NamedPlan> plans, text::Colour colour,
                            std::size_t width) {
    std::string text;
    while (!plans.empty()) {
        std::size_t count = plans.size();
        while (count > 1 &&
               widest_line(comparison_table(plans.first(count), text::Colour::off)) > width)
            --count;
        if (!text.empty()) text += "\n";
        text += comparison_table(plans.first(count), colour);
        plans = plans.subspan(count);
    }
    return text;
}

}  // namespace isoflop::report
