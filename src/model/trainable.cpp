#include "isoflop/model/trainable.hpp"

#include <fmt/format.h>

namespace isoflop::model {
namespace {

std::string position_reason(const ModelConfig& config, std::int64_t sequence_length) {
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
            if (config.rotary_dim() > 0 && config.rotary_dim() % 2 == 0) return {};
            return fmt::format("rotary positions on {} of {} head dimensions", config.rotary_dim(),
                               config.head_dim);
        case PositionEncoding::none: return {};
    }
    return {};
}

/// Layers that are not attention and a dense FFN.
std::string layer_reason(const ModelConfig& config) {
    if (config.moe) return "mixture of experts";
    if (config.mla) return "multi-head latent attention";
    if (config.recurrence) {
        return fmt::format("layers with a state along the sequence ({})",
                           to_string(config.recurrence->kind));
    }
    if (config.alternating_updates) return "several residual streams (AltUp)";
    const LayerKind usual;
    for (const LayerGroup& group : config.layer_groups()) {
        if (!group.kind.has_tensors_of(usual)) return "layers without attention or without FFN";
    }
    return {};
}

std::string attention_reason(const ModelConfig& config) {
    if (config.attention_gate) return "gates of the attention output";
    if (config.attention_sinks) return "attention sinks";
    if (config.model_type == "ministral3") return "queries scaled by their position";
    if (config.index_heads > 0) return "an index that chooses the keys";
    if (config.chunked_windows) return "chunked attention";
    if (config.qk_norm == QkNorm::every_head) return "QK norms with weights for every head";
    if (config.qk_norm == QkNorm::unweighted) return "QK norms without weights";
    const bool layer_norm = config.naming == TensorNaming::phi;
    if (layer_norm && config.qk_norm != QkNorm::none) return "layer norms of queries and keys";
    return {};
}

/// Namings whose tensors the trainer finds.
bool has_trained_names(const ModelConfig& config) {
    switch (config.naming) {
        case TensorNaming::llama:
        case TensorNaming::gpt2:
        case TensorNaming::gpt_neox:
        case TensorNaming::phi3:
        case TensorNaming::phi:
        case TensorNaming::starcoder2:
        case TensorNaming::stablelm:
        case TensorNaming::glm4:
        case TensorNaming::gptj: return true;
        default: return false;
    }
}

}  // namespace

std::string untrainable_reason(const ModelConfig& config, std::int64_t sequence_length) {
    if (std::string reason = layer_reason(config); !reason.empty()) return reason;
    if (std::string reason = attention_reason(config); !reason.empty()) return reason;
    if (config.embedding_norm) return "a norm after the embedding";
    if (config.embedding_width > 0) return "an embedding that is projected to another width";
    if (!config.final_norm) return "a model without a final norm";
    if (config.parallel_residual && config.norm_position != NormPosition::pre)
        return "parallel attention and FFN whose outputs are normalized";
    if (!has_trained_names(config)) return "models of type " + config.model_type;
    return position_reason(config, sequence_length);
}

bool norms_branches(const ModelConfig& config) {
    if (config.norm_position == NormPosition::sandwich) return true;
    return config.norm_position == NormPosition::post && config.model_type != "custom";
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
