// Positions of threads in a grid of one dimension.
#pragma once

#include <cstdint>

#include "isoflop/device/cuda/simt.hpp"

namespace isoflop::ops::cuda {

/// Number of this thread in the grid, and how many there are: begin and step of a loop over all.
SIMT_DEVICE std::int64_t grid_thread() {
    return static_cast<std::int64_t>(simt::block_index().x) * simt::block_size().x +
           simt::thread_index().x;
}
SIMT_DEVICE std::int64_t grid_threads() {
    return static_cast<std::int64_t>(simt::grid_size().x) * simt::block_size().x;
}

}  // namespace isoflop::ops::cuda
