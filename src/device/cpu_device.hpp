// The CPU behind the Device interface: memory of the host, and products on the threads of a pool.
#pragma once

#include "isoflop/device/cpu_info.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::device {

class CpuDevice final : public Device {
public:
    explicit CpuDevice(int ranks_on_host = 1);

    [[nodiscard]] cost::DeviceKind kind() const override { return cost::DeviceKind::cpu; }
    [[nodiscard]] bool is_host() const override { return true; }
    [[nodiscard]] const DeviceInfo& info() const override { return info_; }
    [[nodiscard]] std::string description(const ThreadPool& pool) const override;
    [[nodiscard]] std::optional<MeasuredPeaks> measure_peaks(Context& context) override;
    [[nodiscard]] TrialSize trial_size(const ThreadPool& pool) const override;
    [[nodiscard]] std::byte* allocate(std::uint64_t bytes) override;
    void release(std::byte* memory, std::uint64_t bytes) noexcept override;
    void copy_in(void* device, const void* host, std::uint64_t bytes) override;
    void copy_out(void* host, const void* device, std::uint64_t bytes) override;
    void copy(void* to, const void* from, std::uint64_t bytes) override;
    void fill_zero(void* device, std::uint64_t bytes) override;
    void synchronize() override {}
    void gemm(ThreadPool& pool, const DeviceGemm& product) override;
    [[nodiscard]] bool try_gemm(ThreadPool& pool, const DeviceGemm& product) override;
    [[nodiscard]] DeviceMemoryUse memory_use() override;

private:
    const DeviceInfo info_;
    const int ranks_on_host_;
};

}  // namespace isoflop::device
