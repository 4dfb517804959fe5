// Memory of a GPU that a run takes beside its arena. These are estimates, as driver and libraries
// decide. What is taken when the device is opened is no longer free when the arena is compared with
// the free memory; the rest is still to come.
#pragma once

#include <cstdint>

#include "isoflop/cost/execution.hpp"

namespace isoflop::cost {

struct DeviceOverhead {
    std::uint64_t opened_bytes = 0;   ///< CUDA context, scratch, workspace of products, rings
    std::uint64_t modules_bytes = 0;  ///< kernels, ours and cuBLASLt's, loaded when first used
    std::uint64_t cudnn_bytes = 0;    ///< its handle and kernels; its workspace is in the arena
    std::uint64_t nccl_bytes = 0;     ///< buffers of all communicators
    std::int64_t communicators = 0;

    /// After the device has been opened.
    [[nodiscard]] std::uint64_t later_bytes() const {
        return modules_bytes + cudnn_bytes + nccl_bytes;
    }
    [[nodiscard]] std::uint64_t total_bytes() const { return opened_bytes + later_bytes(); }
};

/// Nothing on a CPU.
[[nodiscard]] DeviceOverhead device_overhead(const Execution& execution);

}  // namespace isoflop::cost
