// flash_attn_2 on a GPU as a backend: the kernels of flash_attn_2_cuda.cu behind the interface.
#include "attention/backends_cuda.hpp"
#include "attention/flash_attn_2/flash_attn_2_cuda.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::attention {
namespace {

struct FlashAttn2Kernels {
    static void forward(Context& context, const Shape& shape, const ForwardArguments& arguments) {
        flash_attn_2::forward(context.device.stream(), shape, arguments);
    }
    static void backward(Context& context, const Shape& shape, const BackwardArguments& arguments) {
        const simt::Stream stream = context.device.stream();
        if (arguments.d_q_sums.empty()) {
            flash_attn_2::backward(stream, shape, arguments);
        } else {
            flash_attn_2::backward_with_atomics(stream, shape, arguments, arguments.d_q_sums);
        }
    }
};

}  // namespace

std::unique_ptr<Backend> make_flash_attn_2_cuda() {
    return std::make_unique<CudaBackend<cost::AttentionBackend::flash_attn_2, FlashAttn2Kernels>>();
}

}  // namespace isoflop::attention
