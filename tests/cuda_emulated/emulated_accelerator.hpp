// An accelerator whose memory is the host's and whose kernels run in the emulator: the CUDA
// backend without a GPU. Products are computed in fp32, one term after another.
#pragma once

#include <set>
#include <vector>

#include "isoflop/device/accelerator.hpp"

namespace isoflop::emulated {

class EmulatedAccelerator final : public device::Accelerator {
public:
    explicit EmulatedAccelerator(const device::AcceleratorOptions& options = {},
                                 int multiprocessors = 4);
    ~EmulatedAccelerator() override;

    [[nodiscard]] const device::AcceleratorInfo& info() const override { return info_; }
    [[nodiscard]] std::byte* allocate(std::uint64_t bytes) override;
    void release(std::byte* memory) noexcept override;
    void copy_in(void* device, const void* host, std::uint64_t bytes) override;
    void copy_out(void* host, const void* device, std::uint64_t bytes) override;
    void copy(void* to, const void* from, std::uint64_t bytes) override;
    void fill_zero(void* device, std::uint64_t bytes) override;
    void synchronize() override {}
    void gemm(const device::DeviceGemm& product) override;
    /// As the library: an epilogue needs rows of whole 8 elements.
    [[nodiscard]] bool can_multiply(const device::DeviceGemm& product) override {
        return product.epilogue == device::Epilogue::none || product.shape.ldc % 8 == 0;
    }
    [[nodiscard]] std::byte* scratch() override { return scratch_.data(); }
    [[nodiscard]] CUstream_st* stream() const override { return nullptr; }
    [[nodiscard]] const ops::Kernels& kernels() const override;
    [[nodiscard]] std::unique_ptr<attention::Backend> make_attention(
        cost::AttentionBackend backend) override;
    [[nodiscard]] device::DeviceMemoryUse memory_use() override;

protected:
    [[nodiscard]] double* results() override { return results_.data(); }

private:
    device::AcceleratorInfo info_;
    std::uint64_t allocated_ = 0;
    std::vector<std::pair<std::byte*, std::uint64_t>> blocks_;
    std::vector<std::byte> scratch_;
    std::vector<double> results_;
};

}  // namespace isoflop::emulated
