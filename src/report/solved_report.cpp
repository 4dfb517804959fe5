#include "report/solved_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "isoflop/text/sections.hpp"
#include "report/common_json.hpp"

namespace isoflop::report {

using nlohmann::ordered_json;
using planner::BackwardPlan;
using planner::Quantity;

namespace {

/// GPU hours of the cheapest model at the MFU of this plan.
double gpu_hours(const BackwardPlan& plan) {
    const double flops_per_gpu_hour =
        plan.budget.counted_flops / (plan.budget.num_gpus * plan.budget.hours);
    return plan.cheapest.value().counted_flops / flops_per_gpu_hour;
}

/// Time of this plan over that of the cheapest model.
double compute_ratio(const BackwardPlan& plan) {
    return plan.budget.counted_flops / plan.cheapest.value().counted_flops;
}

ordered_json cheapest_json(const BackwardPlan& plan) {
    if (!plan.cheapest) return nullptr;
    const planner::CheapestModel& cheapest = *plan.cheapest;
    return {{"scale", cheapest.scale},
            {"n_params", cheapest.n_params},
            {"n_tokens", cheapest.n_tokens},
            {"compute_flops", cheapest.compute_flops},
            {"gpu_hours", gpu_hours(plan)},
            {"compute_ratio", compute_ratio(plan)},
            {"data_limited", cheapest.data_limited},
            {"fits", cheapest.fits},
            {"advised", advice_json(plan.cheapest_advice)}};
}

/// The real architecture that --emit-plan writes.
void cheapest_architecture_rows(text::TextReport& report, const BackwardPlan& plan) {
    if (!plan.cheapest_advice) {
        report.row("  as a real architecture", "none", "that reaches the loss fits");
        return;
    }
    const BackwardPlan& advised = *plan.cheapest_advice->plan;
    report.row("  as a real architecture", text::architecture_line(advised.run.config.model));
    report.row("", text::execution_line(advised.run.config.execution));
    report.row(
        "",
        fmt::format("N {}, D {}", human_count(static_cast<double>(advised.run.parameters.total)),
                    human_count(advised.tokens.n_tokens)),
        "--emit-plan writes it");
    report.row("",
               fmt::format("{:.0f} x {}, {}", advised.budget.num_gpus, advised.budget.gpu_id,
                           human_seconds(advised.schedule.seconds)),
               plan.cheapest_advice->slowdown > 0
                   ? fmt::format("MFU {:.2f} %: its execution is slower", advised.budget.mfu * 100)
                   : std::string());
}

}  // namespace

std::string gpus_note(const BackwardPlan& plan) {
    if (plan.solution.is_of_budget()) return {};
    if (!plan.solution.exact_num_gpus) return "given";
    return fmt::format("solved: {:.6g}, rounded up", *plan.solution.exact_num_gpus);
}

std::string hours_note(const BackwardPlan& plan) {
    std::string time = human_seconds(plan.budget.hours * 3600);
    if (plan.solution.is_of_budget()) return time;
    if (!plan.solution.hours_limit) return time + ", solved";
    return fmt::format("{}, of {:g} h given", time, *plan.solution.hours_limit);
}

std::string tokens_note(const BackwardPlan& plan) {
    if (plan.solution.target_loss) return "solved: they reach the target loss";
    if (!plan.solution.is_of_budget()) return "given";
    return plan.tokens.constrained ? "limited by the data" : "= C / training FLOPs per token";
}

std::string quiet_solution(const BackwardPlan& plan) {
    if (plan.solution.is_of_budget()) return {};
    return fmt::format("GPUs {:.0f}\nhours {:g}\n", plan.budget.num_gpus, plan.budget.hours);
}

void target_loss_rows(text::TextReport& report, const BackwardPlan& plan) {
    if (!plan.solution.target_loss) return;
    report.row("Target loss", fmt::format("{:.6g}", *plan.solution.target_loss),
               plan.tokens.epochs > 1 ? "given; repetition valued" : "given");
    if (!plan.cheapest) return;
    const planner::CheapestModel& cheapest = *plan.cheapest;
    report.row("Cheapest for this loss", fmt::format("N {}", human_count(cheapest.n_params)),
               fmt::format("same proportions x {:.3g}{}", cheapest.scale,
                           cheapest.fits ? "" : ", does not fit these GPUs"));
    report.row("", fmt::format("D {}", human_count(cheapest.n_tokens)),
               cheapest.data_limited ? "all the data; more would be cheaper" : "");
    const double hours = gpu_hours(plan);
    report.row("", fmt::format("C {}", human_flops(cheapest.compute_flops)),
               fmt::format("{} GPU hours; this plan takes {:.3f} x",
                           hours < 1000 ? fmt::format("{:.3g}", hours) : human_count(hours),
                           compute_ratio(plan)));
    cheapest_architecture_rows(report, plan);
}

ordered_json solved_json(const BackwardPlan& plan) {
    const planner::Solution& solution = plan.solution;
    ordered_json given = ordered_json::array();
    for (std::size_t i = 0; i < planner::kQuantityCount; ++i) {
        const auto quantity = static_cast<Quantity>(i);
        if (solution.is_given(quantity)) given.push_back(to_string(quantity));
    }
    const auto solved = [&](Quantity quantity, double value) {
        return solution.is_given(quantity) ? ordered_json(nullptr) : ordered_json(value);
    };
    return {{"given", given},
            {"num_gpus", solution.is_given(Quantity::num_gpus) ? ordered_json(nullptr)
                                                               : ordered_json(solution.num_gpus)},
            {"available_hours", solved(Quantity::available_hours, plan.budget.hours)},
            {"training_tokens", solved(Quantity::training_tokens, plan.tokens.n_tokens)},
            {"target_loss", solved(Quantity::target_loss, plan.loss_with_repetition.total)},
            {"exact_num_gpus", number_or_null(solution.exact_num_gpus)},
            {"hours_limit", number_or_null(solution.hours_limit)},
            {"cheapest", cheapest_json(plan)}};
}

}  // namespace isoflop::report
