#include "isoflop/transformer/generator.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "block_parameters.hpp"
#include "heads.hpp"
#include "isoflop/attention/attention.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/philox.hpp"
#include "isoflop/model/trainable.hpp"
#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/ops/rope.hpp"

namespace isoflop::transformer {

class Generator::Implementation {
public:
    Implementation(model::ModelConfig config, const cost::StateLayout& layout, TensorView weights,
                   device::Context& context, std::int64_t max_tokens)
        : config_(std::move(config)),
          layout_(layout),
          weights_(weights),
          context_(context),
          max_tokens_(max_tokens),
          slots_(bind_slots(config_, layout, max_tokens_)),
          attention_(attention::make_backend(cost::AttentionBackend::manual, context.device)) {
        if (config_.position_encoding == model::PositionEncoding::rope) {
            rope_ = ops::RopeTable(config_, max_tokens_);
            if (config_.local_rope_theta) local_rope_ = ops::RopeTable::local(config_, max_tokens_);
        } else if (config_.position_encoding == model::PositionEncoding::learned_absolute &&
                   max_tokens_ > config_.max_position_embeddings) {
            throw ConfigError(
                fmt::format("{} tokens are more than the model's {} learned positions", max_tokens_,
                            config_.max_position_embeddings));
        }
        const auto cached = static_cast<std::size_t>(config_.num_hidden_layers * max_tokens_ *
                                                     config_.key_value_width());
        keys_.resize(cached);
        values_.resize(cached);
        logits_.resize(static_cast<std::size_t>(config_.vocab_size));
    }

    void reset() { length_ = 0; }
    [[nodiscard]] std::int64_t length() const { return length_; }

    std::span<const float> feed(std::span<const std::int32_t> tokens) {
        const auto count = static_cast<std::int64_t>(tokens.size());
        if (count == 0 || length_ + count > max_tokens_) {
            throw ConfigError(
                fmt::format("generation holds {} of at most {} tokens; {} more were asked for",
                            length_, max_tokens_, count));
        }
        allocate(count);
        const TensorView embedding = unit(0);
        ops::embedding_forward(context_, tokens, slots_.token_embedding.in(embedding),
                               slots_.position_embedding.in(embedding), count, length_, x_);
        if (config_.embedding_scale != 1)
            ops::scale(context_, embedding_factor_in(config_, DType::float32), x_);
        for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer)
            block(layer, count);
        length_ += count;
        head(count);
        return logits_;
    }

private:
    [[nodiscard]] TensorView unit(std::size_t index) const {
        const cost::StateUnit& part = layout_.units.at(index);
        return {static_cast<float*>(weights_.data()) + part.offset,
                DType::float32,
                {static_cast<std::int64_t>(part.elements)}};
    }

    /// Buffers for `count` tokens, carved from one vector.
    void allocate(std::int64_t count) {
        const std::int64_t H = config_.hidden_size;
        const std::int64_t F = config_.intermediate_size;
        const std::int64_t heads = config_.num_attention_heads + config_.num_key_value_heads;
        const std::int64_t qkv = config_.query_width() + 2 * config_.key_value_width();
        const std::int64_t in = (config_.is_gated() ? 2 : 1) * F;
        const std::int64_t scores = config_.num_attention_heads * (length_ + count);
        const std::int64_t width = 4 * H + 2 + qkv + heads * (config_.head_dim + 1) +
                                   config_.query_width() + in + F + scores;
        storage_.resize(static_cast<std::size_t>(count * width));
        float* next = storage_.data();
        const auto take = [&](std::initializer_list<std::int64_t> shape) {
            const TensorView view(next, DType::float32, shape);
            next += view.size();
            return view;
        };
        x_ = take({count, H});
        normed_ = take({count, H});
        branch_ = take({count, H});
        sum_ = take({count, H});
        statistics_ = config_.normalization == model::Normalization::rmsnorm ? take({count})
                                                                             : take({2, count});
        qkv_ = take({count, qkv});
        before_norm_ = take({count, heads * config_.head_dim});
        const bool full_width = config_.qk_norm == model::QkNorm::full_width;
        head_statistics_ = take({count, full_width ? 2 : heads});
        attended_ = take({count, config_.query_width()});
        ffn_in_ = take({count, in});
        activated_ = take({count, F});
        probabilities_ = take({1, config_.num_attention_heads, count, length_ + count});
    }

    void norm(const NormSlots& slots, const TensorView& unit, const TensorView& in,
              const TensorView& out) {
        ops::norm_forward(context_, slots.in(unit, config_), in, out, statistics_);
    }

    void block(std::int64_t layer, std::int64_t count) {
        const TensorView weights = unit(static_cast<std::size_t>(layer) + 1);
        const BlockSlots& slots = slots_.block;
        if (config_.parallel_residual) {
            parallel_block(layer, weights, count);
        } else if (model::norms_branches(config_)) {
            branch_norm_block(layer, weights, count);
        } else if (config_.norm_position == model::NormPosition::pre) {
            norm(slots.attention_norm, weights, x_, normed_);
            attend(layer, weights, normed_, count);
            ops::add(context_, x_, branch_, x_);
            norm(slots.ffn_norm, weights, x_, normed_);
            ffn(weights, normed_);
            ops::add(context_, x_, branch_, x_);
        } else {
            attend(layer, weights, x_, count);
            ops::add(context_, x_, branch_, normed_);
            norm(slots.attention_norm, weights, normed_, x_);
            ffn(weights, x_);
            ops::add(context_, x_, branch_, normed_);
            norm(slots.ffn_norm, weights, normed_, x_);
        }
    }

    void parallel_block(std::int64_t layer, const TensorView& weights, std::int64_t count) {
        const BlockSlots& slots = slots_.block;
        norm(slots.attention_norm, weights, x_, normed_);
        attend(layer, weights, normed_, count);
        ops::add(context_, x_, branch_, sum_);
        if (!config_.shared_norm) norm(slots.ffn_norm, weights, x_, normed_);
        ffn(weights, normed_);
        ops::add(context_, sum_, branch_, x_);
    }

    void branch_norm_block(std::int64_t layer, const TensorView& weights, std::int64_t count) {
        const BlockSlots& slots = slots_.block;
        const bool sandwich = config_.norm_position == model::NormPosition::sandwich;
        if (sandwich) norm(slots.attention_norm, weights, x_, normed_);
        attend(layer, weights, sandwich ? normed_ : x_, count);
        norm(slots.attention_branch_norm, weights, branch_, sum_);
        ops::add(context_, x_, sum_, x_);
        if (sandwich) norm(slots.ffn_norm, weights, x_, normed_);
        ffn(weights, sandwich ? normed_ : x_);
        norm(slots.ffn_branch_norm, weights, branch_, sum_);
        ops::add(context_, x_, sum_, x_);
    }

    void attend(std::int64_t layer, const TensorView& weights, const TensorView& in,
                std::int64_t count) {
        const BlockSlots& slots = slots_.block;
        ops::linear_forward(context_, slots.qkv.in(weights), in, qkv_);
        if (slots.query_norm.exists()) {
            qk_norm_forward(context_, config_,
                            {slots.query_norm.in(weights), slots.key_norm.in(weights), qkv_,
                             before_norm_, head_statistics_});
        }
        if (config_.position_encoding == model::PositionEncoding::rope &&
            config_.layer_kind(layer).rotary) {
            const bool local = config_.local_rope_theta && config_.is_window_layer(layer);
            ops::rope_forward(context_, local ? local_rope_ : rope_,
                              rope_shape(config_, count, length_), qkv_);
        }
        cache(layer, count);
        const std::int64_t cache_width = config_.key_value_width();
        const auto first = static_cast<std::size_t>(layer * max_tokens_ * cache_width);
        const attention::Shape shape = layer_attention(config_, layer, 1, count, length_ + count);
        attention::ForwardArguments arguments;
        arguments.q = packed_heads(qkv_, config_, count).q;
        arguments.k = {keys_.data() + first, DType::float32, max_tokens_ * cache_width, cache_width,
                       config_.head_dim};
        arguments.v = {values_.data() + first, DType::float32, max_tokens_ * cache_width,
                       cache_width, config_.head_dim};
        arguments.o = {attended_.data(), DType::float32, count * config_.query_width(),
                       config_.query_width(), config_.head_dim};
        arguments.probabilities = probabilities_;
        attention_->forward(context_, shape, arguments);
        ops::linear_forward(context_, slots.attention_output.in(weights), attended_, branch_);
        scale_branch();
    }

    /// Appends this layer's new keys and values.
    void cache(std::int64_t layer, std::int64_t count) {
        const PackedHeads heads = packed_heads(qkv_, config_, count);
        const std::int64_t d = config_.head_dim;
        const auto append = [&](const attention::Heads& from, std::vector<float>& to) {
            const auto* rows = static_cast<const float*>(from.data);
            float* next = to.data() + (layer * max_tokens_ + length_) * config_.key_value_width();
            for (std::int64_t t = 0; t < count; ++t) {
                for (std::int64_t head = 0; head < config_.num_key_value_heads; ++head) {
                    const float* values = rows + t * from.token_stride + head * from.head_stride;
                    next = std::copy(values, values + d, next);
                }
            }
        };
        append(heads.k, keys_);
        append(heads.v, values_);
    }

    void ffn(const TensorView& weights, const TensorView& in) {
        ops::linear_forward(context_, slots_.block.ffn_in.in(weights), in, ffn_in_);
        if (config_.is_gated()) {
            ops::gated_forward(context_, config_.activation, ffn_in_, activated_);
        } else {
            ops::activation_forward(context_, config_.activation, ffn_in_, activated_);
        }
        ops::linear_forward(context_, slots_.block.ffn_out.in(weights), activated_, branch_);
        scale_branch();
    }

    void scale_branch() {
        if (config_.residual_scale != 1) ops::scale(context_, config_.residual_scale, branch_);
    }

    /// Logits of the last token only.
    void head(std::int64_t count) {
        const TensorView weights = unit(layout_.units.size() - 1);
        norm(slots_.final_norm, weights, x_, normed_);
        const bool tied = !slots_.lm_head.exists();
        const TensorView table =
            tied ? slots_.token_embedding.in(unit(0)) : slots_.lm_head.in(weights);
        const TensorView last(
            static_cast<float*>(normed_.data()) + (count - 1) * config_.hidden_size, DType::float32,
            {1, config_.hidden_size});
        const TensorView logits(logits_.data(), DType::float32, {1, config_.vocab_size});
        ops::linear_forward(
            context_, {"lm_head", table, slots_.lm_head_bias.in(weights), ops::WeightOrder::out_in},
            last, logits);
        if (config_.logit_scale != 1) ops::scale(context_, config_.logit_scale, logits);
        if (config_.final_logit_soft_cap)
            ops::soft_cap_forward(context_, *config_.final_logit_soft_cap, logits);
    }

    model::ModelConfig config_;
    const cost::StateLayout& layout_;
    TensorView weights_;
    device::Context& context_;
    std::int64_t max_tokens_;
    ModelSlots slots_;
    std::unique_ptr<attention::Backend> attention_;
    ops::RopeTable rope_, local_rope_;
    std::int64_t length_ = 0;
    std::vector<float> keys_, values_, logits_, storage_;
    TensorView x_, normed_, branch_, sum_, statistics_, qkv_, before_norm_, head_statistics_,
        attended_, ffn_in_, activated_, probabilities_;
};

Generator::Generator(model::ModelConfig config, const cost::StateLayout& layout, TensorView weights,
                     device::Context& context, std::int64_t max_tokens)
    : implementation_(std::make_unique<Implementation>(std::move(config), layout, weights, context,
                                                       max_tokens)) {}

Generator::~Generator() = default;

void Generator::reset() {
    implementation_->reset();
}

std::span<const float> Generator::feed(std::span<const std::int32_t> tokens) {
    return implementation_->feed(tokens);
}

std::int64_t Generator::length() const {
    return implementation_->length();
}

std::int32_t sample_token(std::span<const float> logits, const SamplingOptions& options,
                          std::uint64_t draw) {
    const auto best = std::max_element(logits.begin(), logits.end()) - logits.begin();
    if (options.temperature <= 0) return static_cast<std::int32_t>(best);
    std::vector<std::int32_t> candidates(logits.size());
    std::iota(candidates.begin(), candidates.end(), 0);
    const auto by_logit = [&](std::int32_t a, std::int32_t b) {
        const float first = logits[static_cast<std::size_t>(a)];
        const float second = logits[static_cast<std::size_t>(b)];
        return first != second ? first > second : a < b;
    };
    if (options.top_k > 0 && static_cast<std::size_t>(options.top_k) < candidates.size()) {
        std::partial_sort(candidates.begin(), candidates.begin() + options.top_k, candidates.end(),
                          by_logit);
        candidates.resize(static_cast<std::size_t>(options.top_k));
    }
    const double highest = logits[static_cast<std::size_t>(best)];
    std::vector<double> weights;
    weights.reserve(candidates.size());
    double total = 0;
    for (const std::int32_t token : candidates) {
        const double weight =
            std::exp((static_cast<double>(logits[static_cast<std::size_t>(token)]) - highest) /
                     options.temperature);
        weights.push_back(weight);
        total += weight;
    }
    const PhiloxCounter words =
        philox({static_cast<std::uint32_t>(draw), static_cast<std::uint32_t>(draw >> 32U), 0, 0},
               philox_key(options.seed));
    double target = to_unit_interval(words[0]) * total;
    for (std::size_t i = 0; i < weights.size(); ++i) {
        target -= weights[i];
        if (target < 0) return candidates[i];
    }
    return static_cast<std::int32_t>(best);
}

}  // namespace isoflop::transformer
