// Padded sizes of the units (embedding, each block kind, head) that model state is laid out in.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "isoflop/base/rounding.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::cost {

struct Unit {
    std::string_view name;       ///< "embedding", "block", "moe_block", "head"
    std::uint64_t elements = 0;  ///< padded, a multiple of shard_parts() * kTensorAlignment
    std::int64_t count = 1;      ///< equal units (layers)
    const std::vector<model::TensorSpec>* tensors = nullptr;  ///< of one unit, in the layout
};

/// `layout` must outlive the result.
[[nodiscard]] std::vector<Unit> padded_units(const model::ParameterLayout& layout,
                                             std::int64_t world_size);

[[nodiscard]] inline std::uint64_t largest_unit(const std::vector<Unit>& units) {
    std::uint64_t largest = 0;
    for (const Unit& unit : units) largest = std::max(largest, unit.elements);
    return largest;
}

}  // namespace isoflop::cost
