// A GPU whose memory is the host's and whose kernels run in the emulator: the CUDA
// backend without a GPU. Products are computed in fp32, one term after another. What a GPU or its
// libraries would refuse, or answer with a fault, is a std::logic_error here.
#pragma once

#include <set>
#include <vector>

#include "isoflop/device/device.hpp"

namespace isoflop::emulated {

class EmulatedDevice final : public device::Device {
public:
    explicit EmulatedDevice(const device::DeviceOptions& options = {}, int multiprocessors = 4);
    ~EmulatedDevice() override;

    [[nodiscard]] cost::DeviceKind kind() const override { return cost::DeviceKind::cuda; }
    [[nodiscard]] const device::DeviceInfo& info() const override { return info_; }
    [[nodiscard]] std::string description(const device::ThreadPool& /*pool*/) const override {
        return info_.name + " (sm_80)";
    }
    [[nodiscard]] std::byte* allocate(std::uint64_t bytes) override;
    void release(std::byte* memory, std::uint64_t bytes) noexcept override;
    void copy_in(void* device, const void* host, std::uint64_t bytes) override;
    void copy_out(void* host, const void* device, std::uint64_t bytes) override;
    void copy(void* to, const void* from, std::uint64_t bytes) override;
    void fill_zero(void* device, std::uint64_t bytes) override;
    void synchronize() override {}
    void gemm(device::ThreadPool& pool, const device::DeviceGemm& product) override;
    /// As the library: an epilogue needs rows of whole 8 elements, and a second matrix from 16
    /// bytes.
    [[nodiscard]] bool try_gemm(device::ThreadPool& pool,
                                const device::DeviceGemm& product) override;
    [[nodiscard]] std::byte* scratch() override { return scratch_.data(); }
    [[nodiscard]] CUstream_st* stream() const override { return nullptr; }
    [[nodiscard]] device::DeviceMemoryUse memory_use() override;

protected:
    [[nodiscard]] double* results() override { return results_.data(); }

private:
    device::DeviceInfo info_;
    std::uint64_t allocated_ = 0;
    std::vector<std::pair<std::byte*, std::uint64_t>> blocks_;
    std::vector<std::byte> scratch_;
    std::vector<double> results_;
};

}  // namespace isoflop::emulated
