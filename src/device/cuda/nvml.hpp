// Power and clocks, from the driver's management library, which is loaded if it is installed. Its
// header is not needed: the functions in use are declared here.
#pragma once

#include <optional>
#include <string>

#include "isoflop/device/device.hpp"

struct nvmlDevice_st;

namespace isoflop::device::cuda {

class Nvml {
public:
    /// Of the GPU at this place on the bus, as CUDA_VISIBLE_DEVICES changes numbers.
    explicit Nvml(const std::string& pci_bus_id);
    ~Nvml();
    Nvml(const Nvml&) = delete;
    Nvml& operator=(const Nvml&) = delete;

    [[nodiscard]] std::optional<DeviceSensors> sensors() const;

private:
    nvmlDevice_st* device_ = nullptr;
};

}  // namespace isoflop::device::cuda
