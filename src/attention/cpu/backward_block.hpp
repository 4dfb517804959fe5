// Backward over one block of queries x keys of one key/value head, shared by the fused backends
// (Dao 2023, algorithm 2):
//   P = exp(scale q k^T - lse),  dV += P^T dO,  dP = dO V^T,  dS = P (dP - rowsum(dO o)),
//   dQ += scale dS K,  dK += scale dS^T Q
// These are five products per pair; the scores are recomputed once. A block adds to d_q of its
// queries and to d_k, d_v of its keys in memory, so blocks that share neither may run at the same
// time; a fixed order of the remaining blocks fixes the bits.
#pragma once

#include "attention/arguments.hpp"
#include "attention/cpu/tile_kernels.hpp"
#include "attention/issued_products.hpp"

namespace isoflop::attention {

/// Queries and keys of a block side, a multiple of kQueryTile. Keys, values and their gradients of
/// a block stay in the second-level cache while its tiles of queries pass.
[[nodiscard]] constexpr std::int64_t backward_block_size(std::int64_t head_dim) {
    return head_dim <= 128 ? 256 : 128;
}

/// Before any block: row_sums of all queries, and d_q, d_k, d_v zero.
template <class T>
void prepare_backward(Context& context, const Shape& shape, const BackwardArguments& arguments);

struct BlockPosition {
    std::int64_t batch = 0;
    std::int64_t kv_head = 0;
    std::int64_t first_query = 0;
    std::int64_t first_key = 0;
};

/// Whether any query of the block's tiles visits a key of it.
[[nodiscard]] bool block_is_visited(const Shape& shape, std::int64_t first_query,
                                    std::int64_t first_key);

template <class T>
void backward_block(const Shape& shape, const BackwardArguments& arguments,
                    const BlockPosition& position, IssuedProducts& issued);

}  // namespace isoflop::attention
