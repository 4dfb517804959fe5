// sdpa on a GPU by kernels of our own in the loop order of the first FlashAttention, for bfloat16
// and float16, head_dim 32, 64, 96, 128 and 256, compute capability 8.0 and up.
//
// Arguments are those of flash_attn_2 (flash_attn_2_cuda.hpp), and so is lse. Sums that wait
// between two key tiles are in scratch memory; what does not fit into it at once is done in several
// launches. Equal inputs give equal bits, however large the scratch memory is.
#pragma once

#include <cstdint>

#include "isoflop/attention/attention.hpp"
#include "isoflop/device/cuda/simt_types.hpp"

namespace isoflop::attention::sdpa {

struct ScratchMemory {
    std::byte* data = nullptr;  ///< aligned to 16 bytes
    std::uint64_t bytes = 0;
};

/// Writes o and lse.
void forward(simt::Stream stream, const Shape& shape, const ForwardArguments& arguments,
             const ScratchMemory& scratch);

/// Writes d_q, d_k and d_v, and row_sums on the way. Needs cost::sdpa_scratch_bytes at least.
void backward(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments,
              const ScratchMemory& scratch);

}  // namespace isoflop::attention::sdpa
