// Ops that have no kernel yet.
#include <stdexcept>

#include "ops/cuda_kernels.hpp"

namespace isoflop::ops::cuda {
namespace {

[[noreturn]] void missing(const char* op) {
    throw std::logic_error(std::string("no CUDA kernel yet: ") + op);
}

}  // namespace

void activation_forward(Context& /*context*/, model::Activation /*kind*/, const TensorView& /*x*/,
                        const TensorView& /*out*/) {
    missing("activation_forward");
}

void activation_backward(Context& /*context*/, model::Activation /*kind*/, const TensorView& /*x*/,
                         const TensorView& /*d_out*/, const TensorView& /*d_x*/) {
    missing("activation_backward");
}

void gated_forward(Context& /*context*/, model::Activation /*kind*/, const TensorView& /*gate_up*/,
                   const TensorView& /*out*/) {
    missing("gated_forward");
}

void gated_backward(Context& /*context*/, model::Activation /*kind*/, const TensorView& /*gate_up*/,
                    const TensorView& /*d_out*/, const TensorView& /*d_gate_up*/) {
    missing("gated_backward");
}

void dropout(Context& /*context*/, const DropoutKey& /*key*/, double /*probability*/,
             std::int64_t /*sequence_length*/, const TensorView& /*x*/) {
    missing("dropout");
}

void add_norm_forward(Context& /*context*/, const NormParameters& /*parameters*/,
                      const TensorView& /*x*/, const TensorView& /*branch*/,
                      const TensorView& /*sum*/, const TensorView& /*out*/,
                      const TensorView& /*statistics*/) {
    missing("add_norm_forward");
}

void norm_backward(Context& /*context*/, const NormParameters& /*parameters*/,
                   const TensorView& /*d_out*/, const TensorView& /*x*/,
                   const TensorView& /*statistics*/, bool /*accumulate*/, const TensorView& /*d_x*/,
                   const TensorView& /*d_weight*/, const TensorView& /*d_bias*/) {
    missing("norm_backward");
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
