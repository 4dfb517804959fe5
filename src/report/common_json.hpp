// JSON fragments that several reports share. Internal to the report layer.
#pragma once

#include <nlohmann/json.hpp>
#include <optional>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/recipe/attention_resolution.hpp"
#include "isoflop/scaling_law/law.hpp"

namespace isoflop::report {

/// Null without a number.
template <class Number>
nlohmann::ordered_json number_or_null(const std::optional<Number>& number) {
    return number ? nlohmann::ordered_json(*number) : nlohmann::ordered_json(nullptr);
}

[[nodiscard]] nlohmann::ordered_json to_json(const model::ModelConfig& config);
[[nodiscard]] nlohmann::ordered_json to_json(const model::ParameterTotals& totals);
[[nodiscard]] nlohmann::ordered_json to_json(const cost::Execution& execution);
[[nodiscard]] nlohmann::ordered_json to_json(const recipe::AttentionResolution& attention);
[[nodiscard]] nlohmann::ordered_json to_json(const cost::MemoryPlan& plan);
[[nodiscard]] nlohmann::ordered_json to_json(const std::vector<cost::MatrixProduct>& products);
[[nodiscard]] nlohmann::ordered_json to_json(const scaling_law::LossTerms& loss);
[[nodiscard]] nlohmann::ordered_json to_json(const scaling_law::Optimum& optimum);
[[nodiscard]] nlohmann::ordered_json conventions_json(
    const std::array<double, cost::kConventionCount>& flops_per_token);

}  // namespace isoflop::report
