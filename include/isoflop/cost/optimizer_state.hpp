// Which state an optimizer keeps for each tensor of the model, beside weights, master weights and
// gradients. The memory plan sizes it, the trainer allocates, shards, saves and loads it, all from
// the same description; how the state is used is known to the optimizer layer alone.
#pragma once

#include <array>
#include <span>
#include <string_view>

#include "isoflop/cost/element_kind.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::cost {

/// A state with one element for each weight of the tensors that it covers, divided over ranks as
/// the weights that a rank updates are.
struct OptimizerTensor {
    std::string_view name;               ///< in reports: "first_moment"
    std::string_view checkpoint_prefix;  ///< "exp_avg.", before the name of the weight
    ElementKind elements = ElementKind::statistics;
    /// Whether the state is kept for a tensor of the model; nullptr: for all.
    bool (*kept_for)(const model::TensorSpec& tensor) = nullptr;

    [[nodiscard]] constexpr bool covers(const model::TensorSpec& tensor) const {
        return kept_for == nullptr || kept_for(tensor);
    }
};

struct OptimizerState {
    std::string_view name;  ///< in messages
    std::span<const OptimizerTensor> tensors;
    /// The update of a matrix needs the whole of it. Where ranks hold parts, memory for one
    /// gathered unit in fp32 is planned.
    bool whole_matrices = false;
};

inline constexpr std::array kAdamWTensors = {
    OptimizerTensor{.name = "first_moment", .checkpoint_prefix = "exp_avg."},
    OptimizerTensor{.name = "second_moment", .checkpoint_prefix = "exp_avg_sq."}};
inline constexpr OptimizerState kAdamW{.name = "adamw", .tensors = kAdamWTensors};

/// Every optimizer that a run can have.
inline constexpr std::array kOptimizers = {&kAdamW};

}  // namespace isoflop::cost
