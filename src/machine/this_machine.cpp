#include "isoflop/machine/this_machine.hpp"

#include "isoflop/device/device.hpp"

namespace isoflop::machine {

recipe::Machine this_machine(std::int64_t world_size) {
    const bool has_gpu = device::count_gpus().devices > 0;
    return {world_size, has_gpu ? cost::DeviceKind::cuda : cost::DeviceKind::cpu};
}

recipe::Recipe recipe_here(const recipe::TrainKeys& keys, std::int64_t world_size) {
    return recipe::recipe_of(keys, this_machine(world_size));
}

}  // namespace isoflop::machine
