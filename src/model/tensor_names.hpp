// Names of tensors in checkpoints, one entry for each way of naming them. What an entry leaves out
// is as in LLaMA.
#pragma once

#include <algorithm>
#include <array>
#include <string_view>

#include "isoflop/model/model_config.hpp"
#include "layout_parts.hpp"

namespace isoflop::model::parts {

/// A string literal as a template argument, so that names can be joined while compiling.
template <std::size_t N>
struct Literal {
    // NOLINTNEXTLINE(google-explicit-constructor): literals convert
    constexpr Literal(const char (&text)[N]) { std::copy_n(text, N, characters.begin()); }
    std::array<char, N> characters{};
};

template <Literal first, Literal second>
struct Joined {
    static constexpr auto characters = [] {
        constexpr std::size_t length = first.characters.size() + second.characters.size() - 2;
        std::array<char, length> all{};
        auto* const middle =
            std::copy_n(first.characters.begin(), first.characters.size() - 1, all.begin());
        std::copy_n(second.characters.begin(), second.characters.size() - 1, middle);
        return all;
    }();
    static constexpr std::string_view text{characters.data(), characters.size()};
};

/// One feed-forward network. `gate_up` is used where it is named: gate and up in one tensor.
struct FfnNames {
    Names gate{};
    Names up{};
    Names gate_up{};
    Names down{};
};

/// "mlp.gate_proj.weight" and so on, after a prefix.
template <Literal prefix>
[[nodiscard]] constexpr FfnNames ffn_names() {
    return {
        .gate = {Joined<prefix, "gate_proj.weight">::text, Joined<prefix, "gate_proj.bias">::text},
        .up = {Joined<prefix, "up_proj.weight">::text, Joined<prefix, "up_proj.bias">::text},
        .gate_up = {},
        .down = {Joined<prefix, "down_proj.weight">::text, Joined<prefix, "down_proj.bias">::text}};
}

/// A mixer with a state.
struct RecurrenceNames {
    Names input{};         ///< in_proj; of a delta net: of queries, keys, values and the gate
    Names second_input{};  ///< of a delta net: of the decays; of lightning attention: the gate
    Names third_input{}, fourth_input{};  ///< where Recurrence::splits_inputs
    Names convolution{};
    std::string_view state_input{};  ///< x_proj of mamba
    Names time_step{};               ///< dt_proj of mamba
    std::string_view time_step_bias{};
    std::string_view decay{};
    std::string_view skip{};
    std::string_view norm{};
    std::string_view time_step_norm{}, input_norm{}, output_norm{};
    Names output{};
};

template <Literal prefix>
[[nodiscard]] constexpr RecurrenceNames recurrence_names() {
    return {
        .input = {Joined<prefix, "in_proj.weight">::text, Joined<prefix, "in_proj.bias">::text},
        .convolution = {Joined<prefix, "conv1d.weight">::text, Joined<prefix, "conv1d.bias">::text},
        .state_input = Joined<prefix, "x_proj.weight">::text,
        .time_step = {Joined<prefix, "dt_proj.weight">::text, Joined<prefix, "dt_proj.bias">::text},
        .time_step_bias = Joined<prefix, "dt_bias">::text,
        .decay = Joined<prefix, "A_log">::text,
        .skip = Joined<prefix, "D">::text,
        .norm = Joined<prefix, "norm.weight">::text,
        .time_step_norm = Joined<prefix, "dt_layernorm.weight">::text,
        .input_norm = Joined<prefix, "b_layernorm.weight">::text,
        .output_norm = Joined<prefix, "c_layernorm.weight">::text,
        .output = {Joined<prefix, "out_proj.weight">::text, Joined<prefix, "out_proj.bias">::text}};
}

struct TensorNames {
    // Ends.
    std::string_view embedding = "model.embed_tokens.weight";
    std::string_view positions = "model.embed_positions.weight";
    Names final_norm = {"model.norm.weight", "model.norm.bias"};
    Names head = {"lm_head.weight", "lm_head.bias"};
    std::string_view prefix = "model.layers.";
    // Attention; `qkv` is used where it is named.
    Names qkv{};
    Names q = {"self_attn.q_proj.weight", "self_attn.q_proj.bias"};
    Names k = {"self_attn.k_proj.weight", "self_attn.k_proj.bias"};
    Names v = {"self_attn.v_proj.weight", "self_attn.v_proj.bias"};
    Names o = {"self_attn.o_proj.weight", "self_attn.o_proj.bias"};
    Names q_norm = {"self_attn.q_norm.weight", "self_attn.q_norm.bias"};
    Names k_norm = {"self_attn.k_norm.weight", "self_attn.k_norm.bias"};
    std::string_view sinks = "self_attn.sinks";
    // Norms: before the mixer, after it, before the feed-forward network, after it. In pre-norm
    // blocks of LLaMA the third has the name of the second.
    Names first_norm = {"input_layernorm.weight", "input_layernorm.bias"};
    Names mixer_norm = {"post_attention_layernorm.weight", "post_attention_layernorm.bias"};
    Names second_norm = {"post_attention_layernorm.weight", "post_attention_layernorm.bias"};
    Names sandwich_second_norm = {"pre_feedforward_layernorm.weight",
                                  "pre_feedforward_layernorm.bias"};
    Names ffn_norm = {"post_feedforward_layernorm.weight", "post_feedforward_layernorm.bias"};
    // Feed-forward networks; "{e}" is the expert. Experts whose names lack it are stacked in one
    // tensor, with inputs before outputs where `experts_are_transposed`.
    FfnNames dense = ffn_names<"mlp.">();
    Names router = {"mlp.gate.weight", "mlp.gate.bias"};
    std::string_view score_correction = "mlp.gate.e_score_correction_bias";
    FfnNames expert = ffn_names<"mlp.experts.{e}.">();
    bool experts_are_transposed = false;
    Names latent_into{}, latent_out{};  ///< where MixtureOfExperts::latent_size
    FfnNames shared = ffn_names<"mlp.shared_experts.">();
    std::string_view shared_gate{};
    RecurrenceNames recurrence = recurrence_names<"mamba.">();
};

[[nodiscard]] const TensorNames& names_of(TensorNaming naming);

}  // namespace isoflop::model::parts
