// Copies of operands in the order in which the kernels read them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace isoflop::device {

/// A matrix X(lane, p): lanes are the rows of op(A) or the columns of op(B), p is the depth that is
/// summed over.
struct PackSource {
    const float* data = nullptr;
    std::int64_t stride = 0;
    bool lanes_contiguous =
        false;  ///< X(lane, p) at data[p * stride + lane], else at data[lane * stride + p]
};

/// Writes panels of `width` lanes: element (lane, p) of a panel at [p * width + lane]. Lanes
/// missing in the last panel are zero. `to` holds panel_floats(lanes, depth, width).
void pack_panels(float* to, const PackSource& from, std::int64_t lanes, std::int64_t depth,
                 int width);

[[nodiscard]] constexpr std::int64_t panel_floats(std::int64_t lanes, std::int64_t depth,
                                                  int width) {
    return (lanes + width - 1) / width * width * depth;
}

/// Memory for packed panels, one of each purpose per thread: aligned, growing, kept until the
/// thread ends.
enum class PackBuffer { a, b };
[[nodiscard]] float* pack_buffer(PackBuffer purpose, std::int64_t floats);

}  // namespace isoflop::device
