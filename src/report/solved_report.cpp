#include "report/solved_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "report/common_json.hpp"

namespace isoflop::report {

using nlohmann::ordered_json;
using planner::BackwardPlan;
using planner::Quantity;

namespace {

/// GPU hours of exact FLOPs at the rate of this plan.
double gpu_hours(const BackwardPlan& plan, double compute_flops) {
    const double flops_per_gpu_hour =
        plan.budget.compute_flops / (plan.budget.num_gpus * plan.budget.hours);
    return compute_flops / flops_per_gpu_hour;
}

ordered_json cheapest_json(const BackwardPlan& plan) {
    if (!plan.cheapest) return nullptr;
    const planner::CheapestModel& cheapest = *plan.cheapest;
    return {{"scale", cheapest.scale},
            {"n_params", cheapest.n_params},
            {"n_tokens", cheapest.n_tokens},
            {"compute_flops", cheapest.compute_flops},
            {"gpu_hours", gpu_hours(plan, cheapest.compute_flops)},
            {"compute_ratio", plan.budget.compute_flops / cheapest.compute_flops},
            {"data_limited", cheapest.data_limited},
            {"fits", cheapest.fits}};
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
    const double hours = gpu_hours(plan, cheapest.compute_flops);
    report.row("", fmt::format("C {}", human_flops(cheapest.compute_flops)),
               fmt::format("{} GPU hours; this plan takes {:.3f} x",
                           hours < 1000 ? fmt::format("{:.3g}", hours) : human_count(hours),
                           plan.budget.compute_flops / cheapest.compute_flops));
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
