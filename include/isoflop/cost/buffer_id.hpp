// The buffers that a memory plan can have: one table gives each its name in reports, its category
// and what its elements are. State that comes in units (weights, gradients, moments) has one id;
// the plan then lists one buffer for each kind of unit, which lie behind each other in model order.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <optional>
#include <string_view>

#include "isoflop/cost/element_kind.hpp"
#include "isoflop/cost/execution.hpp"

namespace isoflop::cost {

enum class MemoryCategory {
    weights,
    master_weights,
    gradients,
    optimizer_moments,
    activations,    ///< saved by forward for backward
    scratch,        ///< live within one block, forward or backward
    logits,         ///< LM head outputs and per-token losses
    communication,  ///< gathered weights and gradients in flight
    inputs,         ///< token ids and targets
    context,        ///< device context and library workspaces (an estimate; outside the arena)
};
inline constexpr std::size_t kMemoryCategoryCount = 10;

enum class BufferId : std::uint8_t {
    // Model state.
    weights,
    master_weights,
    gradients,
    pending_gradients,
    optimizer_state,  ///< one for each tensor of the optimizer, under its name
    // Communication.
    gathered_weights,
    gathered_state,
    unreduced_gradients,
    staging,
    // Inputs.
    token_ids,
    rope_table,
    // Saved activations of a block, in the order of forward.
    block_input,
    attention_norm_statistics,
    attention_normed,
    attention_q_latent,
    attention_q_latent_normed,
    attention_kv_latent,
    attention_kv_latent_normed,
    attention_q,
    attention_k,
    attention_v,
    attention_qkv,
    attention_qk_before_norm,
    attention_qk_norm_statistics,
    attention_output,
    attention_probabilities,
    attention_lse,
    attention_gate,
    attention_branch,
    attention_branch_norm_statistics,
    recurrence_inputs,
    recurrence_convolved,
    recurrence_time_step,
    recurrence_states,
    recurrence_output,
    recurrence_gated,
    ffn_input,
    ffn_norm_statistics,
    ffn_normed,
    ffn_gate_up,
    ffn_up,
    ffn_activated,
    ffn_branch,
    ffn_branch_norm_statistics,
    router_probabilities,
    router_choices,
    experts_input,
    experts_hidden,
    experts_output,
    shared_experts_hidden,
    // After the blocks.
    final_norm_input,
    final_norm_output,
    final_norm_statistics,
    logits,
    logits_capped,
    losses,
    // Scratch of forward.
    block_branch_output,
    // Gradients of activations.
    grad_residual,
    grad_branch,
    grad_parallel,
    grad_experts_hidden,
    grad_experts_rows,
    grad_ffn_activated,
    grad_ffn_gate_up,
    grad_attention_output,
    grad_attention_qkv,
    grad_attention_scores,
    grad_attention_row_sums,
    grad_attention_q_accumulator,
    grad_attention_workspace,
    grad_recurrence_output,
    grad_recurrence_inputs,
    grad_recurrence_states,
    // Outside the arena.
    device_context,
};

struct BufferKind {
    BufferId id;
    std::string_view name;
    MemoryCategory category;
    ElementKind elements;
};

namespace detail {
using enum MemoryCategory;
using Is = ElementKind;
// clang-format off
inline constexpr auto kBufferKinds = std::to_array<BufferKind>({
    {BufferId::weights,                      "weights",                      weights,           Is::storage},
    {BufferId::master_weights,               "master_weights",               master_weights,    Is::float32},
    {BufferId::gradients,                    "gradients",                    gradients,         Is::gradient},
    {BufferId::pending_gradients,            "pending_gradients",            gradients,         Is::gradient},
    {BufferId::optimizer_state,              "optimizer_state",              optimizer_moments, Is::bytes},
    {BufferId::gathered_weights,             "gathered_weights",             communication,     Is::storage},
    {BufferId::gathered_state,               "gathered_state",               communication,     Is::statistics},
    {BufferId::unreduced_gradients,          "unreduced_gradients",          communication,     Is::gradient},
    {BufferId::staging,                      "staging",                      communication,     Is::bytes},
    {BufferId::token_ids,                    "token_ids",                    inputs,            Is::token_ids},
    {BufferId::rope_table,                   "rope.table",                   inputs,            Is::float32},
    {BufferId::block_input,                  "block.input",                  activations,       Is::storage},
    {BufferId::attention_norm_statistics,    "attention.norm_statistics",    activations,       Is::statistics},
    {BufferId::attention_normed,             "attention.normed",             activations,       Is::storage},
    {BufferId::attention_q_latent,           "attention.q_latent",           activations,       Is::storage},
    {BufferId::attention_q_latent_normed,    "attention.q_latent_normed",    activations,       Is::storage},
    {BufferId::attention_kv_latent,          "attention.kv_latent",          activations,       Is::storage},
    {BufferId::attention_kv_latent_normed,   "attention.kv_latent_normed",   activations,       Is::storage},
    {BufferId::attention_q,                  "attention.q",                  activations,       Is::storage},
    {BufferId::attention_k,                  "attention.k",                  activations,       Is::storage},
    {BufferId::attention_v,                  "attention.v",                  activations,       Is::storage},
    {BufferId::attention_qkv,                "attention.qkv",                activations,       Is::storage},
    {BufferId::attention_qk_before_norm,     "attention.qk_before_norm",     activations,       Is::storage},
    {BufferId::attention_qk_norm_statistics, "attention.qk_norm_statistics", activations,       Is::statistics},
    {BufferId::attention_output,             "attention.output",             activations,       Is::storage},
    {BufferId::attention_probabilities,      "attention.probabilities",      activations,       Is::storage},
    {BufferId::attention_lse,                "attention.lse",                activations,       Is::statistics},
    {BufferId::attention_gate,               "attention.gate",               activations,       Is::storage},
    {BufferId::attention_branch,             "attention.branch",             activations,       Is::storage},
    {BufferId::attention_branch_norm_statistics, "attention.branch_norm_statistics", activations,   Is::statistics},
    {BufferId::recurrence_inputs,            "recurrence.inputs",            activations,       Is::storage},
    {BufferId::recurrence_convolved,         "recurrence.convolved",         activations,       Is::storage},
    {BufferId::recurrence_time_step,         "recurrence.time_step",         activations,       Is::storage},
    {BufferId::recurrence_states,            "recurrence.states",            activations,       Is::statistics},
    {BufferId::recurrence_output,            "recurrence.output",            activations,       Is::storage},
    {BufferId::recurrence_gated,             "recurrence.gated",             activations,       Is::storage},
    {BufferId::ffn_input,                    "ffn.input",                    activations,       Is::storage},
    {BufferId::ffn_norm_statistics,          "ffn.norm_statistics",          activations,       Is::statistics},
    {BufferId::ffn_normed,                   "ffn.normed",                   activations,       Is::storage},
    {BufferId::ffn_gate_up,                  "ffn.gate_up",                  activations,       Is::storage},
    {BufferId::ffn_up,                       "ffn.up",                       activations,       Is::storage},
    {BufferId::ffn_activated,                "ffn.activated",                activations,       Is::storage},
    {BufferId::ffn_branch,                   "ffn.branch",                   activations,       Is::storage},
    {BufferId::ffn_branch_norm_statistics,   "ffn.branch_norm_statistics",   activations,       Is::statistics},
    {BufferId::router_probabilities,         "router.probabilities",         activations,       Is::statistics},
    {BufferId::router_choices,               "router.choices",               activations,       Is::statistics},
    {BufferId::experts_input,                "experts.input",                activations,       Is::storage},
    {BufferId::experts_hidden,               "experts.hidden",               activations,       Is::storage},
    {BufferId::experts_output,               "experts.output",               activations,       Is::storage},
    {BufferId::shared_experts_hidden,        "shared_experts.hidden",        activations,       Is::storage},
    {BufferId::final_norm_input,             "final_norm.input",             activations,       Is::storage},
    {BufferId::final_norm_output,            "final_norm.output",            activations,       Is::storage},
    {BufferId::final_norm_statistics,        "final_norm.statistics",        activations,       Is::statistics},
    {BufferId::logits,                       "logits",                       logits,            Is::storage},
    {BufferId::logits_capped,                "logits.capped",                logits,            Is::storage},
    {BufferId::losses,                       "losses",                       logits,            Is::statistics},
    {BufferId::block_branch_output,          "block.branch_output",          scratch,           Is::storage},
    {BufferId::grad_residual,                "grad.residual",                scratch,           Is::storage},
    {BufferId::grad_branch,                  "grad.branch",                  scratch,           Is::storage},
    {BufferId::grad_parallel,                "grad.parallel",                scratch,           Is::storage},
    {BufferId::grad_experts_hidden,          "grad.experts.hidden",          scratch,           Is::storage},
    {BufferId::grad_experts_rows,            "grad.experts.rows",            scratch,           Is::storage},
    {BufferId::grad_ffn_activated,           "grad.ffn.activated",           scratch,           Is::storage},
    {BufferId::grad_ffn_gate_up,             "grad.ffn.gate_up",             scratch,           Is::storage},
    {BufferId::grad_attention_output,        "grad.attention.output",        scratch,           Is::storage},
    {BufferId::grad_attention_qkv,           "grad.attention.qkv",           scratch,           Is::storage},
    {BufferId::grad_attention_scores,        "grad.attention.scores",        scratch,           Is::storage},
    {BufferId::grad_attention_row_sums,      "grad.attention.row_sums",      scratch,           Is::statistics},
    {BufferId::grad_attention_q_accumulator, "grad.attention.q_accumulator", scratch,           Is::statistics},
    {BufferId::grad_attention_workspace,     "grad.attention.workspace",     scratch,           Is::bytes},
    {BufferId::grad_recurrence_output,       "grad.recurrence.output",       scratch,           Is::storage},
    {BufferId::grad_recurrence_inputs,       "grad.recurrence.inputs",       scratch,           Is::storage},
    {BufferId::grad_recurrence_states,       "grad.recurrence.states",       scratch,           Is::statistics},
    {BufferId::device_context,               "device context (estimate)",    context,           Is::bytes},
});
// clang-format on
}  // namespace detail

inline constexpr const auto& kBufferKinds = detail::kBufferKinds;

/// The table is in the order of the enumeration.
static_assert([] {
    std::size_t index = 0;
    return std::all_of(kBufferKinds.begin(), kBufferKinds.end(), [&](const BufferKind& kind) {
        return static_cast<std::size_t>(kind.id) == index++;
    });
}());
static_assert(kBufferKinds.back().id == BufferId::device_context, "the last id has no entry");

[[nodiscard]] constexpr const BufferKind& buffer_kind(BufferId id) {
    return kBufferKinds.at(static_cast<std::size_t>(id));
}

/// nullopt for what no tensor holds.
[[nodiscard]] inline std::optional<DType> element_dtype(ElementKind kind,
                                                        const Execution& execution) {
    switch (kind) {
        case ElementKind::storage: return execution.storage_dtype();
        case ElementKind::gradient:
            return execution.gradient_dtype.value_or(execution.storage_dtype());
        case ElementKind::statistics: return execution.statistics_dtype();
        case ElementKind::float32: return DType::float32;
        case ElementKind::token_ids:
        case ElementKind::bytes: return std::nullopt;
    }
    return std::nullopt;
}

[[nodiscard]] inline std::uint64_t element_bytes(ElementKind kind, const Execution& execution) {
    if (kind == ElementKind::bytes) return 1;
    if (kind == ElementKind::token_ids) return sizeof(std::int32_t);
    return size_in_bytes(*element_dtype(kind, execution));
}

}  // namespace isoflop::cost

namespace isoflop {
template <>
inline constexpr auto enum_names<cost::MemoryCategory> =
    std::to_array<EnumName<cost::MemoryCategory>>(
        {{cost::MemoryCategory::weights, "weights"},
         {cost::MemoryCategory::master_weights, "master_weights"},
         {cost::MemoryCategory::gradients, "gradients"},
         {cost::MemoryCategory::optimizer_moments, "optimizer_moments"},
         {cost::MemoryCategory::activations, "activations"},
         {cost::MemoryCategory::scratch, "scratch"},
         {cost::MemoryCategory::logits, "logits"},
         {cost::MemoryCategory::communication, "communication"},
         {cost::MemoryCategory::inputs, "inputs"},
         {cost::MemoryCategory::context, "context"}});
}  // namespace isoflop
