#include "recipe/gpu_type.hpp"

#include <fmt/format.h>

#include "isoflop/base/error.hpp"
#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::recipe {

void check_gpu_type(std::string_view name) {
    if (name.empty()) return;
    const hardware::Gpu* gpu = nullptr;
    try {
        gpu = &hardware::GpuTable::builtin().at(name);
    } catch (const ConfigError& error) {
        throw ConfigError(fmt::format("gpu_type: {}", error.what()));
    }
    if (!gpu->plan_only) return;
    throw ConfigError(fmt::format(
        "gpu_type: the trainer does not run on {}; scaling-plan backward plans for it", gpu->id));
}

}  // namespace isoflop::recipe
