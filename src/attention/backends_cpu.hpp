// Constructors of the CPU backends, for make_backend.
#pragma once

#include <memory>

#include "arguments.hpp"
#include "isoflop/attention/attention.hpp"

namespace isoflop::attention {

/// What the CPU backends have in common: arguments are checked before the kernels run in the
/// element type, and what these have counted is recorded after. Kernels has static templates
/// forward<T> and backward<T>.
template <cost::AttentionBackend kKind, class Kernels>
class CpuBackend final : public Backend {
public:
    [[nodiscard]] cost::AttentionBackend kind() const override { return kKind; }

    void forward(Context& context, const Shape& shape,
                 const ForwardArguments& arguments) const override {
        check_forward(kKind, shape, arguments);
        IssuedProducts issued;
        device::visit_dtype(arguments.q.dtype, [&](auto zero) {
            Kernels::template forward<decltype(zero)>(context, shape, arguments, issued);
        });
        record_counted(context, arguments.pass, issued.total());
    }

    void backward(Context& context, const Shape& shape,
                  const BackwardArguments& arguments) const override {
        check_backward(kKind, shape, arguments);
        IssuedProducts issued;
        device::visit_dtype(arguments.q.dtype, [&](auto zero) {
            Kernels::template backward<decltype(zero)>(context, shape, arguments, issued);
        });
        record_counted(context, cost::Pass::backward, issued.total());
    }
};

[[nodiscard]] std::unique_ptr<Backend> make_flash_attn_2_cpu();
[[nodiscard]] std::unique_ptr<Backend> make_sdpa_cpu();
[[nodiscard]] std::unique_ptr<Backend> make_manual_cpu();

}  // namespace isoflop::attention
