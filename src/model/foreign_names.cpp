#include "foreign_names.hpp"

#include <algorithm>
#include <string>

#include "isoflop/model/model_fields.hpp"
#include "isoflop/model/model_format.hpp"

namespace isoflop::model {
namespace {

/// Keys that mean one thing in every program that has them.
constexpr Name kNames[] = {{"dim", "hidden_size"},
                           {"dim_model", "hidden_size"},
                           {"model_dim", "hidden_size"},
                           {"embed_dim", "hidden_size"},
                           {"n_query_groups", "num_key_value_heads"},
                           {"num_query_groups", "num_key_value_heads"},
                           {"num_heads_kv", "num_key_value_heads"},
                           {"kv_heads", "num_key_value_heads"},
                           {"dim_head", "head_dim"},
                           {"d_head", "head_dim"},
                           {"d_kv", "head_dim"},
                           {"kv_channels", "head_dim"},
                           {"head_size", "head_dim"},
                           {"dim_ff", "intermediate_size"},
                           {"inter_dim", "intermediate_size"},
                           {"hidden_dim", "hidden_size or intermediate_size"},
                           {"num_blocks", "num_hidden_layers"},
                           {"depth", "num_hidden_layers"},
                           {"padded_vocab_size", "vocab_size"},
                           {"context_length", "max_position_embeddings"},
                           {"sequence_len", "max_position_embeddings"},
                           {"sequence_length", "max_position_embeddings"},
                           {"seq_len", "max_position_embeddings"},
                           {"ctx_len", "max_position_embeddings"},
                           {"rotary_percentage", "partial_rotary_factor"},
                           {"rotary_percent", "partial_rotary_factor"},
                           {"rotary_base", "rope_theta"},
                           {"rope_base", "rope_theta"},
                           {"sliding_window_size", "sliding_window"},
                           {"parallel_residual", "use_parallel_residual"},
                           {"layernorm_epsilon", "rms_norm_eps"},
                           {"norm_epsilon", "rms_norm_eps"},
                           {"norm_qk", "qk_norm"},
                           {"qk_layernorm", "qk_norm"},
                           {"norm_class_name", "normalization"},
                           {"mlp_class_name", "ffn_type"},
                           {"swiglu", "ffn_type"},
                           {"position_embedding_type", "position_encoding"},
                           {"untie_embeddings_and_output_weights", "tie_word_embeddings"},
                           {"n_expert", "num_experts"},
                           {"n_expert_per_token", "num_experts_per_tok"},
                           {"n_activated_experts", "num_experts_per_tok"},
                           {"moe_router_topk", "num_experts_per_tok"},
                           {"moe_inter_dim", "moe_intermediate_size"},
                           {"moe_ffn_hidden_size", "moe_intermediate_size"},
                           {"n_dense_layers", "first_k_dense_replace"}};

/// Advice only: files with these keys are not read as they are.
constexpr Name kAdvice[] = {{"layer_norm_type", "normalization"},
                            {"norm", "normalization"},
                            {"pos_emb", "position_encoding"},
                            {"use_rotary_position_embeddings", "position_encoding"},
                            {"rope", "position_encoding"},
                            {"alibi", "position_encoding"},
                            {"gpt_j_residual", "use_parallel_residual"},
                            {"group_query_attention", "num_key_value_heads"},
                            {"multi_query_attention", "num_key_value_heads"},
                            {"attention_layer_norm", "qk_norm"},
                            {"activation_type", "hidden_act"},
                            {"mlp_ratio", "ffn_expansion_ratio"},
                            {"mlp_hidden_size", "intermediate_size"},
                            {"include_bias", "bias"},
                            {"include_qkv_bias", "attention_bias"},
                            {"add_bias_linear", "bias"},
                            {"qkv_bias", "attention_bias"},
                            {"max_sequence_length", "max_position_embeddings"},
                            {"embedding_size", "vocab_size"}};
/// What is true there is false here.
constexpr Name kOpposites[] = {{"no_weight_tying", "tie_word_embeddings"},
                               {"untie_embeddings_and_output_weights", "tie_word_embeddings"},
                               {"untie_word_embeddings", "tie_word_embeddings"},
                               {"disable_bias_linear", "bias"},
                               {"no_biases", "bias"}};

template <std::size_t N>
std::string_view find_name(const Name (&names)[N], std::string_view key) {
    for (const Name& name : names) {
        if (name.foreign == key) return name.ours;
    }
    return {};
}

std::string without_dashes(std::string_view key) {
    while (key.starts_with('-')) key.remove_prefix(1);
    std::string plain(key);
    std::replace(plain.begin(), plain.end(), '-', '_');
    return plain;
}

}  // namespace

std::span<const Name> foreign_names() {
    return kNames;
}

std::string_view our_name_of(std::string_view foreign_key) {
    const std::string key = without_dashes(foreign_key);
    for (const std::string_view ours :
         {find_name(kOpposites, key), find_name(kNames, key), find_name(kAdvice, key)}) {
        if (!ours.empty()) return ours;
    }
    const config::Field* field = model_schema().sections().front().find(key);
    return field != nullptr && !field->info.ignored ? field->info.key : std::string_view();
}

bool is_opposite_of_ours(std::string_view foreign_key) {
    return !find_name(kOpposites, without_dashes(foreign_key)).empty();
}

}  // namespace isoflop::model
