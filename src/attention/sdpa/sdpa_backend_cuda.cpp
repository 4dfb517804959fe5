// sdpa on a GPU as a backend: the kernels of sdpa_cuda.cu behind the interface.
#include "attention/cuda_backends.hpp"
#include "attention/sdpa/sdpa_cuda.hpp"
#include "isoflop/device/accelerator.hpp"

namespace isoflop::attention {
namespace {

sdpa::ScratchMemory scratch_of(device::Accelerator& device) {
    return {.data = device.scratch(), .bytes = device::kScratchBytes};
}

struct SdpaKernels {
    static void forward(Context& context, const Shape& shape, const ForwardArguments& arguments) {
        device::Accelerator& device = *context.accelerator;
        sdpa::forward(device.stream(), shape, arguments, scratch_of(device));
    }
    static void backward(Context& context, const Shape& shape, const BackwardArguments& arguments) {
        device::Accelerator& device = *context.accelerator;
        sdpa::backward(device.stream(), shape, arguments, scratch_of(device));
    }
};

}  // namespace

std::unique_ptr<Backend> make_sdpa_cuda() {
    return std::make_unique<CudaBackend<cost::AttentionBackend::sdpa, SdpaKernels>>();
}

}  // namespace isoflop::attention
