// Ops that have no kernel yet.
#include <stdexcept>

#include "ops/cuda_kernels.hpp"

namespace isoflop::ops::cuda {
namespace {

[[noreturn]] void missing(const char* op) {
    throw std::logic_error(std::string("no CUDA kernel yet: ") + op);
}

}  // namespace

void dropout(Context& /*context*/, const DropoutKey& /*key*/, double /*probability*/,
             std::int64_t /*sequence_length*/, const TensorView& /*x*/) {
    missing("dropout");
}

void qk_norm_forward(Context& /*context*/, const QkNormShape& /*shape*/,
                     const TensorView& /*query_weight*/, const TensorView& /*key_weight*/,
                     const TensorView& /*packed*/, const TensorView& /*before*/,
                     const TensorView& /*statistics*/) {
    missing("qk_norm_forward");
}

void qk_norm_backward(Context& /*context*/, const QkNormShape& /*shape*/,
                      const TensorView& /*query_weight*/, const TensorView& /*key_weight*/,
                      const TensorView& /*before*/, const TensorView& /*statistics*/,
                      const TensorView& /*d_packed*/, const TensorView& /*d_query_weight*/,
                      const TensorView& /*d_key_weight*/) {
    missing("qk_norm_backward");
}

void rope(Context& /*context*/, const RopeTable& /*table*/, const RopeShape& /*shape*/,
          cpu::RopeDirection /*direction*/, const TensorView& /*packed*/) {
    missing("rope");
}

}  // namespace isoflop::ops::cuda
