#include "ops/kernels.hpp"

namespace isoflop::ops::cuda {

const Kernels& kernels() {
    static constexpr Kernels kOnCuda = AllOps::on_cuda();
    return kOnCuda;
}

}  // namespace isoflop::ops::cuda
