// An NVIDIA GPU behind the Device interface: one stream of computation, one for uploads.
#pragma once

#include "device/cuda/memory.hpp"
#include "device/cuda/nvml.hpp"
#include "device/cuda/products.hpp"
#include "device/cuda/runtime.hpp"
#include "device/cuda/transfers.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::device::cuda {

class CudaDevice final : public Device {
public:
    /// The device of info.ordinal, which must exist and be new enough.
    CudaDevice(const DeviceOptions& options, DeviceInfo info);
    ~CudaDevice() override;

    [[nodiscard]] cost::DeviceKind kind() const override { return cost::DeviceKind::cuda; }
    [[nodiscard]] const DeviceInfo& info() const override { return info_; }
    [[nodiscard]] std::string description(const ThreadPool& pool) const override;
    [[nodiscard]] std::byte* allocate(std::uint64_t bytes) override;
    void release(std::byte* memory, std::uint64_t bytes) noexcept override;
    void copy_in(void* device, const void* host, std::uint64_t bytes) override;
    void copy_out(void* host, const void* device, std::uint64_t bytes) override;
    void copy(void* to, const void* from, std::uint64_t bytes) override;
    void fill_zero(void* device, std::uint64_t bytes) override;
    void synchronize() override;
    void gemm(ThreadPool& pool, const DeviceGemm& product) override;
    [[nodiscard]] bool try_gemm(ThreadPool& pool, const DeviceGemm& product) override;
    [[nodiscard]] std::byte* scratch() override { return scratch_.data(); }
    [[nodiscard]] CUstream_st* stream() const override { return stream_.get(); }
    [[nodiscard]] std::string plan_cache() const override { return plan_cache_; }
    [[nodiscard]] bool begin_capture() override;
    [[nodiscard]] std::unique_ptr<Graph> end_capture() override;
    [[nodiscard]] DeviceMemoryUse memory_use() override;
    [[nodiscard]] std::optional<DeviceSensors> sensors() override;
    void begin_range(std::string_view name) override;
    void end_range() override;

protected:
    [[nodiscard]] double* results() override { return reinterpret_cast<double*>(results_.data()); }

private:
    /// Makes this device current in the thread. Throws when a graph cannot record `call`.
    void prepare_call(const char* call) const;

    const DeviceInfo info_;
    const std::string plan_cache_;
    Stream stream_;
    DeviceMemory scratch_;
    DeviceMemory results_;
    Uploads uploads_;
    Downloads downloads_;
    Products products_;
    Nvml nvml_;
    bool capturing_ = false;
};

}  // namespace isoflop::device::cuda
