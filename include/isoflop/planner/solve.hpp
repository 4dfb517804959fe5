// The complete budget of a plan, from those of its four keys that are given.
//
//   C(g, h) = g P u 3600 h k = phi D,   L = law(N, D')
//   g GPUs, h hours, P dense peak of a GPU, u MFU, k exact FLOPs over those that u counts,
//   phi exact training FLOPs per token, D tokens, D' those with repetition valued
//   (repeated_data.hpp), L loss
//
// The architecture fixes N and phi, so two of g, h, D that are given determine the third, and D and
// L determine each other. (g, h) is the plan of a budget, whose D is what the compute and the data
// allow. More keys contradict each other or say the same twice, fewer leave the plan open: both are
// refused, by the name of the keys.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "isoflop/base/enum_names.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/recipe/plan_keys.hpp"
#include "isoflop/scaling_law/law.hpp"

namespace isoflop::planner {

enum class Quantity { num_gpus, available_hours, training_tokens, target_loss };
inline constexpr std::size_t kQuantityCount = 4;

}  // namespace isoflop::planner

namespace isoflop {
template <>
inline constexpr auto enum_names<planner::Quantity> = std::to_array<EnumName<planner::Quantity>>({
    {planner::Quantity::num_gpus, "num_gpus"},
    {planner::Quantity::available_hours, "available_hours"},
    {planner::Quantity::training_tokens, "training_tokens"},
    {planner::Quantity::target_loss, "target_loss"},
});
}  // namespace isoflop

namespace isoflop::planner {

/// "training_gear.num_gpus"
[[nodiscard]] std::string_view path_of(Quantity quantity);

/// GPUs, hours and tokens of a plan, and which of them were asked for.
struct Solution {
    std::array<bool, kQuantityCount> given{};  ///< indexed by Quantity
    std::int64_t num_gpus = 1;
    double hours = 0;  ///< of the run, where the tokens are known; else those given
    /// Tokens given, or those of the target loss; nullopt: what GPUs and hours pay for.
    std::optional<double> n_tokens;
    std::optional<double> target_loss;
    /// Solved GPUs before they were rounded up, and the hours in which the run must end.
    std::optional<double> exact_num_gpus;
    std::optional<double> hours_limit;

    [[nodiscard]] bool is_given(Quantity quantity) const {
        return given[static_cast<std::size_t>(quantity)];
    }
    /// The plan of GPUs and hours: nothing but tokens and loss was solved for.
    [[nodiscard]] bool is_of_budget() const { return !n_tokens.has_value(); }
};

/// What the plan knows before GPUs, hours and tokens are complete.
struct SolveTerms {
    const model::ModelConfig& model;
    const cost::Execution& execution;  ///< for its sequence length
    const scaling_law::Law& law;
    double flops_per_gpu_second = 0;  ///< peak x MFU, counted by the convention of the MFU
};

/// Throws ConfigError, with file, line and column where the file has the key, for keys that
/// determine too much or too little, for tokens and losses that data, architecture or law do not
/// reach, and for GPUs and hours beyond what a plan counts.
[[nodiscard]] Solution solve(const recipe::PlanKeys& keys, const SolveTerms& terms);

}  // namespace isoflop::planner
