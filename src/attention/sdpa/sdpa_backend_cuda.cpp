// sdpa on a GPU as a backend: cuDNN's fused attention where it is installed and has a plan for the
// shape; else, forward, the kernels of sdpa_cuda.cu, and backward those of flash_attn_2, which can
// follow cuDNN, as lse agrees. Without cuDNN the kernels of sdpa_cuda.cu do both.
#include <algorithm>

#include "attention/cuda_backends.hpp"
#include "attention/cudnn/fused_attention.hpp"
#include "attention/flash_attn_2/flash_attn_2_cuda.hpp"
#include "attention/sdpa/sdpa_cuda.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/device/accelerator.hpp"

namespace isoflop::attention {
namespace {

constexpr auto kKind = cost::AttentionBackend::sdpa;
constexpr std::string_view kOwnKernels = "own kernels";

sdpa::ScratchMemory scratch_of(device::Accelerator& device) {
    return {.data = device.scratch(), .bytes = device::kScratchBytes};
}

class SdpaCuda final : public Backend {
public:
    [[nodiscard]] cost::AttentionBackend kind() const override { return kKind; }

    void forward(Context& context, const Shape& shape,
                 const ForwardArguments& arguments) const override {
        check_forward(kKind, shape, arguments, cost::DeviceKind::cuda);
        record_forward(context, kKind, shape, arguments.pass);
        device::Accelerator& device = *context.accelerator;
        if (runs_by_cudnn(device, shape, arguments, forward_)) return;
        sdpa::forward(device.stream(), shape, arguments, scratch_of(device));
    }

    void backward(Context& context, const Shape& shape,
                  const BackwardArguments& arguments) const override {
        check_backward(kKind, shape, arguments, cost::DeviceKind::cuda);
        record_backward(context, kKind, shape, arguments.d_q_sums.empty());
        device::Accelerator& device = *context.accelerator;
        if (runs_by_cudnn(device, shape, arguments, backward_)) return;
        if (cudnn_ == nullptr)
            return sdpa::backward(device.stream(), shape, arguments, scratch_of(device));
        if (arguments.d_q_sums.empty())
            return flash_attn_2::backward(device.stream(), shape, arguments);
        flash_attn_2::backward_with_atomics(device.stream(), shape, arguments, arguments.d_q_sums);
    }

    [[nodiscard]] std::string description() const override {
        if (!asked_) return {};
        return "forward: " + forward_ +
               (backward_.empty() ? std::string() : "; backward: " + backward_);
    }

private:
    /// Notes in `how` what runs, and if not cuDNN, why.
    template <class Arguments>
    bool runs_by_cudnn(device::Accelerator& device, const Shape& shape, const Arguments& arguments,
                       std::string& how) const {
        constexpr bool is_forward = std::is_same_v<Arguments, ForwardArguments>;
        ask_for_cudnn(device);
        if (cudnn_ == nullptr) {
            how = std::string(kOwnKernels) + " (" + without_cudnn_ + ")";
            return false;
        }
        const Support support = cudnn_->prepare(shape, arguments);
        if (!support.supported) {
            how = (is_forward ? std::string(kOwnKernels) : "flash_attn_2") + " (cuDNN " +
                  cudnn_->version() + ": " + support.reason + ")";
            return false;
        }
        how = "cuDNN " + cudnn_->version();
        cudnn_->run(shape, arguments,
                    [&](std::uint64_t bytes) { return workspace(device, bytes); });
        return true;
    }

    /// Once, when the device is known.
    void ask_for_cudnn(device::Accelerator& device) const {
        if (asked_) return;
        asked_ = true;
        if (device.stream() == nullptr) {
            without_cudnn_ = "the device has no stream of CUDA";
            return;
        }
        try {
            const device::AcceleratorInfo& info = device.info();
            cudnn_ = std::make_unique<cudnn::FusedAttention>(
                cudnn::load_functions(),
                cudnn::Capability{info.capability_major, info.capability_minor}, device.stream());
        } catch (const Error& error) {
            without_cudnn_ = error.what();
        }
    }

    /// Of the ops' scratch memory where that is enough; else memory of its own, which stays.
    void* workspace(device::Accelerator& device, std::uint64_t bytes) const {
        if (bytes <= device::kScratchBytes) return device.scratch();
        if (workspace_.size() < bytes) {
            device.synchronize();
            workspace_ = device::DeviceBuffer();
            workspace_ = device::DeviceBuffer(device, bytes);
        }
        return workspace_.data();
    }

    // A backend is of one rank, as its accelerator.
    mutable bool asked_ = false;
    mutable std::unique_ptr<cudnn::FusedAttention> cudnn_;
    mutable std::string without_cudnn_;
    mutable std::string forward_;
    mutable std::string backward_;
    mutable device::DeviceBuffer workspace_;
};

}  // namespace

std::unique_ptr<Backend> make_sdpa_cuda() {
    return std::make_unique<SdpaCuda>();
}

}  // namespace isoflop::attention
