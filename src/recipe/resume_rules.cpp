#include "isoflop/recipe/resume_rules.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace isoflop::recipe {
namespace {

struct Rule {
    std::string_view key;
    OnResume on_resume;
};

using enum OnResume;

/// Keys of the model are fixed, except these.
constexpr std::array kModelRules = {Rule{"dropout", noted}, Rule{"use_flash_attention", free}};

/// All other keys, in the order of train_schema.cpp.
constexpr std::array kRules = {
    // Batch and length.
    Rule{"batch_size", noted}, Rule{"gradient_accumulation_steps", noted},
    Rule{"total_batch_tokens", noted}, Rule{"max_iters", noted}, Rule{"max_tokens", noted},
    Rule{"max_hours", free},
    // Optimizer.
    Rule{"learning_rate", noted}, Rule{"min_lr", noted}, Rule{"warmup_iters", noted},
    Rule{"lr_decay_iters", noted}, Rule{"lr_schedule", noted}, Rule{"wsd_decay_fraction", noted},
    Rule{"decay_lr", noted}, Rule{"resume_schedule", free}, Rule{"weight_decay", noted},
    Rule{"beta1", noted}, Rule{"beta2", noted}, Rule{"adam_eps", noted}, Rule{"grad_clip", noted},
    // Execution: the same function, in other arithmetic or order.
    Rule{"device", noted}, Rule{"dtype", noted}, Rule{"attention_backend", noted},
    Rule{"auto_probe", free}, Rule{"disable_backends", noted}, Rule{"manual_head_chunk", noted},
    Rule{"recompute", noted}, Rule{"loss_chunk", noted}, Rule{"seed", fixed}, Rule{"threads", free},
    Rule{"use_zero1", noted}, Rule{"use_fsdp", noted}, Rule{"fsdp_min_num_params", free},
    Rule{"fsdp_activation_checkpointing", noted}, Rule{"fsdp_shard_size", noted},
    Rule{"fsdp_reshard_after_forward", free}, Rule{"ddp_bucket_mb", free},
    Rule{"reproducible", noted}, Rule{"verify_replicas_interval", free},
    Rule{"comm_timeout_s", free}, Rule{"deterministic", noted}, Rule{"cuda_graphs", free},
    Rule{"gemm_autotune", noted}, Rule{"stochastic_rounding", noted},
    // Data.
    Rule{"dataset", fixed}, Rule{"train_data", fixed}, Rule{"val_data", fixed},
    Rule{"ignore_index", fixed},
    // Run and reports. eval_iters: losses before and after are of other samples.
    Rule{"out_dir", free}, Rule{"run_name", free}, Rule{"init_from", free},
    Rule{"eval_interval", free}, Rule{"eval_iters", noted}, Rule{"eval_only", free},
    Rule{"checkpoint_interval", free}, Rule{"keep_checkpoints", free},
    Rule{"always_save_checkpoint", free}, Rule{"log_interval", free},
    Rule{"log_save_interval", free}, Rule{"gradient_log_interval", free},
    Rule{"detail_log_interval", free}, Rule{"gpu_type", free}, Rule{"expected_mfu", free},
    Rule{"flop_convention", noted}, Rule{"save_log_to_json", free}, Rule{"tensorboard", free},
    Rule{"allow_nonfinite_weights", free}, Rule{"sample_interval", free},
    Rule{"sample_prompt", free}};

const config::Section& model_section() {
    return train_schema().sections().front();
}

template <class Rules>
const Rule* find(const Rules& rules, std::string_view key) {
    const auto* const found =
        std::find_if(rules.begin(), rules.end(), [&](const Rule& rule) { return rule.key == key; });
    return found == rules.end() ? nullptr : found;
}

/// The key, and the short name that configs of this trainer use for it.
std::string shown_key(const std::string& key) {
    const config::Field* field = model_section().find(key);
    if (field == nullptr) return key;
    const std::string_view canonical = field->info.key;
    if (key != canonical) return fmt::format("{} ({})", canonical, key);
    constexpr std::array<std::string_view, 9> kShortNames{"n_layer",    "n_embd",   "n_head",
                                                          "n_kv_head",  "d_ff",     "block_size",
                                                          "activation", "norm_eps", "weight_tying"};
    for (const std::string_view alias : field->info.aliases) {
        if (std::find(kShortNames.begin(), kShortNames.end(), alias) != kShortNames.end())
            return fmt::format("{} ({})", key, alias);
    }
    return key;
}

using Entries = std::vector<std::pair<std::string, std::string>>;

std::string scaling_text(const std::optional<model::RopeScaling>& scaling) {
    if (!scaling) return "none";
    return fmt::format("{} {} {} {} {}", scaling->type, scaling->factor, scaling->low_freq_factor,
                       scaling->high_freq_factor, scaling->original_max_position_embeddings);
}

/// One letter a layer: window, full attention without rotary positions, or other.
std::string layers_text(const model::ModelConfig& model) {
    std::string text;
    for (const model::LayerKind& kind : model.layers) {
        text += kind.window ? 'w' : 'f';
        if (!kind.rotary) text += 'n';
    }
    return text;
}

/// What a model computes, by keys; not what it is called. Models that are trained have neither
/// experts nor latent attention.
Entries entries_of(const model::ModelConfig& model) {
    // Does not compile when ModelConfig gets a field that is not listed here.
    const auto& [model_type, preset, naming, layers, hidden, heads, kv_heads, head_dim,
                 intermediate, vocabulary, positions, normalization, norm_position,
                 position_encoding, ffn_type, activation, qk_norm, qkv_bias, output_bias, ffn_bias,
                 tied, embedding_norm, parallel, shared_norm, final_norm, embedding_width,
                 lm_head_bias, gate, sinks, moe, mla, recurrence, updates, layer_list, chunked,
                 index_heads, index_dim, index_k, window, window_period, window_first, full_period,
                 norm_eps, rope_theta, rotary, scaling, dropout, local_theta, attention_scale,
                 soft_cap, logit_cap, embedding_scale, residual_scale, logit_scale, add_one,
                 interleaved] = model;
    const auto text = [](const auto& value) { return fmt::format("{}", value); };
    return {
        {"num_hidden_layers", text(layers)},
        {"hidden_size", text(hidden)},
        {"num_attention_heads", text(heads)},
        {"num_key_value_heads", text(kv_heads)},
        {"head_dim", text(head_dim)},
        {"intermediate_size", text(intermediate)},
        {"vocab_size", text(vocabulary)},
        {"block_size", text(positions)},
        {"normalization", text(to_string(normalization))},
        {"norm_position", text(to_string(norm_position))},
        {"position_encoding", text(to_string(position_encoding))},
        {"ffn_type", text(to_string(ffn_type))},
        {"hidden_act", text(to_string(activation))},
        {"qk_norm", text(to_string(qk_norm))},
        {"attention_bias", fmt::format("{}, {} of the output", qkv_bias, output_bias)},
        {"mlp_bias", text(ffn_bias)},
        {"tie_word_embeddings", text(tied)},
        {"embedding norm", text(embedding_norm)},
        {"use_parallel_residual", text(parallel)},
        {"num_experts", text(moe ? moe->num_experts : 0)},
        {"kv_lora_rank", text(mla ? mla->kv_lora_rank : 0)},
        {"sliding_window", fmt::format("{} in layers {} + {} n, full every {}", window.value_or(0),
                                       window_first, window_period, full_period)},
        {"layer_types", layers_text(model)},
        {"shared norm", text(shared_norm)},
        {"final norm", text(final_norm)},
        {"word_embed_proj_dim", text(embedding_width)},
        {"bias of the LM head", text(lm_head_bias)},
        {"attention gate", text(gate)},
        {"attention sinks", text(sinks)},
        {"chunked attention", text(chunked)},
        {"indexer", fmt::format("{} x {}, {}", index_heads, index_dim, index_k)},
        {"recurrence", text(recurrence ? to_string(recurrence->kind) : "none")},
        {"altup_num_inputs", text(updates ? updates->num_streams : 0)},
        {"rope_local_base_freq", text(local_theta.value_or(rope_theta))},
        {"attention scale", text(attention_scale.value_or(0))},
        {"attn_logit_softcapping", text(soft_cap.value_or(0))},
        {"final_logit_softcapping", text(logit_cap.value_or(0))},
        {"embedding scale", text(embedding_scale)},
        {"residual scale", text(residual_scale)},
        {"logit scale", text(logit_scale)},
        {"norms of 1 + weight", text(add_one)},
        {"interleaved rotary positions", text(interleaved)},
        {"rms_norm_eps", text(norm_eps)},
        {"rope_theta", text(rope_theta)},
        {"partial_rotary_factor", text(rotary)},
        {"rope_scaling", scaling_text(scaling)},
        {"dropout", text(dropout)}};
}

std::string value_text(const config::Field& field, const TrainKeys& keys) {
    std::string text = config::to_text(field.get(&keys));
    return text.empty() ? "not set" : text;
}

/// Keys whose defaults depend on others, as what they resolve to.
TrainKeys resolved_keys(const Recipe& recipe) {
    TrainKeys keys = recipe.keys;
    keys.batch.gradient_accumulation_steps = recipe.global_micro_steps;
    keys.batch.total_batch_tokens.reset();
    keys.batch.max_iters = recipe.max_iters;
    keys.batch.max_tokens.reset();
    keys.optimizer.min_lr = recipe.min_lr;
    keys.optimizer.lr_decay_iters = recipe.lr_decay_iters;
    keys.execution.dtype = recipe.execution.dtype;
    keys.execution.reproducible = recipe.execution.reproducible;
    keys.execution.device =
        recipe.execution.device == cost::DeviceKind::cuda ? DeviceChoice::cuda : DeviceChoice::cpu;
    return keys;
}

}  // namespace

OnResume on_resume(std::string_view key) {
    if (const Rule* rule = find(kRules, key)) return rule->on_resume;
    if (const Rule* rule = find(kModelRules, key)) return rule->on_resume;
    if (model_section().find(key) != nullptr) return fixed;
    throw std::out_of_range(fmt::format("key '{}' has no class for resuming", key));
}

std::string to_text(const KeyChange& change) {
    return fmt::format("{}: {} in the checkpoint, {} now", shown_key(change.key), change.before,
                       change.now);
}

std::vector<KeyChange> model_changes(const model::ModelConfig& before,
                                     const model::ModelConfig& now) {
    const Entries old_entries = entries_of(before);
    const Entries new_entries = entries_of(now);
    std::vector<KeyChange> changes;
    for (std::size_t i = 0; i < old_entries.size(); ++i) {
        if (old_entries[i].second == new_entries[i].second) continue;
        changes.push_back({old_entries[i].first, old_entries[i].second, new_entries[i].second});
    }
    return changes;
}

std::optional<std::string> model_value(const model::ModelConfig& model, std::string_view key) {
    for (auto& [name, value] : entries_of(model)) {
        if (name == key) return std::move(value);
    }
    return std::nullopt;
}

ResumeChanges resume_changes(const Recipe& before, const Recipe& now) {
    ResumeChanges changes;
    for (KeyChange& change : model_changes(before.model, now.model)) {
        const bool noted_key = change.key == "dropout";
        (noted_key ? changes.noted : changes.fixed).push_back(std::move(change));
    }
    const TrainKeys old_keys = resolved_keys(before);
    const TrainKeys new_keys = resolved_keys(now);
    for (const config::Section& section : train_schema().sections()) {
        if (&section == &model_section()) continue;
        for (const config::Field& field : section.fields) {
            const OnResume rule = on_resume(field.info.key);
            KeyChange change{std::string(field.info.key), value_text(field, old_keys),
                             value_text(field, new_keys)};
            if (rule == free || change.before == change.now) continue;
            (rule == fixed ? changes.fixed : changes.noted).push_back(std::move(change));
        }
    }
    if (before.execution.sequence_length != now.execution.sequence_length &&
        before.model.max_position_embeddings == now.model.max_position_embeddings) {
        changes.fixed.push_back({"block_size", fmt::format("{}", before.execution.sequence_length),
                                 fmt::format("{}", now.execution.sequence_length)});
    }
    if (before.world_size != now.world_size) {
        changes.noted.push_back(
            {"ranks", fmt::format("{}", before.world_size), fmt::format("{}", now.world_size)});
    }
    return changes;
}

}  // namespace isoflop::recipe
