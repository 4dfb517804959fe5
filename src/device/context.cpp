// The recorder adds up products of one name and pass, so that a step of a model is a short list.
#include "isoflop/device/context.hpp"

#include <algorithm>

namespace isoflop::device {

void ProductRecorder::add(std::string_view name, cost::Pass pass, std::uint64_t multiply_adds,
                          Source source) {
    const bool as_planned = source == Source::planned;
    const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& entry) {
        return entry.name == name && entry.pass == pass;
    });
    if (found != entries_.end()) {
        found->multiply_adds += multiply_adds;
        found->as_planned |= as_planned;
    } else {
        entries_.push_back({name, pass, multiply_adds, as_planned});
    }
}

std::uint64_t ProductRecorder::total_flops() const {
    std::uint64_t multiply_adds = 0;
    for (const Entry& entry : entries_) multiply_adds += entry.multiply_adds;
    return 2 * multiply_adds;
}

std::uint64_t ProductRecorder::flops_as_planned() const {
    std::uint64_t multiply_adds = 0;
    for (const Entry& entry : entries_)
        if (entry.as_planned) multiply_adds += entry.multiply_adds;
    return 2 * multiply_adds;
}

}  // namespace isoflop::device
