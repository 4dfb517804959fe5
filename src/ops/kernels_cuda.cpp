#include "ops/cuda_kernels.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops::cuda {

const Kernels& kernels() {
    static constexpr Kernels kTable{
        .activation_forward = cuda::activation_forward,
        .activation_backward = cuda::activation_backward,
        .gated_forward = cuda::gated_forward,
        .gated_backward = cuda::gated_backward,
        .adamw = cuda::adamw,
        .cross_entropy_forward = cuda::cross_entropy_forward,
        .cross_entropy_forward_backward = cuda::cross_entropy_forward_backward,
        .dropout = cuda::dropout,
        .embedding_forward = cuda::embedding_forward,
        .embedding_backward = cuda::embedding_backward,
        .linear_forward = cuda::linear_forward,
        .linear_gelu_forward = cuda::linear_gelu_forward,
        .linear_backward_input = cuda::linear_backward_input,
        .linear_gelu_backward_input = cuda::linear_gelu_backward_input,
        .linear_backward_weight = cuda::linear_backward_weight,
        .add_norm_forward = cuda::add_norm_forward,
        .norm_backward = cuda::norm_backward,
        .qk_norm_forward = cuda::qk_norm_forward,
        .qk_norm_backward = cuda::qk_norm_backward,
        .fill_normal = cuda::fill_normal,
        .sum_of_squares = cuda::sum_of_squares,
        .statistics = cuda::statistics,
        .sum = cuda::sum,
        .checksum = cuda::checksum,
        .add = cuda::add,
        .scale = cuda::scale,
        .fill = cuda::fill,
        .copy = cuda::copy,
        .rope = cuda::rope,
    };
    return kTable;
}

}  // namespace isoflop::ops::cuda
