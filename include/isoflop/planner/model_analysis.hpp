// The forward analysis of one architecture: parameters, FLOPs and memory by component, and how they
// grow with the sequence length. Needs no hardware and no budget.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/recipe/attention_resolution.hpp"
#include "isoflop/recipe/memory_fit.hpp"

namespace isoflop::planner {

/// FLOPs and memory at one sequence length.
struct SequencePoint {
    std::int64_t sequence_length = 0;
    double forward_flops_per_token = 0;
    double attention_core_share = 0;            ///< of forward FLOPs
    std::uint64_t fused_activation_bytes = 0;   ///< saved activations of one sequence, flash_attn_2
    std::uint64_t manual_activation_bytes = 0;  ///< and with stored probabilities
};

/// Saved activations of one sequence under one choice of backend and recomputation.
struct ActivationChoice {
    cost::AttentionBackend attention_backend{};
    cost::Recompute recompute{};
    std::uint64_t bytes_per_layer = 0;
    std::uint64_t bytes = 0;  ///< all layers
    bool runs = true;         ///< false: this backend cannot run the model
};

/// A GPU whose memory a model is held against, and the keys that a change names.
struct GpuToFit {
    const hardware::Gpu* gpu = nullptr;
    recipe::KeysOf keys = recipe::KeysOf::plan;
};

struct ModelAnalysis {
    model::ModelConfig model;
    model::ParameterTotals parameters;
    cost::Execution execution;  ///< one rank, its micro-batch, the backend that runs, recomputation
    recipe::AttentionResolution attention;
    std::uint64_t forward_flops_per_sequence = 0;
    double forward_flops_per_token = 0;                                   ///< exact, full attention
    double training_flops_per_token = 0;                                  ///< 3 x forward
    std::array<std::uint64_t, cost::kFlopGroupCount> forward_by_group{};  ///< of one sequence
    std::array<double, cost::kConventionCount> convention_flops_per_token{};
    cost::ElementwiseWork elementwise;
    double training_flops_1t_tokens = 0;
    cost::MemoryPlan memory;
    std::string gpu_id = {};  ///< of a GpuToFit; empty without one
    std::optional<recipe::MemoryFit> fit = {};
    cost::MegatronEstimate megatron;
    std::vector<cost::Buffer> layer_buffers;  ///< saved activations of one layer
    std::vector<ActivationChoice> activation_choices;
    std::vector<SequencePoint> scaling;

    [[nodiscard]] double attention_core_share() const;
    /// Attention (projections and core) over feed-forward (dense and experts).
    [[nodiscard]] double attention_to_ffn_ratio() const;
};

/// `execution.sequence_length` 0 means the model's max_position_embeddings. `attention`: the
/// backend as a run decides it; without it the rule of plans decides on the execution's. Throws
/// ConfigError when no length is known or the counts would not fit in 63 bits.
[[nodiscard]] ModelAnalysis analyze_model(
    const model::ModelConfig& config, cost::Execution execution,
    const cost::OptimizerState& optimizer,
    const std::optional<recipe::AttentionResolution>& attention = {}, GpuToFit gpu = {});

}  // namespace isoflop::planner
