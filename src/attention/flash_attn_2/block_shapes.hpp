// Tile shapes of every kernel, one for each head_dim and direction, with what a block takes.
//
// All fit the 99 KiB of the smallest architecture class, so one shape serves every GPU and few
// kernels need to be compiled. Registers are the most that nvcc 13.0 gives a thread on any
// architecture; tests/attention/emulated/check_with_nvcc.sh compares (docs/attention_kernels.md).
#pragma once

#include "attention/tensor_cores/block_shape.hpp"

#include "isoflop/cost/attention_pairs.hpp"

namespace isoflop::attention::flash_attn_2 {

using namespace tensor_cores;

inline constexpr std::array<TileShape, 5> kForwardTiles = {{
    {32, 128, 64, 4, 16384, 172},
    {64, 128, 64, 4, 32768, 244},
    {96, 128, 64, 4, 49152, 255},
    {128, 128, 64, 4, 65536, 255},
    {256, 64, 64, 4, 98304, 255},
}};
/// Query tiles outside, for d_q: queries and their output gradients, two stages of keys and values.
inline constexpr std::array<TileShape, 5> kQueryGradientTiles = {{
    {32, 128, 64, 4, 32768, 228},
    {64, 128, 64, 4, 65536, 255},
    {96, 64, 64, 4, 73728, 169},
    {128, 64, 64, 4, 98304, 224},
    {256, 64, 16, 4, 98304, 243},
}};
/// Key tiles outside, for d_k and d_v: keys and values, two stages of queries, output gradients,
/// lse and row sums.
inline constexpr std::array<TileShape, 5> kKeyGradientTiles = {{
    {32, 32, 128, 4, 25088, 168},
    {64, 32, 128, 4, 49664, 255},
    {96, 32, 128, 8, 74240, 236},
    {128, 32, 128, 8, 98816, 255},
    {256, 16, 64, 4, 98560, 241},
}};

/// As kKeyGradientTiles, with d_q added atomically from a tile of score gradients.
inline constexpr std::array<TileShape, 5> kAtomicTiles = {{
    {32, 32, 128, 4, 33280, 234},
    {64, 32, 128, 4, 57856, 255},
    {96, 32, 64, 4, 53760, 246},
    {128, 32, 64, 4, 70144, 255},
    {256, 16, 64, 4, 100608, 252},
}};

static_assert(fits_everywhere(kForwardTiles));
static_assert(fits_everywhere(kQueryGradientTiles));
static_assert(fits_everywhere(kKeyGradientTiles));
static_assert(fits_everywhere(kAtomicTiles));

/// FLOPs are planned with the same tiles.
[[nodiscard]] constexpr bool planned_as(const std::array<TileShape, 5>& table,
                                        cost::GpuTile cost::GpuAttentionTiles::*kernel) {
    for (const TileShape& shape : table) {
        const cost::GpuTile planned = cost::flash_attn_2_tiles(shape.head_dim).*kernel;
        if (planned.queries != shape.query_tile || planned.keys != shape.key_tile) return false;
    }
    return true;
}
static_assert(planned_as(kForwardTiles, &cost::GpuAttentionTiles::forward));
static_assert(planned_as(kQueryGradientTiles, &cost::GpuAttentionTiles::query_gradients));
static_assert(planned_as(kKeyGradientTiles, &cost::GpuAttentionTiles::key_gradients));
static_assert(planned_as(kAtomicTiles, &cost::GpuAttentionTiles::all_gradients));

}  // namespace isoflop::attention::flash_attn_2
