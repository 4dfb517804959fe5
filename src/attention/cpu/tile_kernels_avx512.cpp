#if defined(__x86_64__)
#define ISOFLOP_TILE_NAMESPACE tiles_avx512
#define ISOFLOP_TILE_TARGET gnu::target("avx512f,avx2,fma")
#define ISOFLOP_TILE_VECTOR_BYTES 64
#define ISOFLOP_TILE_VECTORS 4  // 32 registers hold 4 x 6 sums
#include "attention/cpu/tile_kernel_bodies.hpp"
#endif
