// The table of model keys: names, aliases, help, ranges. `add_model_fields` adds them to any
// schema, so that the same table serves a model file and the "architecture" section of a plan:
//
//   auto architecture =
//       schema.section("architecture", &PlanKeys::architecture, "...", Required::yes);
//   add_model_fields(architecture);
//
// Builder is Schema<T>::SectionBuilder<ModelKeys> of any T.
#pragma once

#include <string_view>

#include "isoflop/model/model_keys.hpp"

namespace isoflop::model {

template <class Builder>
void add_size_fields(Builder& builder) {
    constexpr auto kWidth = static_cast<double>(limits::kWidth);
    constexpr auto kHeads = static_cast<double>(limits::kHeads);
    builder
        .field(&ModelKeys::num_hidden_layers,
               {.key = "num_hidden_layers",
                .help = "Number of transformer blocks, L.",
                .unit = "layers",
                .minimum = 1,
                .maximum = static_cast<double>(limits::kLayers),
                .aliases = {"n_layer", "n_layers", "num_layers"},
                .default_help = "12 with an arch_preset; else required"})
        .field(&ModelKeys::hidden_size, {.key = "hidden_size",
                                         .help = "Width of the residual stream, H.",
                                         .minimum = 1,
                                         .maximum = kWidth,
                                         .aliases = {"n_embd", "d_model", "n_embed"},
                                         .default_help = "768 with an arch_preset; else required"})
        .field(&ModelKeys::num_attention_heads,
               {.key = "num_attention_heads",
                .help = "Query heads, a.",
                .unit = "heads",
                .minimum = 1,
                .maximum = kHeads,
                .aliases = {"n_head", "n_heads", "num_heads"},
                .default_help = "12 with an arch_preset; else required"})
        .field(&ModelKeys::num_key_value_heads,
               {.key = "num_key_value_heads",
                .help = "Key/value heads, g: below num_attention_heads for grouped queries.",
                .unit = "heads",
                .minimum = 1,
                .maximum = kHeads,
                .aliases = {"n_kv_head", "n_kv_heads", "num_kv_heads"},
                .default_help = "num_attention_heads, or the default of the model_type's class"})
        .field(
            &ModelKeys::head_dim,
            {.key = "head_dim",
             .help = "Width of one head, d; need not be hidden_size / num_attention_heads.",
             .minimum = 1,
             .maximum = static_cast<double>(limits::kHeadDim),
             .default_help = "hidden_size / num_attention_heads (qwen3: 128; gemma, gemma2: 256)"})
        .field(
            &ModelKeys::intermediate_size,
            {.key = "intermediate_size",
             .help = "Width of the feed-forward network, F.",
             .minimum = 1,
             .maximum = kWidth,
             .aliases = {"d_ff", "n_inner", "ffn_hidden_size", "ffn_dim"},
             .default_help = "int(hidden_size x ffn_expansion_ratio); else swiglu: 8/3 hidden_size "
                             "rounded up to a multiple of 64, standard: 4 hidden_size"})
        .field(&ModelKeys::ffn_expansion_ratio,
               {.key = "ffn_expansion_ratio",
                .help = "intermediate_size as a multiple of hidden_size.",
                .minimum = 0,
                .maximum = 1024,
                .exclusive_minimum = true,
                .aliases = {"expansion_ratio"}})
        .field(&ModelKeys::vocab_size, {.key = "vocab_size",
                                        .help = "Rows of the token embedding, V.",
                                        .unit = "tokens",
                                        .minimum = 1,
                                        .maximum = static_cast<double>(limits::kVocabulary),
                                        .default_help = "50304 with an arch_preset; else required"})
        .field(&ModelKeys::max_position_embeddings,
               {.key = "max_position_embeddings",
                .help = "Longest sequence; number of rows of a learned position embedding.",
                .unit = "tokens",
                .minimum = 1,
                .maximum = static_cast<double>(limits::kPositions),
                .aliases = {"block_size", "n_positions", "max_seq_len", "seq_length"},
                .default_help = "1024 with an arch_preset; else 2048 (gpt2: 1024)"})
        .field(&ModelKeys::n_ctx,
               {.key = "n_ctx",
                .help = "Old name of max_position_embeddings, used if that key is absent.",
                .unit = "tokens",
                .minimum = 1,
                .maximum = static_cast<double>(limits::kPositions)});
}

template <class Builder>
void add_choice_fields(Builder& builder) {
    builder
        .field(&ModelKeys::model_type,
               {.key = "model_type",
                .help = "Model type of Hugging Face, which fixes the architecture. Without it, "
                        "arch_preset and the choices below define the model."})
        .field(&ModelKeys::arch_preset,
               {.key = "arch_preset",
                .help = "Preset of a model without model_type; every other key overrides it. "
                        "custom equals llama and announces that other choices follow.",
                .default_help = "llama's choices, without its sizes; for train gpt2"})
        .field(&ModelKeys::normalization,
               {.key = "normalization", .help = "Kind of norm.", .default_help = "of the preset"})
        .field(&ModelKeys::norm_position,
               {.key = "norm_position",
                .help = "Norms before, after or around each half of a block.",
                .default_help = "of the preset"})
        .field(&ModelKeys::position_encoding, {.key = "position_encoding",
                                               .help = "Kind of position encoding.",
                                               .default_help = "of the preset"})
        .field(&ModelKeys::ffn_type,
               {.key = "ffn_type",
                .help = "Feed-forward network: gated (three matrices) or plain (two).",
                .default_help = "of the preset"})
        .field(&ModelKeys::hidden_act, {.key = "hidden_act",
                                        .help = "Activation of the feed-forward network.",
                                        .aliases = {"activation", "activation_function"},
                                        .default_help = "of the preset or model_type"})
        .field(&ModelKeys::hidden_activation,
               {.key = "hidden_activation",
                .help = "Activation of Gemma; the hidden_act of its files has no effect."})
        .field(
            &ModelKeys::qk_norm,
            {.key = "qk_norm",
             .help = "Norms on queries and keys: none, per_head or full_width; true is per_head, "
                     "false none.",
             .default_help = "none (qwen3: per_head)"})
        .field(&ModelKeys::bias, {.key = "bias",
                                  .help = "Biases in all linear layers of the blocks.",
                                  .default_help = "false"})
        .field(&ModelKeys::attention_bias, {.key = "attention_bias",
                                            .help = "Biases of the attention projections.",
                                            .default_help = "bias, or as the model_type"})
        .field(&ModelKeys::mlp_bias, {.key = "mlp_bias",
                                      .help = "Biases of the feed-forward network.",
                                      .default_help = "bias, or as the model_type"})
        .field(&ModelKeys::tie_word_embeddings, {.key = "tie_word_embeddings",
                                                 .help = "Uses the token embedding as the LM head.",
                                                 .aliases = {"weight_tying"},
                                                 .default_help = "of the preset or model_type"})
        .field(&ModelKeys::use_parallel_residual,
               {.key = "use_parallel_residual",
                .help = "Attention and feed-forward network read the same input (GPT-NeoX)."})
        .field(&ModelKeys::norm_eps,
               {.key = "rms_norm_eps",
                .help = "Constant added to the variance in norms.",
                .minimum = 0,
                .maximum = 1,
                .aliases = {"norm_eps", "layer_norm_eps", "layer_norm_epsilon", "layernorm_eps"},
                .default_help = "1e-5, or as the model_type"})
        .field(&ModelKeys::dropout,
               {.key = "dropout",
                .help = "Dropout probability of the embeddings and of both residual branches.",
                .minimum = 0,
                .maximum = 1,
                .default_help = "0"})
        .field(&ModelKeys::use_flash_attention,
               {.key = "use_flash_attention",
                .help = "Analyses memory without the S x S attention matrix.",
                .default_help = "true"});
}

template <class Builder>
void add_position_fields(Builder& builder) {
    builder
        .field(&ModelKeys::rope_theta, {.key = "rope_theta",
                                        .help = "Base of the rotary frequencies.",
                                        .minimum = 0,
                                        .exclusive_minimum = true,
                                        .aliases = {"rotary_emb_base"},
                                        .default_help = "10000 (mixtral: 1000000)"})
        .field(&ModelKeys::partial_rotary_factor, {.key = "partial_rotary_factor",
                                                   .help = "Share of head_dim that is rotated.",
                                                   .minimum = 0,
                                                   .maximum = 1,
                                                   .exclusive_minimum = true,
                                                   .aliases = {"rotary_pct"},
                                                   .default_help = "1 (gpt_neox: 0.25)"})
        .field(&ModelKeys::rope_scaling,
               {.key = "rope_scaling",
                .help = R"(Frequency scaling for longer sequences: {"rope_type": "llama3", ...}.)"})
        .field(
            &ModelKeys::rope_parameters,
            {.key = "rope_parameters",
             .help =
                 "Object of transformers 5 with rope_theta, rope_type and the scaling parameters."})
        .field(&ModelKeys::sliding_window,
               {.key = "sliding_window",
                .help = "Attention window.",
                .unit = "tokens",
                .minimum = 1,
                .maximum = static_cast<double>(limits::kPositions),
                .default_help = "none (gemma2, and Qwen types with use_sliding_window: 4096)"})
        .field(&ModelKeys::use_sliding_window, {.key = "use_sliding_window",
                                                .help = "Qwen: enables sliding_window.",
                                                .default_help = "false for the Qwen types"})
        .field(&ModelKeys::sliding_window_pattern,
               {.key = "sliding_window_pattern",
                .help = "Gemma-3: layers n - 1, 2n - 1, ... have full attention.",
                .unit = "layers",
                .minimum = 2,
                .maximum = static_cast<double>(limits::kLayers),
                .aliases = {"_sliding_window_pattern"},
                .default_help = "6"})
        .field(&ModelKeys::max_window_layers,
               {.key = "max_window_layers",
                .help = "Qwen: number of leading layers with full attention.",
                .unit = "layers",
                .minimum = 0,
                .maximum = static_cast<double>(limits::kLayers),
                .default_help = "28"})
        .field(&ModelKeys::layer_types,
               {.key = "layer_types",
                .help = "List of full_attention and sliding_attention, one entry per layer, as "
                        "written by transformers; must agree with the keys above."});
}

template <class Builder>
void add_expert_fields(Builder& builder) {
    constexpr auto kExperts = static_cast<double>(limits::kExperts);
    constexpr auto kLayers = static_cast<double>(limits::kLayers);
    builder
        .field(&ModelKeys::num_experts,
               {.key = "num_experts",
                .help = "Number of routed experts of a mixture layer, E; 0 is a dense model.",
                .minimum = 0,
                .maximum = kExperts,
                .aliases = {"num_local_experts", "n_routed_experts"}})
        .field(&ModelKeys::num_experts_per_tok,
               {.key = "num_experts_per_tok",
                .help = "Routed experts that one token uses, k.",
                .minimum = 0,
                .maximum = kExperts,
                .aliases = {"num_experts_per_token", "moe_top_k"},
                .default_help = "mixtral: 2; qwen3_moe, deepseek_v3: 8; else required"})
        .field(&ModelKeys::moe_intermediate_size, {.key = "moe_intermediate_size",
                                                   .help = "Width of one routed expert.",
                                                   .minimum = 1,
                                                   .maximum = static_cast<double>(limits::kWidth),
                                                   .default_help = "intermediate_size"})
        .field(&ModelKeys::n_shared_experts, {.key = "n_shared_experts",
                                              .help = "Experts that every token uses.",
                                              .minimum = 0,
                                              .maximum = kExperts,
                                              .aliases = {"num_shared_experts"},
                                              .default_help = "0"})
        .field(&ModelKeys::first_k_dense_replace,
               {.key = "first_k_dense_replace",
                .help = "DeepSeek: leading layers with a dense feed-forward network.",
                .unit = "layers",
                .minimum = 0,
                .maximum = kLayers,
                .default_help = "0 (deepseek_v3: 3)"})
        .field(&ModelKeys::moe_layer_freq, {.key = "moe_layer_freq",
                                            .help = "DeepSeek: layers 0, n, 2n, ... are mixtures.",
                                            .unit = "layers",
                                            .minimum = 1,
                                            .maximum = kLayers,
                                            .default_help = "1"})
        .field(&ModelKeys::decoder_sparse_step,
               {.key = "decoder_sparse_step",
                .help = "Qwen: layers n - 1, 2n - 1, ... are mixtures.",
                .unit = "layers",
                .minimum = 1,
                .maximum = kLayers,
                .default_help = "1"})
        .field(&ModelKeys::mlp_only_layers,
               {.key = "mlp_only_layers",
                .help = "Qwen: list of layers, from 0, with a dense feed-forward network."});
}

template <class Builder>
void add_latent_attention_fields(Builder& builder) {
    constexpr auto kWidth = static_cast<double>(limits::kWidth);
    constexpr auto kHeadDim = static_cast<double>(limits::kHeadDim);
    builder
        .field(&ModelKeys::q_lora_rank,
               {.key = "q_lora_rank",
                .help = "Latent attention: rank of the queries; null projects them directly.",
                .minimum = 1,
                .maximum = kWidth})
        .field(&ModelKeys::kv_lora_rank,
               {.key = "kv_lora_rank",
                .help = "Latent attention: rank of keys and values, which the cache stores.",
                .minimum = 1,
                .maximum = kWidth})
        .field(&ModelKeys::qk_nope_head_dim,
               {.key = "qk_nope_head_dim",
                .help = "Latent attention: width of a query or key head without position.",
                .minimum = 1,
                .maximum = kHeadDim})
        .field(&ModelKeys::qk_rope_head_dim,
               {.key = "qk_rope_head_dim",
                .help = "Latent attention: width of the rotary part of a head.",
                .minimum = 1,
                .maximum = kHeadDim})
        .field(&ModelKeys::v_head_dim, {.key = "v_head_dim",
                                        .help = "Latent attention: width of a value head.",
                                        .minimum = 1,
                                        .maximum = kHeadDim});
}

/// Keys of single model types, as in their files.
template <class Builder>
void add_model_type_fields(Builder& builder) {
    builder
        .field(&ModelKeys::attn_config,
               {.key = "attn_config",
                .help = "MPT: object with alibi, attn_type, kv_n_heads.",
                .default_help = "alibi true, as in the class of transformers"})
        .field(&ModelKeys::ffn_config,
               {.key = "ffn_config", .help = "MPT: object; only ffn_type mptmlp is supported."})
        .field(&ModelKeys::no_bias, {.key = "no_bias",
                                     .help = "MPT: no biases in linear layers and norms.",
                                     .default_help = "true, as in the class of transformers"})
        .field(&ModelKeys::learned_pos_emb,
               {.key = "learned_pos_emb",
                .help = "MPT: learned positions; has no effect beside alibi.",
                .default_help = "true"})
        .field(
            &ModelKeys::norm_type,
            {.key = "norm_type",
             .help = "MPT: low_precision_layernorm, layernorm, low_precision_rmsnorm or rmsnorm.",
             .default_help = "low_precision_layernorm"})
        .field(&ModelKeys::add_cross_attention,
               {.key = "add_cross_attention",
                .help = "GPT-2 as the decoder of an encoder; not supported, must be false."})
        .field(&ModelKeys::class_keys,
               {.key = "class_keys",
                .help = "Object of the keys that only the class of model_type has. In its files "
                        "they stand beside the others."});
}

/// Keys of Hugging Face files that change neither parameters nor costs.
template <class Builder>
void add_ignored_model_fields(Builder& builder) {
    constexpr std::string_view kHelp = "Key of Hugging Face without effect here.";
    for (const std::string_view key : {"torch_dtype",
                                       "dtype",
                                       "transformers_version",
                                       "_name_or_path",
                                       "auto_map",
                                       "tokenizer_class",
                                       "bos_token_id",
                                       "eos_token_id",
                                       "pad_token_id",
                                       "unk_token_id",
                                       "use_cache",
                                       "initializer_range",
                                       "init_device",
                                       "init_config",
                                       "quantization_config",
                                       "pretraining_tp",
                                       "max_sequence_length",
                                       "attention_dropout",
                                       "hidden_dropout",
                                       "residual_dropout",
                                       "resid_pdrop",
                                       "embd_pdrop",
                                       "attn_pdrop",
                                       "emb_pdrop",
                                       "classifier_dropout",
                                       "task_specific_params",
                                       "id2label",
                                       "label2id",
                                       "summary_type",
                                       "summary_use_proj",
                                       "summary_activation",
                                       "summary_first_dropout",
                                       "summary_proj_to_labels",
                                       "scale_attn_weights",
                                       "scale_attn_by_inverse_layer_idx",
                                       "reorder_and_upcast_attn",
                                       "attention_softmax_in_fp32",
                                       "masked_softmax_fusion",
                                       "apply_residual_connection_post_layernorm",
                                       "slow_but_exact",
                                       "skip_bias_add",
                                       "skip_bias_add_qkv",
                                       "bias_dropout_fusion",
                                       "offset_alibi",
                                       "embedding_fraction",
                                       "logit_scale",
                                       "verbose",
                                       "tokenizer_name",
                                       "router_aux_loss_coef",
                                       "output_router_logits",
                                       "router_jitter_noise",
                                       "norm_topk_prob",
                                       "scoring_func",
                                       "topk_method",
                                       "topk_group",
                                       "n_group",
                                       "routed_scaling_factor",
                                       "aux_loss_alpha",
                                       "seq_aux",
                                       "ep_size",
                                       "num_nextn_predict_layers",
                                       "qk_head_dim",
                                       "rope_interleave",
                                       "original_max_position_embeddings",
                                       "query_pre_attn_scalar",
                                       "attn_logit_softcapping",
                                       "final_logit_softcapping",
                                       "cache_implementation",
                                       "is_decoder",
                                       "return_dict",
                                       "output_attentions",
                                       "output_hidden_states",
                                       "chunk_size_feed_forward",
                                       "problem_type",
                                       "attn_implementation",
                                       "_attn_implementation",
                                       "use_bfloat16",
                                       "torchscript"}) {
        builder.ignored(key, kHelp);
    }
}

/// All of the above.
template <class Builder>
void add_model_fields(Builder& builder) {
    add_choice_fields(builder);
    add_size_fields(builder);
    add_position_fields(builder);
    add_expert_fields(builder);
    add_latent_attention_fields(builder);
    add_model_type_fields(builder);
    builder.field(
        &ModelKeys::architectures,
        {.key = "architectures",
         .help = "Class names of Hugging Face, which mark a file as theirs; no other effect."});
    add_ignored_model_fields(builder);
    // Foreign keys are for Hugging Face files only: refuse_unknown_keys() refuses them elsewhere.
    builder.tolerate_unknown_keys();
}

}  // namespace isoflop::model
