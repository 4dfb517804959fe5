// What the emulator reports, and the only error it throws: a fault names the kernel, the block, the
// thread and the place in the source.
#pragma once

#include <stdexcept>
#include <string>

namespace isoflop::emulator {

enum class FaultKind {
    barrier_divergence,      ///< not all threads of the block (or count) reach the same barrier
    shared_race,             ///< two threads touch the same byte, one writes, nothing orders them
    unwritten_read,          ///< shared memory that no thread of this block has written
    async_read_before_wait,  ///< data of a cp.async before the wait of its thread
    out_of_bounds,           ///< outside the array that a pointer belongs to
    misaligned,              ///< an address that is no multiple of the size of the access
    absent_lanes,            ///< a warp collective that lanes of its mask do not take part in
    unsupported_launch,      ///< grid, block or shared memory that no GPU accepts
};

class KernelFault : public std::runtime_error {
public:
    KernelFault(FaultKind kind, const std::string& message)
        : std::runtime_error(message), kind_(kind) {}
    [[nodiscard]] FaultKind kind() const noexcept { return kind_; }

private:
    FaultKind kind_;
};

}  // namespace isoflop::emulator
