#include "isoflop/device/rank_gpu.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/error.hpp"

namespace isoflop::device {

int gpu_of_rank(int visible, int local_rank, int local_world_size) {
    if (visible == 1) return 0;
    // A launcher that does not say how many ranks there are still gives each its number.
    const int ranks = std::max(local_world_size, local_rank + 1);
    if (visible == 0 || ranks <= visible) return local_rank;
    throw ConfigError(fmt::format(
        "device=cuda: local rank {} of {} sees {} GPUs, fewer than there are ranks on this "
        "machine; start at most {} ranks here, or show each rank one GPU (srun "
        "--gpus-per-task=1, CUDA_VISIBLE_DEVICES)",
        local_rank, ranks, visible, visible));
}

}  // namespace isoflop::device
