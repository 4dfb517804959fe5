// flash_attn_2 on a GPU: launches of its kernels, for bfloat16 and float16, head_dim 32, 64, 96,
// 128 and 256, compute capability 8.0 and up.
//
// All memory is of the device. Rows are read and written 16 bytes at a time: data must be aligned
// to 16 bytes and strides be multiples of 8 elements. What cannot run is refused before anything is
// launched, with std::invalid_argument that names it.
#pragma once

#include "isoflop/attention/attention.hpp"
#include "isoflop/device/cuda/simt_types.hpp"

namespace isoflop::attention::flash_attn_2 {

/// Writes o and lse.
void forward(simt::Stream stream, const Shape& shape, const ForwardArguments& arguments);

/// Writes d_q, d_k and d_v, and row_sums on the way. d_q comes from a pass over query tiles of its
/// own, so that nothing is summed in an order that may change: equal inputs give equal bits, and no
/// buffer in fp32 is needed.
void backward(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments);

/// The same with five products instead of seven: d_q is summed by atomics in `d_q_sums`, fp32
/// [batch, heads, query_length, head_dim], and then rounded. Its last bits differ from run to run;
/// those of d_k and d_v do not.
void backward_with_atomics(simt::Stream stream, const Shape& shape,
                           const BackwardArguments& arguments, const TensorView& d_q_sums);

}  // namespace isoflop::attention::flash_attn_2
