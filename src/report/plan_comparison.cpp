// Plans side by side. The list of figures below makes the text, the Markdown and the CSV.
#include <fmt/format.h>

#include <vector>

#include "isoflop/base/text.hpp"
#include "isoflop/report/plan_report.hpp"
#include "report/cost_report.hpp"
#include "report/figures.hpp"

namespace isoflop::report {
namespace {

using planner::BackwardPlan;
using Figures = std::vector<Figure<BackwardPlan>>;

ExactValue text_of(std::string_view text) {
    return std::string(text);
}

void add_budget(Figures& figures) {
    figures.push_back({"GPUs",
                       [](const BackwardPlan& plan) {
                           return fmt::format("{:.0f} x {}", plan.budget.num_gpus,
                                              plan.budget.gpu_id);
                       },
                       {{"hardware.num_gpus", "GPUs",
                         [](const BackwardPlan& plan) -> ExactValue {
                             return plan.run.config.execution.world_size;
                         }},
                        {"hardware.gpu", "",
                         [](const BackwardPlan& plan) { return text_of(plan.budget.gpu_id); }}}});
    figures.push_back(
        {"hours",
         [](const BackwardPlan& plan) { return fmt::format("{:g}", plan.budget.hours); },
         {{"hardware.available_hours", "h",
           [](const BackwardPlan& plan) -> ExactValue { return plan.budget.hours; }}}});
    figures.push_back(
        {"peak TFLOP/s",
         [](const BackwardPlan& plan) {
             return fmt::format("{:.1f} {}", plan.budget.peak_flops_per_gpu / 1e12,
                                short_name(plan.budget.dtype));
         },
         {{"peak_flops_per_gpu", "FLOP/s",
           [](const BackwardPlan& plan) -> ExactValue { return plan.budget.peak_flops_per_gpu; }},
          {"hardware.dtype", "",
           [](const BackwardPlan& plan) { return text_of(to_string(plan.budget.dtype)); }}}});
    figures.push_back({"MFU",
                       [](const BackwardPlan& plan) {
                           return fmt::format("{:.1f} % {}", plan.budget.mfu * 100,
                                              to_string(plan.budget.convention));
                       },
                       {{"hardware.expected_mfu", "",
                         [](const BackwardPlan& plan) -> ExactValue { return plan.budget.mfu; }},
                        {"hardware.flop_convention", "", [](const BackwardPlan& plan) {
                             return text_of(to_string(plan.budget.convention));
                         }}}});
    figures.push_back(
        {"C",
         [](const BackwardPlan& plan) { return human_flops(plan.budget.compute_flops); },
         {{"compute_flops", "FLOP",
           [](const BackwardPlan& plan) -> ExactValue { return plan.budget.compute_flops; }}}});
}

void add_model_and_loss(Figures& figures) {
    figures.push_back({"N",
                       [](const BackwardPlan& plan) {
                           return human_count(static_cast<double>(plan.run.parameters.total));
                       },
                       {{"n_params", "parameters", [](const BackwardPlan& plan) -> ExactValue {
                             return plan.run.parameters.total;
                         }}}});
    figures.push_back({"D",
                       [](const BackwardPlan& plan) { return human_count(plan.tokens.n_tokens); },
                       {{"n_tokens", "tokens", [](const BackwardPlan& plan) -> ExactValue {
                             return plan.tokens.n_tokens;
                         }}}});
    figures.push_back(
        {"D/N",
         [](const BackwardPlan& plan) { return ratio_text(plan.optimum.tokens_per_parameter); },
         {{"optimum.tokens_per_parameter", "", [](const BackwardPlan& plan) -> ExactValue {
               return plan.optimum.tokens_per_parameter;
           }}}});
    figures.push_back(
        {"GFLOP/token",
         [](const BackwardPlan& plan) {
             return fmt::format("{:.2f}", plan.run.exact_flops_per_token / 1e9);
         },
         {{"training_flops_per_token", "FLOP/token", [](const BackwardPlan& plan) -> ExactValue {
               return plan.run.exact_flops_per_token;
           }}}});
    figures.push_back(
        {"law",
         [](const BackwardPlan& plan) { return plan.law.id; },
         {{"law.id", "", [](const BackwardPlan& plan) { return text_of(plan.law.id); }}}});
    figures.push_back(
        {"loss",
         [](const BackwardPlan& plan) { return loss_text(plan.loss_with_repetition.total); },
         {{"predicted_loss", "nats/token", [](const BackwardPlan& plan) -> ExactValue {
               return plan.loss_with_repetition.total;
           }}}});
}

/// "data, memory", as in the report of the plan.
std::string limit_name(const BackwardPlan& plan) {
    const planner::OptimumComparison& optimum = plan.optimum;
    if (optimum.data_bind) return optimum.memory_binds ? "data, memory" : "data";
    return optimum.memory_binds ? "memory" : "compute";
}

/// The optimum that the plan is compared with in its report.
void add_optimum(Figures& figures) {
    figures.push_back({"epochs",
                       [](const BackwardPlan& plan) {
                           return plan.tokens.data_limited
                                      ? fmt::format("{:.3g}", plan.tokens.epochs)
                                      : std::string("-");
                       },
                       {{"epochs", "", [](const BackwardPlan& plan) -> ExactValue {
                             return plan.tokens.epochs;
                         }}}});
    figures.push_back(
        {"limit",
         limit_name,
         {{"optimum.data_bind", "",
           [](const BackwardPlan& plan) -> ExactValue { return plan.optimum.data_bind; }},
          {"optimum.memory_binds", "",
           [](const BackwardPlan& plan) -> ExactValue { return plan.optimum.memory_binds; }}}});
    figures.push_back(
        {"N*",
         [](const BackwardPlan& plan) { return human_count(plan.optimum.best.n_params); },
         {{"optimum.best.n_params", "parameters",
           [](const BackwardPlan& plan) -> ExactValue { return plan.optimum.best.n_params; }}}});
    figures.push_back(
        {"loss at N*",
         [](const BackwardPlan& plan) { return loss_text(plan.optimum.best.loss.total); },
         {{"optimum.best.loss", "nats/token",
           [](const BackwardPlan& plan) -> ExactValue { return plan.optimum.best.loss.total; }}}});
    // In closed form under C = 6 N D, without any limit.
    figures.push_back(
        {"",
         {},
         {{"optimum.n_params", "parameters",
           [](const BackwardPlan& plan) -> ExactValue { return plan.optimum.six_nd.n_params; }},
          {"optimum.loss", "nats/token", [](const BackwardPlan& plan) -> ExactValue {
               return plan.optimum.six_nd.loss.total;
           }}}});
}

void add_advice(Figures& figures) {
    figures.push_back(
        {"advised N",
         [](const BackwardPlan& plan) {
             return plan.advice
                        ? human_count(static_cast<double>(plan.advice->plan->run.parameters.total))
                        : std::string("none fits");
         },
         {{"optimum.advised.n_params", "parameters", [](const BackwardPlan& plan) {
               return plan.advice ? ExactValue(plan.advice->plan->run.parameters.total)
                                  : ExactValue();
           }}}});
    figures.push_back({"advised D",
                       [](const BackwardPlan& plan) {
                           return plan.advice ? human_count(plan.advice->plan->tokens.n_tokens)
                                              : std::string("-");
                       },
                       {{"optimum.advised.n_tokens", "tokens", [](const BackwardPlan& plan) {
                             return plan.advice ? ExactValue(plan.advice->plan->tokens.n_tokens)
                                                : ExactValue();
                         }}}});
}

void add_memory_and_time(Figures& figures) {
    figures.push_back({"memory per GPU",
                       [](const BackwardPlan& plan) {
                           return human_bytes(static_cast<double>(plan.run.memory.total_bytes()));
                       },
                       {{"memory.total_bytes", "bytes", [](const BackwardPlan& plan) {
                             return exact(plan.run.memory.total_bytes());
                         }}}});
    figures.push_back(
        {"fits",
         [](const BackwardPlan& plan) { return std::string(plan.memory.fits() ? "yes" : "no"); },
         {{"memory.fits", "",
           [](const BackwardPlan& plan) -> ExactValue { return plan.memory.fits(); }}}});
    figures.push_back(
        {"time",
         [](const BackwardPlan& plan) { return human_seconds(plan.schedule.seconds); },
         {{"schedule.seconds", "s",
           [](const BackwardPlan& plan) -> ExactValue { return plan.schedule.seconds; }}}});
}

void add_energy(Figures& figures) {
    figures.push_back(
        {"GPU W x share x PUE",
         [](const BackwardPlan& plan) {
             return power_text(plan.cost.board_power_watts, plan.cost.power_share, plan.cost.pue);
         },
         {{"cost_assumptions.board_power_watts", "W",
           [](const BackwardPlan& plan) { return exact(plan.cost.board_power_watts); }},
          {"cost_assumptions.power_share", "",
           [](const BackwardPlan& plan) -> ExactValue { return plan.cost.power_share; }},
          {"cost_assumptions.pue", "",
           [](const BackwardPlan& plan) -> ExactValue { return plan.cost.pue; }}}});
    figures.push_back({"energy",
                       [](const BackwardPlan& plan) { return energy_text(plan.cost.energy_kwh); },
                       {{"energy_kwh", "kWh",
                         [](const BackwardPlan& plan) { return exact(plan.cost.energy_kwh); }}}});
}

void add_cost_total(Figures& figures) {
    figures.push_back({"cost",
                       [](const BackwardPlan& plan) {
                           return money_text(plan.cost.total_cost(), plan.cost.currency);
                       },
                       {{"cost.total", "currency",
                         [](const BackwardPlan& plan) { return exact(plan.cost.total_cost()); }},
                        {"cost.currency", "", [](const BackwardPlan& plan) {
                             return plan.cost.has_prices() ? text_of(plan.cost.currency)
                                                           : ExactValue();
                         }}}});
}

Figures figures_of(std::span<const NamedPlan> plans) {
    Figures figures;
    add_budget(figures);
    add_model_and_loss(figures);
    add_optimum(figures);
    add_advice(figures);
    add_memory_and_time(figures);
    add_energy(figures);
    for (const NamedPlan& named : plans) {
        if (!named.plan.cost.has_prices()) continue;
        add_cost_total(figures);
        break;
    }
    return figures;
}

std::vector<NamedItem<BackwardPlan>> items_of(std::span<const NamedPlan> plans) {
    std::vector<NamedItem<BackwardPlan>> items;
    for (const NamedPlan& named : plans) items.push_back({named.name, &named.plan});
    return items;
}

}  // namespace

std::string comparison_text(std::span<const NamedPlan> plans, text::Colour colour,
                            std::size_t width) {
    const Figures figures = figures_of(plans);
    const auto items = items_of(plans);
    return side_by_side_text<BackwardPlan>(figures, items, colour, width);
}

std::string comparison_markdown(std::span<const NamedPlan> plans) {
    const Figures figures = figures_of(plans);
    const auto items = items_of(plans);
    return side_by_side<BackwardPlan>(figures, items).markdown();
}

std::string comparison_csv(std::span<const NamedPlan> plans) {
    const Figures figures = figures_of(plans);
    const auto items = items_of(plans);
    return csv<BackwardPlan>(figures, items);
}

}  // namespace isoflop::report
