// The configurations that the project ships, and small made-up architectures that cover what they
// do not: tests run over both.
#pragma once

#include <algorithm>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/model/model_reader.hpp"
#include "source_dir.hpp"

namespace isoflop::test {

inline std::filesystem::path source_path(std::string_view relative) {
    return std::filesystem::path(ISOFLOP_SOURCE_DIR) / relative;
}

/// Files of a folder of the source tree with this extension, sorted.
inline std::vector<std::filesystem::path> files_in(std::string_view folder,
                                                   std::string_view extension) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(source_path(folder))) {
        if (entry.path().extension() == extension) files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end());
    return files;
}

inline std::vector<std::filesystem::path> shipped_models() {
    return files_in("configs/models", ".jsonc");
}
inline std::vector<std::filesystem::path> shipped_plans() {
    return files_in("configs/plan", ".jsonc");
}

struct NamedModel {
    std::string name;  ///< letters, digits and underscores
    model::ModelConfig config;
    model::ModelKeys keys;  ///< what `config` was made of
};

inline NamedModel named_model(std::string name, std::string_view json) {
    model::ModelDescription description = model::parse_model(std::string(json), name + ".json");
    return {std::move(name), std::move(description.config), std::move(description.keys)};
}

inline model::ModelConfig model_of(std::string_view json) {
    return model::parse_model(std::string(json), "test.json").config;
}

/// Shapes that hide mistakes badly: no two sizes are equal or multiples of each other where they
/// need not be.
inline std::vector<NamedModel> synthetic_models() {
    return {
        named_model("multi_head",
                    R"({"arch_preset": "llama", "num_hidden_layers": 3, "hidden_size": 96,
            "num_attention_heads": 6, "intermediate_size": 200, "vocab_size": 1001,
            "max_position_embeddings": 512, "tie_word_embeddings": false})"),
        named_model("grouped_queries",
                    R"({"arch_preset": "llama", "num_hidden_layers": 5, "hidden_size": 160,
            "num_attention_heads": 10, "num_key_value_heads": 2, "intermediate_size": 432, "vocab_size": 777,
            "max_position_embeddings": 512, "tie_word_embeddings": false})"),
        named_model("single_key_value_head",
                    R"({"arch_preset": "llama", "num_hidden_layers": 2, "hidden_size": 64,
            "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 24, "intermediate_size": 100,
            "vocab_size": 503, "max_position_embeddings": 256, "tie_word_embeddings": false})"),
        named_model("heads_of_80",
                    R"({"arch_preset": "llama", "num_hidden_layers": 3, "hidden_size": 240,
            "num_attention_heads": 3, "intermediate_size": 500, "vocab_size": 1009,
            "max_position_embeddings": 512, "tie_word_embeddings": false})"),
        named_model("tied_head",
                    R"({"arch_preset": "llama", "num_hidden_layers": 3, "hidden_size": 96,
            "num_attention_heads": 6, "intermediate_size": 200, "vocab_size": 1001,
            "max_position_embeddings": 512, "tie_word_embeddings": true})"),
        named_model("wide_heads_with_qk_norm",
                    R"({"arch_preset": "qwen3", "num_hidden_layers": 4, "hidden_size": 96,
            "num_attention_heads": 6, "num_key_value_heads": 3, "head_dim": 40, "intermediate_size": 260,
            "vocab_size": 901, "max_position_embeddings": 512})"),
        named_model("plain_ffn_with_biases",
                    R"({"arch_preset": "gpt2", "num_hidden_layers": 3, "hidden_size": 72,
            "num_attention_heads": 3, "vocab_size": 611, "max_position_embeddings": 300, "bias": true,
            "normalization": "layernorm"})"),
        named_model("sliding_window",
                    R"({"model_type": "mistral", "num_hidden_layers": 6, "hidden_size": 128,
            "num_attention_heads": 8, "num_key_value_heads": 4, "intermediate_size": 300, "vocab_size": 555,
            "max_position_embeddings": 1024, "sliding_window": 60, "tie_word_embeddings": false})"),
        named_model("alternating_windows",
                    R"({"model_type": "gemma2", "num_hidden_layers": 5, "hidden_size": 96,
            "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "intermediate_size": 280,
            "vocab_size": 640, "max_position_embeddings": 1024, "sliding_window": 50})"),
        named_model("parallel_residual",
                    R"({"model_type": "gpt_neox", "num_hidden_layers": 3, "hidden_size": 80,
            "num_attention_heads": 5, "intermediate_size": 320, "vocab_size": 700,
            "max_position_embeddings": 512})"),
        named_model("biases_on_queries_keys_values",
                    R"({"model_type": "qwen2", "num_hidden_layers": 3,
            "hidden_size": 96, "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 250,
            "vocab_size": 811, "max_position_embeddings": 512, "tie_word_embeddings": true})"),
        named_model("sequential_neox",
                    R"({"model_type": "gpt_neox", "num_hidden_layers": 3, "hidden_size": 80,
            "num_attention_heads": 5, "intermediate_size": 320, "vocab_size": 700, "rotary_pct": 0.25,
            "use_parallel_residual": false, "max_position_embeddings": 512})"),
        named_model("alibi",
                    R"({"model_type": "bloom", "n_layer": 3, "hidden_size": 80, "n_head": 5,
            "vocab_size": 700})"),
        named_model("fused_projections",
                    R"({"model_type": "phi3", "num_hidden_layers": 3, "hidden_size": 96,
            "num_attention_heads": 6, "num_key_value_heads": 2, "intermediate_size": 250, "vocab_size": 811,
            "max_position_embeddings": 512})"),
        named_model("gemma", R"({"model_type": "gemma", "num_hidden_layers": 3, "hidden_size": 96,
            "num_attention_heads": 4, "num_key_value_heads": 1, "head_dim": 32, "intermediate_size": 250,
            "vocab_size": 811, "max_position_embeddings": 512})"),
        named_model("full_width_qk_norm",
                    R"({"model_type": "olmo2", "num_hidden_layers": 3, "hidden_size": 96,
            "num_attention_heads": 6, "num_key_value_heads": 6, "intermediate_size": 250, "vocab_size": 811,
            "max_position_embeddings": 512, "tie_word_embeddings": false})"),
        named_model("experts",
                    R"({"model_type": "mixtral", "num_hidden_layers": 4, "hidden_size": 96,
            "num_attention_heads": 6, "num_key_value_heads": 3, "intermediate_size": 180, "vocab_size": 700,
            "num_local_experts": 5, "num_experts_per_tok": 2, "max_position_embeddings": 512,
            "tie_word_embeddings": false})"),
        named_model("experts_in_some_layers",
                    R"({"model_type": "qwen3_moe", "num_hidden_layers": 7, "hidden_size": 96,
            "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 24, "intermediate_size": 280,
            "moe_intermediate_size": 52, "num_experts": 9, "num_experts_per_tok": 3, "decoder_sparse_step": 2,
            "mlp_only_layers": [3], "vocab_size": 650, "max_position_embeddings": 512})"),
        named_model("latent_attention",
                    R"({"model_type": "deepseek_v3", "num_hidden_layers": 5, "hidden_size": 112,
            "num_attention_heads": 6, "num_key_value_heads": 6, "q_lora_rank": 48, "kv_lora_rank": 40,
            "qk_nope_head_dim": 20, "qk_rope_head_dim": 12, "v_head_dim": 28, "intermediate_size": 300,
            "moe_intermediate_size": 44, "n_routed_experts": 10, "num_experts_per_tok": 3,
            "n_shared_experts": 2, "first_k_dense_replace": 2, "moe_layer_freq": 1, "vocab_size": 720,
            "max_position_embeddings": 512, "n_group": 1, "topk_group": 1})"),
        named_model("latent_attention_with_expert_biases",
                    R"({"model_type": "deepseek_v2", "num_hidden_layers": 4,
            "hidden_size": 112, "num_attention_heads": 6, "num_key_value_heads": 6, "q_lora_rank": null,
            "kv_lora_rank": 40, "qk_nope_head_dim": 20, "qk_rope_head_dim": 12, "v_head_dim": 28,
            "intermediate_size": 300, "moe_intermediate_size": 44, "n_routed_experts": 6,
            "num_experts_per_tok": 2, "n_shared_experts": 1, "first_k_dense_replace": 1, "moe_layer_freq": 1,
            "mlp_bias": true, "vocab_size": 720, "max_position_embeddings": 512})"),
    };
}

/// All shipped models and all synthetic ones.
inline std::vector<NamedModel> all_models() {
    std::vector<NamedModel> models = synthetic_models();
    for (const auto& path : shipped_models()) {
        model::ModelDescription description = model::read_model_file(path);
        models.push_back(
            {path.stem().string(), std::move(description.config), std::move(description.keys)});
    }
    return models;
}

/// For INSTANTIATE_TEST_SUITE_P.
/// The synthetic model of that name.
inline NamedModel synthetic_model(std::string_view name) {
    for (const NamedModel& named : synthetic_models()) {
        if (named.name == name) return named;
    }
    throw std::invalid_argument(std::string(name));
}

inline constexpr auto model_name = [](const auto& info) { return info.param.name; };

inline std::ostream& operator<<(std::ostream& out, const NamedModel& named) {
    return out << named.name;
}

}  // namespace isoflop::test
