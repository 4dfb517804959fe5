// Linked where the build has no CUDA.
#include "isoflop/base/error.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::device {
namespace {

constexpr const char* kReason =
    "this build has no CUDA (install the CUDA toolkit 12.4 or newer, configure and build again)";

}  // namespace

DeviceCount count_gpus() {
    return {.devices = 0, .reason = kReason};
}

std::unique_ptr<Device> open_gpu(const DeviceOptions& /*options*/) {
    throw ConfigError(std::string("device=cuda: ") + kReason);
}

}  // namespace isoflop::device
