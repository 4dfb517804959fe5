// Internal to `validate`: the groups of cases, and the published models that several of them speak
// of.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/dtype.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/validation/validation.hpp"

namespace isoflop::validation {

using Cases = std::vector<ValidationCase>;

void add_parameter_cases(Cases& cases);
void add_flop_cases(Cases& cases);
void add_utilisation_cases(Cases& cases);
void add_law_cases(Cases& cases);
void add_compat_cases(Cases& cases);

/// An architecture with its parameters counted.
struct CountedModel {
    model::ModelConfig config;
    model::ParameterTotals totals;
};
[[nodiscard]] CountedModel counted(const model::ModelConfig& config);

/// GPT-2 and GPT-3: learned positions, plain feed-forward of width 4 H, biases, tied embeddings.
struct GptShape {
    std::int64_t layers = 0;
    std::int64_t hidden = 0;
    std::int64_t heads = 0;
    std::int64_t vocabulary = 0;
    std::int64_t sequence_length = 0;  ///< as many learned positions
};
[[nodiscard]] model::ModelConfig gpt_config(const GptShape& shape);

[[nodiscard]] model::ModelConfig llama2_13b_config();
[[nodiscard]] model::ModelConfig llama2_70b_config();
[[nodiscard]] model::ModelConfig llama3_8b_config();
[[nodiscard]] model::ModelConfig llama3_70b_config();
[[nodiscard]] model::ModelConfig llama3_405b_config();
[[nodiscard]] model::ModelConfig qwen3_30b_a3b_config();
[[nodiscard]] model::ModelConfig qwen3_235b_a22b_config();
[[nodiscard]] model::ModelConfig
deepseek_v3_config();  ///< without the multi-token prediction module
[[nodiscard]] model::ModelConfig palm_540b_config();

/// Training FLOPs per token, no recomputation.
[[nodiscard]] double training_flops(const CountedModel& model, std::int64_t sequence_length,
                                    cost::Convention convention);

/// Forward FLOPs per token of every layer, without the LM head: what full activation recomputation
/// adds.
[[nodiscard]] double forward_layer_flops(const model::ModelConfig& config,
                                         std::int64_t sequence_length);

/// Forward FLOPs per token of Q K^T and P V: what recomputing attention adds.
[[nodiscard]] double forward_attention_core_flops(const model::ModelConfig& config,
                                                  std::int64_t sequence_length);

/// Dense peak of a row of the built-in accelerator table.
[[nodiscard]] double table_peak_flops(std::string_view gpu, DType dtype);

}  // namespace isoflop::validation
