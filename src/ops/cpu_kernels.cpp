#include "ops/cpu_kernels.hpp"

#include "ops/kernels.hpp"

namespace isoflop::ops {

const Kernels& cpu_kernels() {
    static constexpr Kernels kTable{
        .activation_forward = cpu::activation_forward,
        .activation_backward = cpu::activation_backward,
        .gated_forward = cpu::gated_forward,
        .gated_backward = cpu::gated_backward,
        .adamw = cpu::adamw,
        .cross_entropy_forward = cpu::cross_entropy_forward,
        .cross_entropy_forward_backward = cpu::cross_entropy_forward_backward,
        .dropout = cpu::dropout,
        .embedding_forward = cpu::embedding_forward,
        .embedding_backward = cpu::embedding_backward,
        .linear_forward = cpu::linear_forward,
        .linear_gelu_forward = cpu::linear_gelu_forward,
        .linear_backward_input = cpu::linear_backward_input,
        .linear_gelu_backward_input = cpu::linear_gelu_backward_input,
        .linear_backward_weight = cpu::linear_backward_weight,
        .add_norm_forward = cpu::add_norm_forward,
        .norm_backward = cpu::norm_backward,
        .qk_norm_forward = cpu::qk_norm_forward,
        .qk_norm_backward = cpu::qk_norm_backward,
        .fill_normal = cpu::fill_normal,
        .sum_of_squares = cpu::sum_of_squares,
        .statistics = cpu::statistics,
        .sum = cpu::sum,
        .checksum = cpu::checksum,
        .add = cpu::add,
        .scale = cpu::scale,
        .fill = cpu::fill,
        .copy = cpu::copy,
        .rope = cpu::rope,
    };
    return kTable;
}

}  // namespace isoflop::ops
