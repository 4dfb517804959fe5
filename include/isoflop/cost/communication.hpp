// Bytes that one rank sends per optimizer step under each data parallel strategy, with ring
// collectives: all_gather and reduce_scatter of P bytes send (n-1)/n P per rank, all_reduce twice
// that (Rajbhandari 2020, section 7).
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "isoflop/cost/execution.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::cost {

struct Collective {
    std::string_view name;         ///< "all_reduce gradients"
    std::uint64_t bytes_sent = 0;  ///< by one rank over one optimizer step
};

/// Padded elements of all units, as sharded over `world_size` ranks.
[[nodiscard]] std::uint64_t padded_parameters(const model::ParameterLayout& layout,
                                              std::int64_t world_size);

[[nodiscard]] std::vector<Collective> communication_per_step(const model::ParameterLayout& layout,
                                                             const Execution& execution);

/// True when the bytes of one step fit in 63 bits.
[[nodiscard]] bool traffic_is_countable(const model::ParameterLayout& layout,
                                        const Execution& execution);

[[nodiscard]] std::uint64_t total_bytes_sent(const std::vector<Collective>& collectives);

}  // namespace isoflop::cost
