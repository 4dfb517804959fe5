#include "isoflop/cost/state_coverage.hpp"

#include <algorithm>

#include "cost/unit_sizes.hpp"

namespace isoflop::cost {
namespace {

constexpr auto kAlignment = static_cast<std::uint64_t>(kTensorAlignment);

/// A tensor reaches to the next one, and the last to the end of the unit. Tensors of a fused
/// product begin between two multiples of the alignment: their ranges share what lies between.
void add_tensor(ElementRanges& ranges, std::uint64_t begin, std::uint64_t end) {
    ranges.add({begin / kAlignment * kAlignment, round_up(end, kAlignment)});
}

std::uint64_t overlap(const ElementRange& a, const ElementRange& b) {
    const std::uint64_t begin = std::max(a.begin, b.begin);
    const std::uint64_t end = std::min(a.end, b.end);
    return begin < end ? end - begin : 0;
}

}  // namespace

void ElementRanges::add(ElementRange range) {
    if (!entries_.empty() && range.begin <= entries_.back().range.end) {
        entries_.back().range.end = std::max(entries_.back().range.end, range.end);
        return;
    }
    const std::uint64_t before =
        entries_.empty()
            ? 0
            : entries_.back().before + entries_.back().range.end - entries_.back().range.begin;
    entries_.push_back({range, before});
}

std::vector<ElementRanges::Entry>::const_iterator ElementRanges::first_after(
    std::uint64_t element) const {
    return std::upper_bound(
        entries_.begin(), entries_.end(), element,
        [](std::uint64_t value, const Entry& entry) { return value < entry.range.end; });
}

std::uint64_t ElementRanges::before(std::uint64_t element) const {
    const auto entry = first_after(element);
    if (entry != entries_.end()) return entry->before + overlap(entry->range, {0, element});
    if (entries_.empty()) return 0;
    const Entry& last = entries_.back();
    return last.before + last.range.end - last.range.begin;
}

std::vector<ElementRange> ElementRanges::within(ElementRange limits) const {
    std::vector<ElementRange> found;
    for (auto entry = first_after(limits.begin);
         entry != entries_.end() && entry->range.begin < limits.end; ++entry) {
        found.push_back(
            {std::max(entry->range.begin, limits.begin), std::min(entry->range.end, limits.end)});
    }
    return found;
}

std::uint64_t ElementRanges::largest_part(ElementRange whole, std::int64_t parts) const {
    const std::uint64_t size = (whole.end - whole.begin) / static_cast<std::uint64_t>(parts);
    std::uint64_t most = 0;
    for (const ElementRange& range : within(whole)) {
        const std::uint64_t first = (range.begin - whole.begin) / size;
        const std::uint64_t last = (range.end - 1 - whole.begin) / size;
        if (last > first + 1) return size;  // a part in between lies in the range
        for (const std::uint64_t part : {first, last}) {
            const std::uint64_t begin = whole.begin + part * size;
            most = std::max(most, before(begin + size) - before(begin));
        }
    }
    return most;
}

ElementRanges covered_ranges(const OptimizerTensor& state,
                             const std::vector<model::TensorSpec>& tensors,
                             const UnitLayout& unit) {
    ElementRanges ranges;
    for (std::size_t i = 0; i < unit.placements.size(); ++i) {
        const Placement& place = unit.placements[i];
        if (!state.covers(tensors[place.tensor])) continue;
        const bool last = i + 1 == unit.placements.size();
        add_tensor(ranges, place.offset, last ? unit.elements : unit.placements[i + 1].offset);
    }
    return ranges;
}

ElementRanges covered_ranges(const OptimizerTensor& state, const StateLayout& layout) {
    ElementRanges ranges;
    for (std::size_t i = 0; i < layout.tensors.size(); ++i) {
        const StateTensor& tensor = layout.tensors[i];
        if (!state.covers(tensor.spec)) continue;
        const bool last = i + 1 == layout.tensors.size();
        const std::uint64_t end = last ? layout.elements : layout.tensors[i + 1].offset;
        const StateUnit& unit = layout.units.at(tensor.unit);
        add_tensor(ranges, tensor.offset, std::min(end, unit.offset + unit.elements));
    }
    return ranges;
}

}  // namespace isoflop::cost
