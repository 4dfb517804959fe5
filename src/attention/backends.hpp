// Constructors of the CPU backends, for make_backend.
#pragma once

#include <memory>

#include "arguments.hpp"
#include "isoflop/attention/attention.hpp"

namespace isoflop::attention {

/// What the CPU backends have in common: arguments are checked and products recorded before the
/// kernels run in the element type. Kernels has static templates forward<T> and backward<T>.
template <cost::AttentionBackend kKind, class Kernels>
class CpuBackend final : public Backend {
public:
    [[nodiscard]] cost::AttentionBackend kind() const override { return kKind; }

    void forward(Context& context, const Shape& shape,
                 const ForwardArguments& arguments) const override {
        check_forward(kKind, shape, arguments);
        record_forward(context, kKind, shape, arguments.pass);
        device::visit_dtype(arguments.q.dtype, [&](auto zero) {
            Kernels::template forward<decltype(zero)>(context, shape, arguments);
        });
    }

    void backward(Context& context, const Shape& shape,
                  const BackwardArguments& arguments) const override {
        check_backward(kKind, shape, arguments);
        record_backward(context, kKind, shape);
        device::visit_dtype(arguments.q.dtype, [&](auto zero) {
            Kernels::template backward<decltype(zero)>(context, shape, arguments);
        });
    }
};

[[nodiscard]] std::unique_ptr<Backend> make_flash_attn_2_cpu();
[[nodiscard]] std::unique_ptr<Backend> make_sdpa_cpu();
[[nodiscard]] std::unique_ptr<Backend> make_manual_cpu();

}  // namespace isoflop::attention
