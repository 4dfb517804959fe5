// Which GPU a rank uses, from those that its process can use. Launchers differ: torchrun shows all
// GPUs to every rank, srun --gpus-per-task=1 and containers show each rank its own as number 0.
#pragma once

namespace isoflop::device {

/// Number of the GPU among the `visible` ones: the local rank where there is one for every rank of
/// the machine, 0 where there is a single one. Throws ConfigError when several ranks see fewer GPUs
/// than they are, as it is then unknown which are whose. Without any GPU, the local rank.
[[nodiscard]] int gpu_of_rank(int visible, int local_rank, int local_world_size);

}  // namespace isoflop::device
