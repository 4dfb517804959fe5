// sum += term, element by element.
#pragma once

#include <cstddef>
#include <cstdint>

#include "comm/collectives.hpp"

namespace isoflop::comm {

/// Both aligned to the element type; they do not overlap.
void add_into(SumType type, std::byte* sum, const std::byte* term, std::uint64_t elements);

}  // namespace isoflop::comm
