// Whether a run fits into what is free on its device. Internal to the trainer.
#pragma once

#include <cstdint>
#include <string>

#include "isoflop/comm/launch.hpp"
#include "isoflop/cost/device_overhead.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/recipe/run_plan.hpp"
#include "isoflop/trainer/startup_report.hpp"

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

/// Of a device that is open: a run and a dry run decide by this. The capacity counts what opening
/// the device has taken, as the memory plan does.
[[nodiscard]] MemoryVerdict memory_verdict(const recipe::RunPlan& plan,
                                           const device::DeviceMemoryUse& use, std::string device);
/// Of the device that a dry run plans for: this machine's memory, the GPU of gpu_type, or the first
/// GPU here, which is opened for the question.
[[nodiscard]] MemoryVerdict planned_verdict(const recipe::RunPlan& plan, int ranks_on_host);

/// Throws Error with ExitCode::out_of_memory that names the parts, and what would fit.
void check_memory(const recipe::RunPlan& plan, const device::DeviceMemoryUse& use);

}  // namespace isoflop::trainer
