#include "isoflop/model/trainable.hpp"

#include <fmt/format.h>

namespace isoflop::model {
namespace {

std::string position_reason(const ModelConfig& config, std::int64_t sequence_length) {
    if (config.sliding_window && *config.sliding_window < sequence_length) {
        return "a sliding window shorter than the context";
    }
    switch (config.position_encoding) {
        case PositionEncoding::alibi: return "ALiBi positions";
        case PositionEncoding::learned_absolute:
            if (sequence_length <= config.max_position_embeddings) return {};
            return fmt::format("a context of {} with {} learned positions", sequence_length,
                               config.max_position_embeddings);
        case PositionEncoding::rope:
            if (config.rope_scaling) {
                if (std::string reason = untrainable_rope_scaling(*config.rope_scaling);
                    !reason.empty())
                    return "rope_scaling." + reason;
            }
            if (config.rotary_dim() == config.head_dim) return {};
            return fmt::format("rotary positions on {} of {} head dimensions", config.rotary_dim(),
                               config.head_dim);
        case PositionEncoding::none: return {};
    }
    return {};
}

}  // namespace

std::string untrainable_reason(const ModelConfig& config, std::int64_t sequence_length) {
    if (config.moe) return "mixture of experts";
    if (config.mla) return "multi-head latent attention";
    if (config.norm_position == NormPosition::sandwich) return "four norms per block";
    // Gemma multiplies its embeddings by sqrt(H) and its norms by 1 + weight.
    if (config.model_type == "gemma") return "Gemma's scaled embeddings and shifted norm weights";
    if (config.parallel_residual) return "parallel attention and FFN";
    if (config.embedding_norm) return "a norm after the embedding";
    if (config.qk_norm == QkNorm::full_width) return "full-width QK norm";
    if (config.naming != TensorNaming::llama && config.naming != TensorNaming::gpt2) {
        return "models of type " + config.model_type;
    }
    return position_reason(config, sequence_length);
}

std::string untrainable_rope_scaling(const RopeScaling& scaling) {
    if (scaling.type != "llama3" && scaling.type != "linear" && scaling.type != "default")
        return "rope_type " + scaling.type;
    if (!(scaling.factor > 0)) return fmt::format("factor {}", scaling.factor);
    if (scaling.type == "llama3" && !(scaling.low_freq_factor > 0))
        return fmt::format("low_freq_factor {}", scaling.low_freq_factor);
    if (scaling.type == "llama3" && !(scaling.high_freq_factor > scaling.low_freq_factor)) {
        return fmt::format("high_freq_factor {} with low_freq_factor {}", scaling.high_freq_factor,
                           scaling.low_freq_factor);
    }
    return {};
}

}  // namespace isoflop::model
