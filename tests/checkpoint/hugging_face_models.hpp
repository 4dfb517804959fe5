// Small models of every class that is written for transformers, with values that the name of a
// tensor determines, so that they can be checked by name.
#pragma once

#include <algorithm>
#include <cstdint>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "isoflop/base/checksum.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::checkpoint::test {

struct ExportCase {
    std::string name;
    std::string expected_class;
    std::string json;  ///< one of our model files
};

inline std::vector<ExportCase> export_cases() {
    return {
        {"llama", "LlamaForCausalLM",
         R"({"arch_preset": "llama", "n_layer": 3, "n_embd": 48, "n_head": 4,
            "intermediate_size": 100, "vocab_size": 261, "block_size": 64, "dropout": 0.1})"},
        {"llama_grouped_tied", "LlamaForCausalLM",
         R"({"arch_preset": "llama", "n_layer": 2, "n_embd": 48,
            "n_head": 6, "n_kv_head": 2, "head_dim": 16, "intermediate_size": 80, "vocab_size": 97, "block_size": 32,
            "weight_tying": true, "rope_theta": 500000, "norm_eps": 1e-6,
            "rope_scaling": {"rope_type": "llama3", "factor": 8, "low_freq_factor": 1, "high_freq_factor": 4,
                             "original_max_position_embeddings": 16}})"},
        {"llama_biased_relu", "LlamaForCausalLM",
         R"({"arch_preset": "custom", "n_layer": 2, "n_embd": 32,
            "n_head": 4, "intermediate_size": 72, "vocab_size": 61, "block_size": 32, "bias": true,
            "activation": "relu"})"},
        {"llama_window", "MistralForCausalLM",
         R"({"arch_preset": "llama", "n_layer": 2, "n_embd": 32, "n_head": 4,
            "intermediate_size": 72, "vocab_size": 61, "block_size": 64, "sliding_window": 8})"},
        {"qwen3", "Qwen3ForCausalLM",
         R"({"arch_preset": "qwen3", "n_layer": 3, "n_embd": 40, "n_head": 4,
            "n_kv_head": 2, "head_dim": 16, "intermediate_size": 96, "vocab_size": 113, "block_size": 64})"},
        {"qwen3_untied_biased", "Qwen3ForCausalLM",
         R"({"arch_preset": "qwen3", "n_layer": 2, "n_embd": 40,
            "n_head": 4, "n_kv_head": 4, "head_dim": 10, "intermediate_size": 96, "vocab_size": 113,
            "block_size": 64, "weight_tying": false, "attention_bias": true})"},
        {"gpt2", "GPT2LMHeadModel",
         R"({"arch_preset": "gpt2", "n_layer": 3, "n_embd": 48, "n_head": 4,
            "vocab_size": 257, "block_size": 64})"},
        {"gpt2_biased", "GPT2LMHeadModel",
         R"({"arch_preset": "gpt2", "n_layer": 2, "n_embd": 36, "n_head": 3,
            "vocab_size": 77, "block_size": 32, "bias": true, "normalization": "layernorm",
            "activation": "gelu_tanh", "intermediate_size": 100})"},
        {"gpt2_untied_leaky", "GPT2LMHeadModel",
         R"({"arch_preset": "gpt2", "n_layer": 2, "n_embd": 32, "n_head": 2,
            "vocab_size": 55, "block_size": 32, "weight_tying": false, "activation": "leaky_relu"})"},
    };
}

inline model::ModelConfig config_of(const std::string& json) {
    return model::parse_model(json, "test.json").config;
}

inline std::vector<float> values_of_name(const std::string& name, std::int64_t elements) {
    std::mt19937 generator(crc32c(name));
    std::normal_distribution<float> normal(0.0F, 0.1F);
    std::vector<float> values(static_cast<std::size_t>(elements));
    for (float& value : values) value = normal(generator);
    return values;
}

/// Reads those values for the tensors of the model; any other name is a std::logic_error.
inline TensorReader reader_by_name(const model::ModelConfig& config) {
    return [config](const std::string& wanted, std::int64_t first, std::span<float> values) {
        bool found = false;
        model::parameter_layout(config).for_each(
            [&](const std::string& name, const model::TensorSpec& tensor) {
                if (name != wanted) return;
                found = true;
                const std::vector<float> all = values_of_name(name, tensor.elements());
                for (std::size_t i = 0; i < values.size(); ++i)
                    values[i] = all.at(static_cast<std::size_t>(first) + i);
            });
        if (!found) throw std::logic_error("no tensor " + wanted);
    };
}

/// Names of tensors whose imported values differ from those that were exported: none, or zeros
/// where `original` has no such tensor.
inline std::vector<std::string> differing_tensors(const HuggingFaceModel& imported,
                                                  const model::ModelConfig& original) {
    std::vector<std::string> original_names;
    model::parameter_layout(original).for_each(
        [&](const std::string& name, const model::TensorSpec&) { original_names.push_back(name); });
    std::vector<std::string> differing;
    model::parameter_layout(imported.config())
        .for_each([&](const std::string& name, const model::TensorSpec& tensor) {
            const bool is_original = std::find(original_names.begin(), original_names.end(),
                                               name) != original_names.end();
            const std::vector<float> expected =
                is_original ? values_of_name(name, tensor.elements())
                            : std::vector<float>(static_cast<std::size_t>(tensor.elements()));
            std::vector<float> found(expected.size());
            imported.read(name, 0, found);
            if (found != expected) differing.push_back(name);
            std::erase(original_names, name);
        });
    differing.insert(differing.end(), original_names.begin(), original_names.end());
    return differing;
}

}  // namespace isoflop::checkpoint::test
