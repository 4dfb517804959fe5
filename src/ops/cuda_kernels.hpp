// The CUDA side of every op: signatures of cpu_kernels.hpp, tensors of device memory. Each has a
// source of its own, <op>_cuda.cu, which nvcc compiles for the GPU and the host compiler for the
// emulator of the tests.
#pragma once

#include "ops/cpu_kernels.hpp"

namespace isoflop::ops {
struct Kernels;
}

namespace isoflop::ops::cuda {

decltype(cpu::activation_forward) activation_forward;
decltype(cpu::activation_backward) activation_backward;
decltype(cpu::gated_forward) gated_forward;
decltype(cpu::gated_backward) gated_backward;
decltype(cpu::adamw) adamw;
decltype(cpu::cross_entropy_forward) cross_entropy_forward;
decltype(cpu::cross_entropy_forward_backward) cross_entropy_forward_backward;
decltype(cpu::dropout) dropout;
decltype(cpu::embedding_forward) embedding_forward;
decltype(cpu::embedding_backward) embedding_backward;
decltype(cpu::linear_forward) linear_forward;
decltype(cpu::linear_gelu_forward) linear_gelu_forward;
decltype(cpu::linear_backward_input) linear_backward_input;
decltype(cpu::linear_gelu_backward_input) linear_gelu_backward_input;
decltype(cpu::linear_backward_weight) linear_backward_weight;
decltype(cpu::add_norm_forward) add_norm_forward;
decltype(cpu::norm_backward) norm_backward;
decltype(cpu::qk_norm_forward) qk_norm_forward;
decltype(cpu::qk_norm_backward) qk_norm_backward;
decltype(cpu::fill_normal) fill_normal;
decltype(cpu::sum_of_squares) sum_of_squares;
decltype(cpu::statistics) statistics;
decltype(cpu::sum) sum;
decltype(cpu::checksum) checksum;
decltype(cpu::add) add;
decltype(cpu::scale) scale;
decltype(cpu::fill) fill;
decltype(cpu::copy) copy;
decltype(cpu::rope) rope;

/// All of them.
[[nodiscard]] const Kernels& kernels();

}  // namespace isoflop::ops::cuda
