#include "isoflop/cost/device_overhead.hpp"

namespace isoflop::cost {
namespace {

constexpr std::uint64_t kMiB = 1ULL << 20U;
/// A CUDA context with cuBLAS workspace takes 0.5 to 0.7 GiB, with the kernels that it loads.
constexpr std::uint64_t kContextBytes = 600 * kMiB;
constexpr std::uint64_t kModulesBytes = 128 * kMiB;
constexpr std::uint64_t kCudnnBytes = 64 * kMiB;
/// The channels of a communicator take 0.3 to 0.8 GiB.
constexpr std::uint64_t kCommunicatorBytes = 400 * kMiB;

/// One for all ranks; under hybrid sharding one more within a copy of the state, and one between
/// the copies.
std::int64_t communicators_of(const Execution& execution) {
    if (execution.world_size == 1) return 0;
    const bool hybrid = execution.parallelism == Parallelism::fsdp && execution.replicas() > 1;
    return hybrid ? 3 : 1;
}

}  // namespace

DeviceOverhead device_overhead(const Execution& execution) {
    if (execution.device == DeviceKind::cpu) return {};
    const bool cudnn =
        execution.attention_backend == AttentionBackend::sdpa && execution.has_master_weights();
    DeviceOverhead overhead{.modules_bytes = kModulesBytes,
                            .cudnn_bytes = cudnn ? kCudnnBytes : 0,
                            .communicators = communicators_of(execution)};
    overhead.nccl_bytes = static_cast<std::uint64_t>(overhead.communicators) * kCommunicatorBytes;
    overhead.opened_bytes = kContextBytes - overhead.modules_bytes - overhead.cudnn_bytes;
    return overhead;
}

}  // namespace isoflop::cost
