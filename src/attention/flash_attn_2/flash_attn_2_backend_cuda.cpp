// flash_attn_2 on a GPU as a backend: the kernels of flash_attn_2_cuda.cu behind the interface.
#include "attention/cuda_backends.hpp"
#include "attention/flash_attn_2/flash_attn_2_cuda.hpp"
#include "isoflop/device/accelerator.hpp"

namespace isoflop::attention {
namespace {

constexpr auto kKind = cost::AttentionBackend::flash_attn_2;

class FlashAttn2Cuda final : public Backend {
public:
    [[nodiscard]] cost::AttentionBackend kind() const override { return kKind; }

    void forward(Context& context, const Shape& shape,
                 const ForwardArguments& arguments) const override {
        record_forward(context, kKind, shape, arguments.pass);
        flash_attn_2::forward(context.accelerator->stream(), shape, arguments);
    }

    void backward(Context& context, const Shape& shape,
                  const BackwardArguments& arguments) const override {
        record_backward(context, kKind, shape);
        flash_attn_2::backward(context.accelerator->stream(), shape, arguments);
    }
};

}  // namespace

std::unique_ptr<Backend> make_flash_attn_2_cuda() {
    return std::make_unique<FlashAttn2Cuda>();
}

}  // namespace isoflop::attention
