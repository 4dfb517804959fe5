// Tile shapes of the kernels of sdpa, as those of flash_attn_2/block_shapes.hpp.
#pragma once

#include "attention/tensor_cores/block_shape.hpp"
#include "isoflop/cost/attention_pairs.hpp"

namespace isoflop::attention::sdpa {

using namespace tensor_cores;

/// Key tiles outside; query_tile is the chunk of a block, of which a warp has 16 at a time:
/// keys, values, 16 queries of each warp.
inline constexpr std::array<TileShape, 5> kForwardTiles = {{
    {32, 512, 128, 8, 24576, 194},
    {64, 512, 128, 8, 49152, 244},
    {96, 512, 128, 8, 73728, 242},
    {128, 512, 128, 8, 98304, 254},
    {256, 512, 32, 8, 98304, 255},
}};
/// Key tiles outside, for d_q, d_k and d_v: keys and values, two stages of queries, output
/// gradients, lse and row sums, and one tile of score gradients.
inline constexpr std::array<TileShape, 5> kBackwardTiles = {{
    {32, 64, 128, 8, 50176, 176},
    {64, 32, 128, 8, 57856, 178},
    {96, 32, 64, 4, 53760, 250},
    {128, 16, 128, 8, 86272, 255},
    {256, 16, 64, 4, 100608, 255},
}};
static_assert(fits_everywhere(kForwardTiles));
static_assert(fits_everywhere(kBackwardTiles));

/// FLOPs are planned with the same tiles.
[[nodiscard]] constexpr bool planned_as_they_are() {
    for (std::size_t i = 0; i < kForwardTiles.size(); ++i) {
        const cost::GpuSdpaTiles planned = cost::sdpa_tiles(kForwardTiles.at(i).head_dim);
        if (planned.forward.keys != kForwardTiles.at(i).key_tile ||
            planned.backward.queries != kBackwardTiles.at(i).query_tile ||
            planned.backward.keys != kBackwardTiles.at(i).key_tile)
            return false;
    }
    return true;
}
static_assert(planned_as_they_are());

}  // namespace isoflop::attention::sdpa
