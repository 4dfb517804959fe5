#include "isoflop/comm/connect.hpp"

#include <stdexcept>

#include "isoflop/comm/gloo_transport.hpp"
#include "isoflop/comm/nccl.hpp"
#include "isoflop/comm/threaded_communicator.hpp"

namespace isoflop::comm {

std::unique_ptr<Communicator> connect_group(Store& store, const LaunchInfo& launch,
                                            const GroupMembers& members, device::Device& device,
                                            std::span<std::byte> staging,
                                            std::chrono::milliseconds timeout) {
    auto transport = connect_gloo_group(store, launch, members.name, members.ranks, timeout);
    switch (device.kind()) {
        case cost::DeviceKind::cpu:
            return std::make_unique<ThreadedCommunicator>(std::move(transport), staging);
        case cost::DeviceKind::cuda:
            return connect_nccl(store, std::move(transport),
                                {.device = device.info().ordinal,
                                 .gpu = device.info().unique_id,
                                 .cuda_major = device.info().cuda_major,
                                 .compute_stream = device.stream(),
                                 .group = members.name,
                                 .timeout = timeout});
    }
    throw std::logic_error("comm: no collectives for this kind of device");
}

}  // namespace isoflop::comm
