// What a file says without effect, and what it leaves to be assumed.
#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "foreign_keys.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_format.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "unknown_keys.hpp"

namespace isoflop::model {
namespace {

/// Collects keys whose value is not the one that the model has.
struct Unused {
    std::vector<std::string> names;

    template <class T, class U>
    void unless_equal(std::string_view key, const std::optional<T>& given, const U& used) {
        if (given && *given != used) names.emplace_back(key);
    }
    template <class T>
    void if_given(std::string_view key, const std::optional<T>& given) {
        if (given && *given > 0) names.emplace_back(key);
    }
};

/// Keys of a file without model_type that its own choices leave without effect, and keys that a
/// class has but does not use.
std::vector<std::string> unused_keys(const ModelKeys& keys, const ModelConfig& config) {
    Unused unused;
    if (config.moe) {
        unused.unless_equal("moe_intermediate_size", keys.moe_intermediate_size,
                            config.moe->intermediate_size);
        unused.unless_equal("n_shared_experts", keys.n_shared_experts,
                            config.moe->num_shared_experts);
        unused.unless_equal("first_k_dense_replace", keys.first_k_dense_replace,
                            config.moe->first_dense_layers);
        unused.unless_equal("moe_layer_freq", keys.moe_layer_freq, config.moe->layer_frequency);
        unused.unless_equal("decoder_sparse_step", keys.decoder_sparse_step,
                            config.moe->layer_frequency);
    } else {
        unused.if_given("num_experts", keys.num_experts);
        unused.if_given("moe_intermediate_size", keys.moe_intermediate_size);
        unused.if_given("n_shared_experts", keys.n_shared_experts);
    }
    if (!config.mla) {
        unused.if_given("kv_lora_rank", keys.kv_lora_rank);
        unused.if_given("q_lora_rank", keys.q_lora_rank);
        unused.unless_equal("head_dim", keys.head_dim, config.head_dim);
    }
    unused.unless_equal("attention_bias", keys.attention_bias,
                        config.qkv_bias && config.attention_output_bias);
    unused.unless_equal("mlp_bias", keys.mlp_bias, config.ffn_bias);
    return unused.names;
}

/// Described by nanoGPT's keys alone, which say nothing of the blocks: its own are GPT-2's.
bool has_keys_of_nanogpt_only(const ModelKeys& keys) {
    return !keys.normalization && !keys.position_encoding && !keys.ffn_type && !keys.hidden_act &&
           !keys.intermediate_size && !keys.num_key_value_heads && !keys.rope_theta &&
           !keys.num_experts && !keys.kv_lora_rank && !keys.qk_norm && !keys.tie_word_embeddings;
}

std::string assumed_architecture(const ModelKeys& keys) {
    std::string text = "llama, as neither model_type nor arch_preset is given";
    if (!has_keys_of_nanogpt_only(keys)) return text;
    ModelKeys gpt2 = keys;
    gpt2.arch_preset = ArchPreset::gpt2;
    const std::int64_t parameters = parameter_layout(resolve(gpt2)).totals().total;
    return text + fmt::format(" (arch_preset gpt2: {} parameters)", with_separators(parameters));
}

void assumed_windows(const ModelKeys& keys, const ModelConfig& config,
                     std::vector<std::string>& assumed) {
    if (!config.sliding_window) return;
    if (!keys.sliding_window)
        assumed.push_back(fmt::format("sliding_window {}", *config.sliding_window));
    if (keys.layer_types) return;
    if (config.full_attention_period > 0 && !keys.sliding_window_pattern) {
        assumed.push_back(
            fmt::format("sliding_window_pattern {} (full attention in every {}th layer)",
                        config.full_attention_period, config.full_attention_period));
    }
    if (config.sliding_window_first_layer > 0 && !keys.max_window_layers)
        assumed.push_back(fmt::format("max_window_layers {}", config.sliding_window_first_layer));
}

std::vector<std::string> assumed_sizes(const ModelKeys& keys, const ModelConfig& config) {
    std::vector<std::string> assumed;
    const auto size = [&](const char* key, const std::optional<std::int64_t>& given,
                          std::int64_t used) {
        if (!given) assumed.push_back(fmt::format("{} {}", key, used));
    };
    size("num_hidden_layers", keys.num_hidden_layers, config.num_hidden_layers);
    size("hidden_size", keys.hidden_size, config.hidden_size);
    size("num_attention_heads", keys.num_attention_heads, config.num_attention_heads);
    if (!config.mla && config.num_attention_layers() > 0) {
        size("num_key_value_heads", keys.num_key_value_heads, config.num_key_value_heads);
        if (config.head_dim * config.num_attention_heads != config.hidden_size)
            size("head_dim", keys.head_dim, config.head_dim);
    }
    if (config.num_dense_layers() > 0)
        size("intermediate_size", keys.intermediate_size, config.intermediate_size);
    size("vocab_size", keys.vocab_size, config.vocab_size);
    if (!keys.n_ctx)
        size("max_position_embeddings", keys.max_position_embeddings,
             config.max_position_embeddings);
    if (!keys.tie_word_embeddings)
        assumed.push_back(fmt::format("tie_word_embeddings {}", config.tie_word_embeddings));
    assumed_windows(keys, config, assumed);
    return assumed;
}

}  // namespace

std::vector<std::string> assumptions(const ModelDescription& model) {
    if (model.format.empty()) return assumptions(model.keys, model.config);
    std::vector<std::string> assumed = model.notes;
    for (std::string& size : assumed_sizes(model.keys, model.config))
        assumed.push_back(std::move(size));
    return assumed;
}

std::vector<std::string> assumptions(const ModelKeys& keys, const ModelConfig& config) {
    std::vector<std::string> assumed = assumed_sizes(keys, config);
    if (!keys.model_type && !keys.arch_preset)
        assumed.insert(assumed.begin(), assumed_architecture(keys));
    return assumed;
}

std::vector<std::string> warnings_of(const ModelKeys& keys, const ModelConfig& config,
                                     std::span<const std::string> unknown,
                                     const ReadFormat& format) {
    std::vector<std::string> warnings;
    constexpr std::size_t kMostListed = 64;
    const UnknownKeys unknown_keys(unknown);
    std::vector<std::string_view> sizes;
    std::size_t not_listed = 0;
    for (const config::Member& member : format.object.as_object()) {
        const bool has_size = unknown_keys.contains(member.key) &&
                              says_another_model(member.key, member.value, config);
        if (has_size && sizes.size() < kMostListed) {
            sizes.push_back(member.key);
        } else if (has_size) {
            ++not_listed;
        }
    }
    if (!sizes.empty()) {
        warnings.push_back(
            fmt::format("keys that are not known here and have no effect: {}{}", join(sizes),
                        not_listed > 0 ? fmt::format(" and {} more", not_listed) : ""));
    }
    std::vector<std::string> unused = unused_keys(keys, config);
    for (const config::Member& member : format.foreign) {
        if (would_change_the_count(member, config)) unused.push_back(member.key);
    }
    if (!unused.empty()) {
        warnings.push_back(
            fmt::format("keys without effect on a {} model: {}", config.model_type,
                        join(std::vector<std::string_view>(unused.begin(), unused.end()))));
    }
    return warnings;
}

}  // namespace isoflop::model
