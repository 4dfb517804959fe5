// Constructors of the CUDA backends, for make_backend.
#pragma once

#include <filesystem>
#include <memory>

#include "attention/arguments.hpp"
#include "isoflop/attention/attention.hpp"

namespace isoflop::attention {

/// What the CUDA backends have in common, as CpuBackend. Kernels has static functions forward and
/// backward.
template <cost::AttentionBackend kKind, class Kernels>
class CudaBackend final : public Backend {
public:
    [[nodiscard]] cost::AttentionBackend kind() const override { return kKind; }

    void forward(Context& context, const Shape& shape,
                 const ForwardArguments& arguments) const override {
        check_forward(kKind, shape, arguments, cost::DeviceKind::cuda);
        record_planned_forward(context, kKind, shape, arguments.pass);
        Kernels::forward(context, shape, arguments);
    }

    void backward(Context& context, const Shape& shape,
                  const BackwardArguments& arguments) const override {
        check_backward(kKind, shape, arguments, cost::DeviceKind::cuda);
        record_planned_backward(context, kKind, shape, arguments.d_q_sums.empty());
        Kernels::backward(context, shape, arguments);
    }
};

[[nodiscard]] std::unique_ptr<Backend> make_flash_attn_2_cuda();
[[nodiscard]] std::unique_ptr<Backend> make_sdpa_cuda(const std::filesystem::path& plan_cache);
[[nodiscard]] std::unique_ptr<Backend> make_manual_cuda();

/// Throws ConfigError for one that this build does not have. `plan_cache`: folder for plans of
/// cuDNN, or empty.
[[nodiscard]] std::unique_ptr<Backend> make_cuda_backend(
    cost::AttentionBackend backend, const std::filesystem::path& plan_cache = {});

}  // namespace isoflop::attention
