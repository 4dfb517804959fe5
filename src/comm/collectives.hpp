// The algorithms of the collectives, over messages between two ranks. Each returns the bytes that
// this rank has sent.
//
// A tensor is n parts of equal length. Every element's order of additions is fixed (see
// threaded_communicator.hpp), so neither the length of the staging buffer nor timing changes the
// bits.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "isoflop/comm/point_to_point.hpp"

namespace isoflop::comm {

/// Types that can be summed.
enum class SumType { float32, float64, bfloat16 };

[[nodiscard]] std::size_t element_bytes(SumType type);

struct SumTensor {
    std::byte* data = nullptr;
    std::uint64_t elements = 0;  ///< a multiple of the number of ranks
    SumType type = SumType::float32;
};

/// Bytes of staging with which tensors of at most `largest_bytes` are summed at full speed.
[[nodiscard]] std::uint64_t staging_bytes(std::uint64_t largest_bytes, int size);
/// With less than this not even one element of each part would fit.
[[nodiscard]] std::uint64_t smallest_staging_bytes(int size);

std::uint64_t reduce_scatter(PointToPoint& transport, const SumTensor& tensor,
                             std::span<std::byte> staging);

/// `tensor` is n parts, each a whole number of bytes.
std::uint64_t all_gather(PointToPoint& transport, std::span<std::byte> tensor);

std::uint64_t all_reduce(PointToPoint& transport, const SumTensor& tensor,
                         std::span<std::byte> staging);

/// Throws std::invalid_argument unless `elements` are parts of equal length for `size` ranks.
void require_equal_parts(std::int64_t elements, int size);

}  // namespace isoflop::comm
