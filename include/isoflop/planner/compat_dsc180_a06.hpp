// The arithmetic of the Python system that this project replaces (dsc180_a06), kept apart so that
// its published figures stay reproducible to the digit. Nothing else in the project uses it.
// docs/differences.md explains each difference from the exact figures with a worked example; the
// notes below name them.
//
//   attention FLOPs   2 a S^2 H per layer: every head counts the full hidden width, a/2
//                     times too much
//   LM head           missing; S B H is added instead
//   memory            12 bytes per parameter (no fp32 master weights); activations 2 (4H + F) bytes
//                     per token and layer
//   GPU peaks         H100 bf16 495 and fp8 989 TFLOPS are halved twice; some fp32 entries are
//                     TF32; RTX 4090 is shader rate
#pragma once

#include <optional>
#include <string_view>

#include "isoflop/base/dtype.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/scaling_law/law.hpp"

namespace isoflop::planner::compat {

struct Memory {
    double model_gib = 0;
    double gradient_gib = 0;
    double optimizer_gib = 0;
    double activation_gib = 0;
    [[nodiscard]] double total_gib() const;
};

struct ModelAnalysis {
    double n_params = 0;
    std::optional<double> active_params;  ///< mixture of experts only
    double sequence_length = 0;
    double forward_flops = 0;  ///< of one sequence
    double forward_flops_per_token = 0;
    double training_flops_per_token = 0;  ///< 3 x forward
    double training_flops_1t_tokens = 0;
    Memory memory;
    double attention_flops =
        0;  ///< "component breakdown" of the earlier system, per token and layer
    double ffn_flops = 0;
    double attention_ffn_ratio = 0;
};

/// Forward analysis as the earlier system printed it: its DeepSeek formulas for models with latent
/// attention, its LLaMA formulas for everything else. `use_flash_attention` drops the score
/// matrices from the activations.
[[nodiscard]] ModelAnalysis analyze_model(const model::ModelConfig& config,
                                          bool use_flash_attention);

/// Peak in FLOP/s of the earlier system's table; nullopt when it has no such GPU or precision.
[[nodiscard]] std::optional<double> gpu_peak_flops(std::string_view gpu_type, DType dtype);

struct BackwardInput {
    double num_gpus = 0;
    double available_hours = 0;
    double peak_flops_per_gpu = 0;
    double expected_mfu = 0;
    double dataset_size = 0;  ///< tokens
    double max_epochs = 0;
    double sequence_length = 0;
    scaling_law::ChinchillaConstants law;
};

struct BackwardResult {
    double n_params = 0;
    double n_tokens = 0;
    double compute_flops = 0;       ///< budget
    double compute_used_flops = 0;  ///< less than the budget when the data run out
    double loss = 0;
    double epochs = 0;
    bool constrained = false;
    double training_flops_per_token = 0;
    double forward_flops_per_token = 0;
};

/// Its backward plan: always the LLaMA formulas, for every architecture.
[[nodiscard]] BackwardResult backward(const model::ModelConfig& config, const BackwardInput& input);

}  // namespace isoflop::planner::compat
