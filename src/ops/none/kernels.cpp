// Linked where the build has no CUDA: there is no device whose ops could ask.
#include <stdexcept>

#include "ops/kernels.hpp"

namespace isoflop::ops::cuda {

const Kernels& kernels() {
    throw std::logic_error("this build has no CUDA kernels");
}

}  // namespace isoflop::ops::cuda
