// 16-byte vectors: what every CPU of the architecture has (SSE2, NEON).
#define ISOFLOP_TILE_NAMESPACE tiles_generic
#define ISOFLOP_TILE_TARGET
#define ISOFLOP_TILE_VECTOR_BYTES 16
#define ISOFLOP_TILE_VECTORS 2  // vectors of lanes per register block: 16 registers hold 2 x 6 sums
#include "attention/cpu/tile_kernel_bodies.hpp"
