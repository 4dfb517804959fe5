// Backward plans as text and JSON. Both are written from the same BackwardPlan, so they show the
// same numbers; the JSON has every number with full precision. Its schema is documented in
// docs/json_output.md.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <string_view>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

struct PlanTextOptions {
    std::string_view file_kind = {};  ///< what the file was read as; empty: not said
    text::Colour colour = text::Colour::off;
    bool show_breakdown = true;
    bool verify_calculations = true;
    bool all_conventions = false;
    bool quiet = false;  ///< the four results only
    cost::Convention convention = cost::Convention::exact;
    bool megatron_memory = false;  ///< show the Megatron estimate beside the plan
};

[[nodiscard]] std::string plan_text(const planner::BackwardPlan& plan,
                                    const PlanTextOptions& options);
[[nodiscard]] nlohmann::ordered_json plan_json(const planner::BackwardPlan& plan);

/// Several plans side by side, one column each.
struct NamedPlan {
    std::string name;
    planner::BackwardPlan plan;
};
/// A column a plan. Plans that do not fit in `width` columns follow in further tables.
[[nodiscard]] std::string comparison_text(std::span<const NamedPlan> plans, text::Colour colour,
                                          std::size_t width = 100);
/// The same as a table of Markdown, and as CSV with full precision: a record for each plan.
[[nodiscard]] std::string comparison_markdown(std::span<const NamedPlan> plans);
[[nodiscard]] std::string comparison_csv(std::span<const NamedPlan> plans);
[[nodiscard]] nlohmann::ordered_json comparison_json(std::span<const NamedPlan> plans);

}  // namespace isoflop::report
