// Packing touches each operand once per block; the product touches it hundreds of times. It reads
// whole cache lines, and transposes 4 x 4 blocks in registers.
#include "device/gemm_pack.hpp"

#include <algorithm>
#include <array>
#include <cstring>
#include <stdexcept>

#include "isoflop/device/arena.hpp"

namespace isoflop::device {
namespace {

using Float4 [[gnu::vector_size(16)]] = float;

Float4 load4(const float* from) {
    Float4 value;
    std::memcpy(&value, from, sizeof value);
    return value;
}

void store4(float* to, Float4 value) {
    std::memcpy(to, &value, sizeof value);
}

/// Sources come from the last-level cache or from memory, in runs too short for the hardware to see
/// far ahead.
void prefetch_floats(const float* from, std::int64_t count) {
    constexpr std::int64_t kFloatsPerLine = 16;
    for (std::int64_t i = 0; i < count; i += kFloatsPerLine) __builtin_prefetch(from + i);
}

/// Lanes lie next to each other: rows of the source are cut into pieces of `width`.
template <int width>
void pack_rows(float* to, const PackSource& from, std::int64_t lanes, std::int64_t depth) {
    constexpr std::int64_t kRowsAhead = 16;
    // So many rows fill whole cache lines of a panel before the next panel, which may compete for
    // the same place in the cache, follows.
    constexpr std::int64_t kRowsTogether = 4;
    for (std::int64_t p = 0; p < depth; p += kRowsTogether) {
        const std::int64_t rows = std::min(kRowsTogether, depth - p);
        const float* source = from.data + p * from.stride;
        for (std::int64_t row = p + kRowsAhead; row < std::min(p + kRowsAhead + rows, depth);
             ++row) {
            prefetch_floats(from.data + row * from.stride, lanes);
        }
        float* out = to + p * width;
        std::int64_t lane = 0;
        for (; lane + width <= lanes; lane += width) {
            for (std::int64_t row = 0; row < rows; ++row) {
                std::memcpy(out + row * width, source + row * from.stride + lane,
                            width * sizeof(float));
            }
            out += depth * width;
        }
        const auto left = static_cast<std::size_t>(lanes - lane);
        if (left == 0) continue;
        for (std::int64_t row = 0; row < rows; ++row) {
            std::memcpy(out + row * width, source + row * from.stride + lane, left * sizeof(float));
            std::memset(out + row * width + left, 0, (width - left) * sizeof(float));
        }
    }
}

/// Four lanes of a panel.
template <int width>
void transpose_four(float* to, const float* from, std::int64_t stride, std::int64_t depth) {
    std::int64_t p = 0;
    for (; p + 4 <= depth; p += 4) {
        const Float4 row0 = load4(from + p);
        const Float4 row1 = load4(from + stride + p);
        const Float4 row2 = load4(from + 2 * stride + p);
        const Float4 row3 = load4(from + 3 * stride + p);
        const Float4 low01 = __builtin_shufflevector(row0, row1, 0, 4, 1, 5);
        const Float4 high01 = __builtin_shufflevector(row0, row1, 2, 6, 3, 7);
        const Float4 low23 = __builtin_shufflevector(row2, row3, 0, 4, 1, 5);
        const Float4 high23 = __builtin_shufflevector(row2, row3, 2, 6, 3, 7);
        float* out = to + p * width;
        store4(out, __builtin_shufflevector(low01, low23, 0, 1, 4, 5));
        store4(out + width, __builtin_shufflevector(low01, low23, 2, 3, 6, 7));
        store4(out + 2 * width, __builtin_shufflevector(high01, high23, 0, 1, 4, 5));
        store4(out + 3 * width, __builtin_shufflevector(high01, high23, 2, 3, 6, 7));
    }
    for (; p < depth; ++p) {
        for (int lane = 0; lane < 4; ++lane) to[p * width + lane] = from[lane * stride + p];
    }
}

/// `used` lanes of a panel, zeros in the rest.
template <int width>
void transpose_lanes(float* to, const float* from, std::int64_t stride, std::int64_t depth,
                     int used) {
    int lane = 0;
    for (; lane + 4 <= used; lane += 4)
        transpose_four<width>(to + lane, from + lane * stride, stride, depth);
    for (; lane < used; ++lane) {
        for (std::int64_t p = 0; p < depth; ++p) to[p * width + lane] = from[lane * stride + p];
    }
    for (; lane < width; ++lane) {
        for (std::int64_t p = 0; p < depth; ++p) to[p * width + lane] = 0;
    }
}

/// Depth lies next to each other: each panel is a transposed block, done in pieces that stay in the
/// first-level cache.
template <int width>
void pack_columns(float* to, const PackSource& from, std::int64_t lanes, std::int64_t depth) {
    constexpr std::int64_t kDepthPiece = 64;
    for (std::int64_t begin = 0; begin < lanes; begin += width) {
        const float* panel = from.data + begin * from.stride;
        const int used = static_cast<int>(std::min<std::int64_t>(width, lanes - begin));
        const std::int64_t ahead = std::min<std::int64_t>(width, lanes - begin - used);
        for (std::int64_t p = 0; p < depth; p += kDepthPiece) {
            const std::int64_t piece = std::min(kDepthPiece, depth - p);
            for (std::int64_t lane = 0; lane < ahead; ++lane) {
                prefetch_floats(panel + (width + lane) * from.stride + p, piece);
            }
            transpose_lanes<width>(to + p * width, panel + p, from.stride, piece, used);
        }
        to += depth * width;
    }
}

template <int width>
void pack(float* to, const PackSource& from, std::int64_t lanes, std::int64_t depth) {
    if (from.lanes_contiguous) {
        pack_rows<width>(to, from, lanes, depth);
    } else {
        pack_columns<width>(to, from, lanes, depth);
    }
}

}  // namespace

void pack_panels(float* to, const PackSource& from, std::int64_t lanes, std::int64_t depth,
                 int width) {
    switch (width) {  // the tile sizes of the kernels
        case 6: return pack<6>(to, from, lanes, depth);
        case 8: return pack<8>(to, from, lanes, depth);
        case 12: return pack<12>(to, from, lanes, depth);
        case 16: return pack<16>(to, from, lanes, depth);
        case 32: return pack<32>(to, from, lanes, depth);
        default: throw std::logic_error("no kernel has panels of this width");
    }
}

float* pack_buffer(PackBuffer purpose, std::int64_t floats) {
    thread_local std::array<Arena, 2> buffers{Arena(0), Arena(0)};
    Arena& buffer = buffers.at(static_cast<std::size_t>(purpose));
    const std::uint64_t bytes = static_cast<std::uint64_t>(floats) * sizeof(float);
    if (buffer.size() < bytes) {
        buffer = Arena(0);  // the old one goes first
        buffer = Arena(bytes);
    }
    return reinterpret_cast<float*>(buffer.data());
}

}  // namespace isoflop::device
