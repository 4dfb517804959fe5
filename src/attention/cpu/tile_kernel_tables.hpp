// The tables that each instruction set's source defines. The argument only picks the element type.
#pragma once

#include "attention/cpu/tile_kernels.hpp"

namespace isoflop::attention::tiles_generic {
const TileKernels<float>& table(float);
const TileKernels<double>& table(double);
}  // namespace isoflop::attention::tiles_generic

namespace isoflop::attention::tiles_avx2 {
const TileKernels<float>& table(float);
const TileKernels<double>& table(double);
}  // namespace isoflop::attention::tiles_avx2

namespace isoflop::attention::tiles_avx512 {
const TileKernels<float>& table(float);
const TileKernels<double>& table(double);
}  // namespace isoflop::attention::tiles_avx512
