// The configuration for the log: resolved, so that a comparison of runs shows the model that was
// built instead of the keys in the file.
#include <array>
#include <nlohmann/json.hpp>

#include "isoflop/trainer/startup_report.hpp"

namespace isoflop::trainer {
namespace {

using nlohmann::ordered_json;

/// Keys that are recorded under their names in the earlier Python trainer.
constexpr std::array kRenamedKeys = {
    "num_hidden_layers", "num_attention_heads", "hidden_size",  "max_position_embeddings", "n_ctx",
    "hidden_act",        "tie_word_embeddings", "rms_norm_eps", "intermediate_size"};
/// Recorded by other keys: max_iters, gradient_accumulation_steps, d_ff.
constexpr std::array kImpliedKeys = {"max_tokens", "total_batch_tokens", "ffn_expansion_ratio"};

void record_model(ordered_json& json, const recipe::Recipe& config) {
    const model::ModelConfig& model = config.model;
    json["arch_preset"] = model.preset;
    json["n_layer"] = model.num_hidden_layers;
    json["n_head"] = model.num_attention_heads;
    json["num_key_value_heads"] = model.num_key_value_heads;
    json["n_embd"] = model.hidden_size;
    json["head_dim"] = model.head_dim;
    json["d_ff"] = model.intermediate_size;
    json["vocab_size"] = model.vocab_size;
    json["block_size"] = config.execution.sequence_length;
    json["dropout"] = model.dropout;
    json["bias"] = model.qkv_bias && model.attention_output_bias && model.ffn_bias;
    json["normalization"] = to_string(model.normalization);
    json["activation"] = to_string(model.activation);
    json["position_encoding"] = to_string(model.position_encoding);
    json["norm_position"] = to_string(model.norm_position);
    json["ffn_type"] = to_string(model.ffn_type);
    json["weight_tying"] = model.tie_word_embeddings;
    json["rope_theta"] = model.rope_theta;
    json["norm_eps"] = model.norm_eps;
}

}  // namespace

ordered_json config_record(const recipe::RunPlan& plan) {
    const recipe::Recipe& config = plan.config;
    ordered_json json = to_json(config.keys);
    for (const char* key : kRenamedKeys) json.erase(key);
    for (const char* key : kImpliedKeys) json.erase(key);
    record_model(json, config);
    json["gradient_accumulation_steps"] = config.global_micro_steps;
    json["max_iters"] = config.max_iters;
    // The requested type; the type in use is in the metadata.
    if (!config.keys.execution.dtype) json["dtype"] = to_string(config.execution.dtype);
    json["reproducible"] = config.execution.reproducible;
    json["lr_decay_iters"] = config.lr_decay_iters;
    json["min_lr"] = config.min_lr;
    return json;
}

}  // namespace isoflop::trainer
