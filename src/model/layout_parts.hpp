// Parts of parameter layouts: each function appends the tensors of one part of a block. Names are
// string literals of Hugging Face checkpoints; TensorSpec keeps views of them.
#pragma once

#include <string_view>
#include <vector>

#include "isoflop/model/model_config.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::model::parts {

using Tensors = std::vector<TensorSpec>;

/// Checkpoint names of a weight and of its bias (empty where the family never has one).
struct Names {
    std::string_view weight;
    std::string_view bias;
};

/// A linear map from `inputs` to `outputs` features.
struct Linear {
    std::int64_t outputs = 0;
    std::int64_t inputs = 0;
    Component component = Component::attention;
    bool has_bias = false;
    std::int64_t copies = 1;       ///< experts with this map
    bool inputs_are_rows = false;  ///< stored transposed: GPT-2's Conv1D
    bool stacked = false;          ///< the copies are one tensor
};

inline void add_linear(Tensors& tensors, const Names& names, const Linear& linear) {
    const std::int64_t rows = linear.inputs_are_rows ? linear.inputs : linear.outputs;
    const std::int64_t columns = linear.inputs_are_rows ? linear.outputs : linear.inputs;
    tensors.push_back({.name = names.weight,
                       .shape = {rows, columns},
                       .component = linear.component,
                       .is_matmul = true,
                       .copies = linear.copies,
                       .stacked = linear.stacked});
    if (!linear.has_bias) return;
    tensors.push_back({.name = names.bias,
                       .shape = {linear.outputs, 0},
                       .component = linear.component,
                       .copies = linear.copies,
                       .stacked = linear.stacked});
}

inline void add_vector(Tensors& tensors, std::string_view name, std::int64_t width,
                       Component component) {
    tensors.push_back({.name = name, .shape = {width, 0}, .component = component});
}

/// A norm over hidden_size; only full layernorm has a bias.
inline void add_norm(Tensors& tensors, const Names& names, const ModelConfig& config) {
    add_vector(tensors, names.weight, config.hidden_size, Component::norm);
    if (config.normalization == Normalization::layernorm) {
        add_vector(tensors, names.bias, config.hidden_size, Component::norm);
    }
}

inline void add_embedding(Tensors& tensors, std::string_view name, std::int64_t rows,
                          Component component, const ModelConfig& config) {
    tensors.push_back({.name = name, .shape = {rows, config.hidden_size}, .component = component});
}

/// A tied head keeps a bias of its own where the family has one.
inline void add_head(Tensors& tensors, const Names& names, const ModelConfig& config) {
    if (config.tie_word_embeddings) {
        if (config.lm_head_bias)
            add_vector(tensors, names.bias, config.vocab_size, Component::lm_head);
        return;
    }
    add_linear(tensors, names,
               {.outputs = config.vocab_size,
                .inputs = config.vocabulary_width(),
                .component = Component::lm_head,
                .has_bias = config.lm_head_bias});
}

struct TensorNames;

/// Fills embedding, head and the tensors of one kind of layer, named as tensor_names.hpp says: all
/// but the GPT family, and the custom blocks of this project.
void build_llama_ends(const ModelConfig& config, ParameterLayout& layout);
[[nodiscard]] BlockLayout llama_block(const ModelConfig& config, const LayerKind& kind);
/// The feed-forward part of such a layer.
void add_llama_ffn(Tensors& tensors, const ModelConfig& config, const LayerKind& kind);
/// Linear attention, a state space or a convolution.
void add_recurrence(Tensors& tensors, const ModelConfig& config);

/// The scorer of DeepSeek-V3.2's sparse attention.
void add_indexer(Tensors& tensors, const ModelConfig& config);
/// The streams, low-rank residuals and embeddings of each layer of Gemma-3n.
void add_alternating_updates(Tensors& tensors, const ModelConfig& config);
void add_alternating_ends(Tensors& embedding, const ModelConfig& config);

/// The same for gpt2, mpt, gpt_neox, bloom, gpt_bigcode and falcon.
void build_gpt_ends(const ModelConfig& config, ParameterLayout& layout);
[[nodiscard]] BlockLayout gpt_block(const ModelConfig& config);

}  // namespace isoflop::model::parts
