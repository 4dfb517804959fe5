// sdpa on a GPU as a backend: cuDNN's fused attention where it is installed and has a plan for the
// shape that does with the workspace that is there; else, forward, the kernels of sdpa_cuda.cu, and
// backward those of flash_attn_2, which can follow cuDNN, as lse agrees. Without cuDNN the kernels
// of sdpa_cuda.cu do both.
#include <fmt/format.h>

#include <algorithm>

#include "attention/backends_cuda.hpp"
#include "attention/cudnn/fused_attention.hpp"
#include "attention/flash_attn_2/flash_attn_2_cuda.hpp"
#include "attention/sdpa/sdpa_cuda.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::attention {
namespace {

constexpr auto kKind = cost::AttentionBackend::sdpa;
constexpr std::string_view kOwnKernels = "own kernels";

sdpa::ScratchMemory scratch_of(device::Device& device) {
    return {.data = device.scratch(), .bytes = device::kScratchBytes};
}

class SdpaCuda final : public Backend {
public:
    explicit SdpaCuda(std::filesystem::path plan_cache) : plan_cache_(std::move(plan_cache)) {}

    [[nodiscard]] cost::AttentionBackend kind() const override { return kKind; }

    void forward(Context& context, const Shape& shape,
                 const ForwardArguments& arguments) const override {
        check_forward(kKind, shape, arguments, cost::DeviceKind::cuda);
        record_planned_forward(context, kKind, shape, arguments.pass);
        device::Device& device = context.device;
        if (is_for_cudnn(device, shape, arguments, forward_))
            return cudnn_->run(shape, arguments, workspace(device, arguments).data());
        sdpa::forward(device.stream(), shape, arguments, scratch_of(device));
    }

    void backward(Context& context, const Shape& shape,
                  const BackwardArguments& arguments) const override {
        check_backward(kKind, shape, arguments, cost::DeviceKind::cuda);
        record_planned_backward(context, kKind, shape, arguments.d_q_sums.empty());
        device::Device& device = context.device;
        if (is_for_cudnn(device, shape, arguments, backward_))
            return cudnn_->run(shape, arguments, workspace(device, arguments).data());
        if (cudnn_ == nullptr)
            return sdpa::backward(device.stream(), shape, arguments, scratch_of(device));
        if (arguments.d_q_sums.empty())
            return flash_attn_2::backward(device.stream(), shape, arguments);
        flash_attn_2::backward_with_atomics(device.stream(), shape, arguments, arguments.d_q_sums);
    }

    void prepare(Context& context, const Shape& shape, const ForwardArguments& forward,
                 const BackwardArguments& backward) const override {
        (void)is_for_cudnn(context.device, shape, forward, forward_);
        (void)is_for_cudnn(context.device, shape, backward, backward_);
    }

    [[nodiscard]] std::string description() const override {
        if (!asked_) return {};
        return "forward: " + forward_ +
               (backward_.empty() ? std::string() : "; backward: " + backward_);
    }

private:
    /// The ops' scratch, or what was planned for the pass if that is more.
    static std::span<std::byte> workspace(device::Device& device,
                                          const ForwardArguments& /*arguments*/) {
        return {device.scratch(), device::kScratchBytes};
    }
    static std::span<std::byte> workspace(device::Device& device,
                                          const BackwardArguments& arguments) {
        if (arguments.workspace.size() > device::kScratchBytes) return arguments.workspace;
        return {device.scratch(), device::kScratchBytes};
    }

    /// Notes in `how` what runs, and if not cuDNN, why.
    template <class Arguments>
    bool is_for_cudnn(device::Device& device, const Shape& shape, const Arguments& arguments,
                      std::string& how) const {
        ask_for_cudnn(device);
        if (cudnn_ == nullptr) {
            how = fmt::format("{} ({})", kOwnKernels, without_cudnn_);
            return false;
        }
        Support support =
            shape.window > 0 && shape.window < shape.key_length
                ? Support{.supported = false, .reason = "its plans have no window of keys"}
                : cudnn_->prepare(shape, arguments);
        if (support.supported) {
            const std::uint64_t needed = cudnn_->workspace_bytes(shape, arguments);
            const std::uint64_t there = workspace(device, arguments).size();
            if (needed > there) {
                support = {.supported = false,
                           .reason = fmt::format("its plan needs {} MiB of workspace, and {} are "
                                                 "planned",
                                                 (needed >> 20U) + 1, there >> 20U)};
            }
        }
        const std::string name = "cuDNN " + cudnn_->version();
        constexpr bool is_forward = std::is_same_v<Arguments, ForwardArguments>;
        how = support.supported
                  ? name
                  : fmt::format("{} ({}: {})", is_forward ? kOwnKernels : "flash_attn_2", name,
                                support.reason);
        return support.supported;
    }

    /// Once, when the device is known.
    void ask_for_cudnn(device::Device& device) const {
        if (asked_) return;
        asked_ = true;
        if (device.stream() == nullptr) {
            without_cudnn_ = "the device has no stream of CUDA";
            return;
        }
        try {
            const device::DeviceInfo& info = device.info();
            const cudnn::Functions functions = cudnn::load_functions();
            cudnn::check_cuda_major(functions, info.cuda_major);
            cudnn::PlanCache cache(
                plan_cache_,
                fmt::format("cuDNN {}, {}, sm_{}{}, {}",
                            cudnn::version_text(functions.get_version()), info.name,
                            info.capability_major, info.capability_minor, info.runtime));
            cudnn_ = std::make_unique<cudnn::FusedAttention>(
                functions, cudnn::Capability{info.capability_major, info.capability_minor},
                device.stream(), std::move(cache));
        } catch (const Error& error) {
            without_cudnn_ = error.what();
        }
    }

    std::filesystem::path plan_cache_;
    // A backend is of one rank, as its device.
    mutable bool asked_ = false;
    mutable std::unique_ptr<cudnn::FusedAttention> cudnn_;
    mutable std::string without_cudnn_;
    mutable std::string forward_;
    mutable std::string backward_;
};

}  // namespace

std::unique_ptr<Backend> make_sdpa_cuda(const std::filesystem::path& plan_cache) {
    return std::make_unique<SdpaCuda>(plan_cache);
}

}  // namespace isoflop::attention
