// Whether a run fits into what is free on its device. Internal to the trainer.
#pragma once

#include <cstdint>
#include <string>

#include "isoflop/cost/device_overhead.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/recipe/run_plan.hpp"

namespace isoflop::trainer {

/// What a run is still to take of its device, which is open, and what there is for it.
struct MemoryNeed {
    std::uint64_t arena_bytes = 0;
    cost::DeviceOverhead overhead;
    std::uint64_t available_bytes = 0;

    [[nodiscard]] std::uint64_t needed_bytes() const {
        return arena_bytes + overhead.later_bytes();
    }
    [[nodiscard]] bool fits() const { return needed_bytes() <= available_bytes; }
    /// "12.10 GiB of buffers, about 0.12 GiB for kernels, about 0.39 GiB for NCCL (1 communicator)"
    [[nodiscard]] std::string parts() const;
};

[[nodiscard]] MemoryNeed memory_need(const recipe::RunPlan& plan,
                                     const device::DeviceMemoryUse& use);

/// Throws Error with ExitCode::out_of_memory that names the parts.
void check_memory(const recipe::RunPlan& plan, const device::DeviceMemoryUse& use);

}  // namespace isoflop::trainer
