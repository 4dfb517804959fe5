// The weights for which an optimizer keeps a state. They are ranges of the flat model state, from a
// tensor to the next in multiples of kTensorAlignment, and stand directly behind each other in the
// memory of the state. The weights that a rank updates are an interval, so its values of the state
// are one too; ranks may hold different numbers of them, and memory is planned for the most.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "isoflop/cost/optimizer_state.hpp"
#include "isoflop/cost/state_layout.hpp"

namespace isoflop::cost {

struct ElementRange {
    std::uint64_t begin = 0;
    std::uint64_t end = 0;
};

/// Ranges of elements in ascending order, without overlaps.
class ElementRanges {
public:
    /// Begins within the last range or behind it.
    void add(ElementRange range);
    /// Elements of the ranges in front of `element`.
    [[nodiscard]] std::uint64_t before(std::uint64_t element) const;
    /// The ranges within `limits`.
    [[nodiscard]] std::vector<ElementRange> within(ElementRange limits) const;
    /// The most elements that one of `parts` equal parts of `whole` has in the ranges.
    [[nodiscard]] std::uint64_t largest_part(ElementRange whole, std::int64_t parts) const;

private:
    struct Entry {
        ElementRange range;
        std::uint64_t before = 0;  ///< elements of the ranges in front
    };
    /// The first entry that ends behind `element`.
    [[nodiscard]] std::vector<Entry>::const_iterator first_after(std::uint64_t element) const;

    std::vector<Entry> entries_;
};

/// The elements of a unit that the state covers, counted from the start of the unit.
[[nodiscard]] ElementRanges covered_ranges(const OptimizerTensor& state,
                                           const std::vector<model::TensorSpec>& tensors,
                                           const UnitLayout& unit);
/// The elements of the whole model state that the state covers.
[[nodiscard]] ElementRanges covered_ranges(const OptimizerTensor& state, const StateLayout& layout);

}  // namespace isoflop::cost
