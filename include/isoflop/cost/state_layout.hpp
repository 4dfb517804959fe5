// Where each tensor lies in the flat memory of weights, gradients, master weights and moments.
// Layer-major: the tensors of a unit (embedding, each block, head) are contiguous; one block is
// then one collective, one optimizer launch, one norm.
//
// Tensors start at multiples of kTensorAlignment elements, except that those of one fused product
// (q, k, v; gate, up) stand directly behind each other, so that the product can read them as one
// matrix. Units are padded to a multiple of world_size and of 8 alignments: any shard is an
// interval, and 1, 2, 4 and 8 ranks cut at the same places.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::cost {

/// Elements; 256 bytes in 16-bit types, 512 in fp32.
inline constexpr std::int64_t kTensorAlignment = 128;

/// Equal parts, each a multiple of kTensorAlignment, that every unit is padded to: the least common
/// multiple of world_size and 8.
[[nodiscard]] std::int64_t shard_parts(std::int64_t world_size);

/// A tensor inside its unit. `tensor` indexes the unit's list of TensorSpec.
struct Placement {
    std::size_t tensor = 0;
    std::uint64_t offset = 0;  ///< elements from the start of the unit
};

struct UnitLayout {
    std::vector<Placement> placements;  ///< in memory order
    std::uint64_t elements = 0;         ///< padded
};

[[nodiscard]] UnitLayout place_unit(const std::vector<model::TensorSpec>& tensors,
                                    std::int64_t world_size);

/// One unit of a whole model and where it starts.
struct StateUnit {
    std::string_view kind;       ///< "embedding", "block", "moe_block" or "head"
    std::int64_t layer = -1;     ///< of a block
    std::uint64_t offset = 0;    ///< elements from the start of the state
    std::uint64_t elements = 0;  ///< padded
};

struct StateTensor {
    std::string name;             ///< checkpoint name, "model.layers.3.mlp.up_proj.weight"
    std::string_view short_name;  ///< within its unit, "mlp.up_proj.weight"
    model::TensorSpec spec;
    std::size_t unit = 0;
    std::uint64_t offset = 0;  ///< elements from the start of the state
};

/// Flat layout of a model without experts, for execution.
struct StateLayout {
    std::vector<StateUnit> units;      ///< in model order
    std::vector<StateTensor> tensors;  ///< in memory order
    std::uint64_t elements = 0;        ///< of all units

    /// Tensor of a unit by its name within the unit; nullptr when the unit has none.
    [[nodiscard]] const StateTensor* find(std::size_t unit, std::string_view short_name) const;
};

/// Elements of a tensor that lie in a range of the state.
struct TensorPart {
    const StateTensor* tensor = nullptr;
    std::int64_t first = 0;   ///< element of the tensor
    std::int64_t offset = 0;  ///< of it in the range
    std::int64_t count = 0;
};
/// Of elements [first, first + count) of the state, which lie in `unit`, in memory order and
/// without padding. `layout` must outlive the result.
[[nodiscard]] std::vector<TensorPart> tensor_parts(const StateLayout& layout, std::size_t unit,
                                                   std::uint64_t first, std::int64_t count);

[[nodiscard]] StateLayout state_layout(const model::ParameterLayout& layout,
                                       std::int64_t world_size);

}  // namespace isoflop::cost
