#include <cmath>

#include "isoflop/attention/attention.hpp"

namespace isoflop::attention {

Shape self_attention(std::int64_t batch, std::int64_t length, std::int64_t heads,
                     std::int64_t kv_heads, std::int64_t head_dim, bool causal) {
    return {.batch = batch,
            .query_length = length,
            .key_length = length,
            .heads = heads,
            .kv_heads = kv_heads,
            .head_dim = head_dim,
            .causal = causal,
            .scale = 1.0 / std::sqrt(static_cast<double>(head_dim))};
}

Shape shape_of(const model::ModelConfig& model, std::int64_t batch, std::int64_t query_length,
               std::int64_t key_length) {
    Shape shape = self_attention(batch, query_length, model.num_attention_heads,
                                 model.num_key_value_heads, model.head_dim);
    shape.key_length = key_length;
    return shape;
}

}  // namespace isoflop::attention
