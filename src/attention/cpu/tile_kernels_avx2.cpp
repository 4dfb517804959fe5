#if defined(__x86_64__)
#define ISOFLOP_TILE_NAMESPACE tiles_avx2
#define ISOFLOP_TILE_TARGET gnu::target("avx2,fma")
#define ISOFLOP_TILE_VECTOR_BYTES 32
#define ISOFLOP_TILE_VECTORS 2  // 16 registers hold 2 x 6 sums
#include "attention/cpu/tile_kernel_bodies.hpp"
#endif
