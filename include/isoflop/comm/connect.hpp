// Ranks connected for the device of their tensors: by NCCL between GPUs, by Gloo between CPUs.
#pragma once

#include <chrono>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "isoflop/comm/communicator.hpp"
#include "isoflop/comm/launch.hpp"
#include "isoflop/comm/store.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::comm {

/// Some of the ranks of a job, in increasing order, under a name that no other group of it has.
struct GroupMembers {
    std::string name;
    std::vector<int> ranks;
};

/// Called by every member. `staging`: memory for the sums of a communicator on CPUs, which must
/// outlive it. Throws as connect_gloo_group and connect_nccl do.
[[nodiscard]] std::unique_ptr<Communicator> connect_group(Store& store, const LaunchInfo& launch,
                                                          const GroupMembers& members,
                                                          device::Device& device,
                                                          std::span<std::byte> staging,
                                                          std::chrono::milliseconds timeout);

}  // namespace isoflop::comm
