#include "device/cuda/nvml.hpp"

#include "isoflop/device/shared_library.hpp"

#if __has_include(<nvml.h>)
#include <nvml.h>

#include <type_traits>
#endif

namespace isoflop::device::cuda {
namespace {

constexpr int kSuccess = 0;
constexpr int kSmClock = 1;
constexpr int kMemoryClock = 2;

#if __has_include(<nvml.h>)
static_assert(kSuccess == NVML_SUCCESS);
static_assert(kSmClock == NVML_CLOCK_SM && kMemoryClock == NVML_CLOCK_MEM);
static_assert(std::is_same_v<nvmlDevice_t, nvmlDevice_st*>);
#endif

struct Functions {
    int (*init)() = nullptr;
    int (*shutdown)() = nullptr;
    int (*get_handle)(const char* pci_bus_id, nvmlDevice_st** device) = nullptr;
    int (*get_power)(nvmlDevice_st* device, unsigned* milliwatts) = nullptr;
    int (*get_clock)(nvmlDevice_st* device, int type, unsigned* megahertz) = nullptr;

    [[nodiscard]] bool complete() const {
        return init != nullptr && shutdown != nullptr && get_handle != nullptr &&
               get_power != nullptr && get_clock != nullptr;
    }
};

template <class Function>
void load(const SharedLibrary& library, Function*& function, const char* symbol) {
    function = library.find<Function>(symbol);
}

const Functions& nvml() {
    static const Functions kTable = [] {
        const SharedLibrary library({"libnvidia-ml.so.1"});
        Functions table;
        load(library, table.init, "nvmlInit_v2");
        load(library, table.shutdown, "nvmlShutdown");
        load(library, table.get_handle, "nvmlDeviceGetHandleByPciBusId_v2");
        load(library, table.get_power, "nvmlDeviceGetPowerUsage");
        load(library, table.get_clock, "nvmlDeviceGetClockInfo");
        return table;
    }();
    return kTable;
}

}  // namespace

Nvml::Nvml(const std::string& pci_bus_id) {
    if (!nvml().complete() || nvml().init() != kSuccess) return;
    if (nvml().get_handle(pci_bus_id.c_str(), &device_) == kSuccess) return;
    device_ = nullptr;
    (void)nvml().shutdown();
}

Nvml::~Nvml() {
    if (device_ != nullptr) (void)nvml().shutdown();
}

std::optional<DeviceSensors> Nvml::sensors() const {
    unsigned milliwatts = 0;
    unsigned sm_clock = 0;
    unsigned memory_clock = 0;
    if (device_ == nullptr || nvml().get_power(device_, &milliwatts) != kSuccess ||
        nvml().get_clock(device_, kSmClock, &sm_clock) != kSuccess ||
        nvml().get_clock(device_, kMemoryClock, &memory_clock) != kSuccess)
        return std::nullopt;
    return DeviceSensors{.watts = milliwatts * 1e-3,
                         .sm_megahertz = static_cast<double>(sm_clock),
                         .memory_megahertz = static_cast<double>(memory_clock)};
}

}  // namespace isoflop::device::cuda
