#include "heads.hpp"

#include <algorithm>

#include "isoflop/base/half_precision.hpp"
#include "isoflop/ops/qk_norm.hpp"

namespace isoflop::transformer {
namespace {

/// Heads of GPT-NeoX lie in threes, query, key and value; all others lie by kind.
bool in_threes(const model::ModelConfig& config) {
    return config.naming == model::TensorNaming::gpt_neox;
}

TensorView shifted(const TensorView& tensor, std::int64_t elements,
                   std::initializer_list<std::int64_t> shape) {
    return {static_cast<std::byte*>(tensor.data()) +
                static_cast<std::uint64_t>(elements) * size_in_bytes(tensor.dtype()),
            tensor.dtype(), shape};
}

/// Norms over all queries and over all keys are two calls, each of one head.
struct FullWidthParts {
    ops::QkNormShape queries, keys;
    QkNormTensors of_queries, of_keys;
};

FullWidthParts full_width_parts(const model::ModelConfig& config, const QkNormTensors& all) {
    const std::int64_t rows = all.packed.dim(0);
    const std::int64_t row_width = all.packed.dim(1);
    const std::int64_t query = config.query_width();
    const std::int64_t key = config.key_value_width();
    const double eps = config.norm_eps;
    const bool adds_one = config.norms_add_one;
    return {
        {.query_heads = 1, .key_heads = 0, .head_dim = query, .eps = eps, .adds_one = adds_one},
        {.query_heads = 1, .key_heads = 0, .head_dim = key, .eps = eps, .adds_one = adds_one},
        {all.query_weight, all.query_weight, all.packed, shifted(all.before, 0, {rows, query}),
         shifted(all.statistics, 0, {rows, 1})},
        // Rows that begin at the keys: as long as before, of which the values are not touched.
        {all.key_weight, all.key_weight, shifted(all.packed, query, {rows, row_width}),
         shifted(all.before, rows * query, {rows, key}), shifted(all.statistics, rows, {rows, 1})}};
}

ops::QkNormShape per_head(const model::ModelConfig& config) {
    return {.query_heads = config.num_attention_heads,
            .key_heads = config.num_key_value_heads,
            .head_dim = config.head_dim,
            .eps = config.norm_eps,
            .adds_one = config.norms_add_one};
}

}  // namespace

ops::RopeShape rope_shape(const model::ModelConfig& config, std::int64_t sequence_length,
                          std::int64_t first_position) {
    return {.heads = config.num_attention_heads + config.num_key_value_heads,
            .head_dim = config.head_dim,
            .sequence_length = sequence_length,
            .first_position = first_position,
            .interleaved = config.interleaved_rotary,
            .in_threes = in_threes(config)};
}

void qk_norm_forward(device::Context& context, const model::ModelConfig& config,
                     const QkNormTensors& tensors) {
    const auto run = [&](const ops::QkNormShape& shape, const QkNormTensors& part) {
        ops::qk_norm_forward(context, shape, part.query_weight, part.key_weight, part.packed,
                             part.before, part.statistics);
    };
    if (config.qk_norm != model::QkNorm::full_width) return run(per_head(config), tensors);
    const FullWidthParts parts = full_width_parts(config, tensors);
    run(parts.queries, parts.of_queries);
    run(parts.keys, parts.of_keys);
}

void qk_norm_backward(device::Context& context, const model::ModelConfig& config,
                      const QkNormTensors& tensors, const TensorView& d_query_weight,
                      const TensorView& d_key_weight) {
    const auto run = [&](const ops::QkNormShape& shape, const QkNormTensors& part,
                         const TensorView& d_first, const TensorView& d_second) {
        ops::qk_norm_backward(context, shape, part.query_weight, part.key_weight, part.before,
                              part.statistics, part.packed, d_first, d_second);
    };
    if (config.qk_norm != model::QkNorm::full_width)
        return run(per_head(config), tensors, d_query_weight, d_key_weight);
    // No key heads: zeros are added to the second gradient.
    const FullWidthParts parts = full_width_parts(config, tensors);
    run(parts.queries, parts.of_queries, d_query_weight, d_query_weight);
    run(parts.keys, parts.of_keys, d_key_weight, d_key_weight);
}

PackedHeads packed_heads(const TensorView& qkv, const model::ModelConfig& config,
                         std::int64_t sequence_length) {
    const std::int64_t width = config.query_width() + 2 * config.key_value_width();
    const std::int64_t d = config.head_dim;
    const auto part = [&](std::int64_t first, std::int64_t head_stride) {
        auto* data = static_cast<std::byte*>(qkv.data()) +
                     static_cast<std::uint64_t>(first) * size_in_bytes(qkv.dtype());
        return attention::Heads{data, qkv.dtype(), sequence_length * width, width, head_stride};
    };
    if (in_threes(config)) return {part(0, 3 * d), part(d, 3 * d), part(2 * d, 3 * d)};
    return {part(0, d), part(config.query_width(), d),
            part(config.query_width() + config.key_value_width(), d)};
}

attention::Heads plain_heads(const TensorView& rows, const model::ModelConfig& config,
                             std::int64_t sequence_length) {
    const std::int64_t width = config.attention_output_width();
    return {rows.data(), rows.dtype(), sequence_length * width, width, config.head_dim};
}

attention::Shape layer_attention(const model::ModelConfig& config, std::int64_t layer,
                                 std::int64_t batch, std::int64_t query_length,
                                 std::int64_t key_length) {
    attention::Shape shape = attention::shape_of(config, batch, query_length, key_length);
    if (config.attention_scale) shape.scale = *config.attention_scale;
    if (config.attention_soft_cap) shape.soft_cap = *config.attention_soft_cap;
    // A window as long as the keys hides none.
    if (config.is_window_layer(layer) && *config.sliding_window < key_length)
        shape.window = *config.sliding_window;
    return shape;
}

double embedding_factor_in(const model::ModelConfig& config, DType dtype) {
    const double factor = config.embedding_scale;
    if (!config.norms_add_one || size_in_bytes(dtype) != 2) return factor;
    const auto value = static_cast<float>(factor);
    if (dtype == DType::float16) return float16_to_float(float_to_float16(value));
    return bfloat16_to_float(float_to_bfloat16(value));
}

}  // namespace isoflop::transformer
