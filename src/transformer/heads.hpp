// Queries, keys and values as packed rows: their places, the rotary embedding, their norms and the
// attention of one layer; shared by training and generation.
#pragma once

#include <cstdint>

#include "isoflop/attention/attention.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/ops/rope.hpp"

namespace isoflop::transformer {

using device::TensorView;

/// Places of the query and key heads for the rotary embedding.
[[nodiscard]] ops::RopeShape rope_shape(const model::ModelConfig& config,
                                        std::int64_t sequence_length, std::int64_t first_position);

/// The packed rows of q, k and v heads as attention reads them.
struct PackedHeads {
    attention::Heads q, k, v;
};
[[nodiscard]] PackedHeads packed_heads(const TensorView& qkv, const model::ModelConfig& config,
                                       std::int64_t sequence_length);
/// Rows of heads * head_dim.
[[nodiscard]] attention::Heads plain_heads(const TensorView& rows, const model::ModelConfig& config,
                                           std::int64_t sequence_length);

/// Norms of queries and keys over their heads, or over all of them: `before` [T, (a + g) * d] and
/// `statistics` hold what backward reads.
struct QkNormTensors {
    TensorView query_weight, key_weight;
    TensorView packed, before, statistics;
};
void qk_norm_forward(device::Context& context, const model::ModelConfig& config,
                     const QkNormTensors& tensors);
/// `packed` is the gradient.
void qk_norm_backward(device::Context& context, const model::ModelConfig& config,
                      const QkNormTensors& tensors, const TensorView& d_query_weight,
                      const TensorView& d_key_weight);

/// Attention of a layer to `key_length` tokens.
[[nodiscard]] attention::Shape layer_attention(const model::ModelConfig& config, std::int64_t layer,
                                               std::int64_t batch, std::int64_t query_length,
                                               std::int64_t key_length);

/// What embeddings are multiplied by. Gemma's classes round sqrt(H) to the type of the weights.
[[nodiscard]] double embedding_factor_in(const model::ModelConfig& config, DType dtype);

}  // namespace isoflop::transformer
