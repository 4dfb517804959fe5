// Which state an optimizer keeps beside weights, master weights and gradients. The memory plan
// sizes it, the trainer allocates, shards, saves and loads it, all from the same description; how
// the state is used is known to the optimizer layer alone.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "isoflop/cost/element_kind.hpp"

namespace isoflop::cost {

/// Units of the model that a state is kept for.
enum class StateUnits {
    all,
    blocks,
    outside_blocks,  ///< embedding and head
};

/// A state with one element for each weight of the units that it covers, divided over ranks as the
/// weights that a rank updates are.
struct OptimizerTensor {
    std::string_view name;               ///< in reports: "first_moment"
    std::string_view checkpoint_prefix;  ///< "exp_avg.", before the name of the weight
    ElementKind elements = ElementKind::statistics;
    StateUnits units = StateUnits::all;

    /// unit_kind: as StateUnit::kind.
    [[nodiscard]] constexpr bool covers(std::string_view unit_kind) const {
        const bool block = unit_kind == "block" || unit_kind == "moe_block";
        return units == StateUnits::all || block == (units == StateUnits::blocks);
    }
};

struct OptimizerState {
    std::string_view name;  ///< as the key `optimizer` spells it
    std::span<const OptimizerTensor> tensors;
    /// The update of a matrix needs the whole of it. Where ranks hold parts, memory for one
    /// gathered unit in fp32 is planned.
    bool whole_matrices = false;
};

inline constexpr std::array kAdamWTensors = {
    OptimizerTensor{.name = "first_moment", .checkpoint_prefix = "exp_avg."},
    OptimizerTensor{.name = "second_moment", .checkpoint_prefix = "exp_avg_sq."}};
inline constexpr OptimizerState kAdamW{.name = "adamw", .tensors = kAdamWTensors};

/// Every optimizer that a run can name.
inline constexpr std::array kOptimizers = {&kAdamW};

}  // namespace isoflop::cost
