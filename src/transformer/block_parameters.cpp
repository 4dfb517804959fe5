#include "block_parameters.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <stdexcept>

#include "isoflop/base/error.hpp"
#include "isoflop/model/trainable.hpp"

namespace isoflop::transformer {
namespace {

/// Up to three tensors that one product reads as one matrix; unused names are empty.
using FusedNames = std::array<std::string_view, 3>;

/// Names of a block's tensors in one naming scheme; the defaults are LLaMA's. The norms are those
/// of a block that normalizes the inputs of attention and FFN.
struct BlockNames {
    std::string_view attention_norm = "input_layernorm";
    std::string_view ffn_norm = "post_attention_layernorm";
    FusedNames qkv = {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"};
    std::string_view attention_output = "self_attn.o_proj";
    FusedNames ffn_in = {"mlp.gate_proj", "mlp.up_proj"};
    std::string_view ffn_out = "mlp.down_proj";
};

class SlotFinder {
public:
    SlotFinder(const cost::StateLayout& layout, std::size_t unit) : layout_(layout), unit_(unit) {}

    /// `name` + suffix, or a slot that does not exist.
    [[nodiscard]] Slot find(std::string_view name, std::string_view suffix) const {
        std::string full(name);
        full.append(suffix);
        const cost::StateTensor* tensor = layout_.find(unit_, full);
        if (tensor == nullptr) return {};
        return {static_cast<std::int64_t>(tensor->offset - layout_.units[unit_].offset),
                tensor->spec.shape[0], tensor->spec.shape[1]};
    }

    /// Tensors that the layout placed directly behind each other, as one.
    [[nodiscard]] Slot fused(const FusedNames& names, std::string_view suffix) const {
        Slot whole;
        for (const std::string_view name : names) {
            if (name.empty()) continue;
            const Slot part = find(name, suffix);
            if (!part.exists()) continue;
            if (!whole.exists()) {
                whole = part;
                continue;
            }
            const std::int64_t width = std::max<std::int64_t>(whole.columns, 1);
            if (part.offset != whole.offset + whole.rows * width || part.columns != whole.columns) {
                throw std::logic_error("tensors of a fused product are not adjacent");
            }
            whole.rows += part.rows;
        }
        return whole;
    }

    /// Of one component of the model: a matrix, or the `index`-th vector.
    [[nodiscard]] Slot of_component(model::Component component, bool is_matrix,
                                    std::size_t index = 0) const {
        for (const cost::StateTensor& tensor : layout_.tensors) {
            if (tensor.unit != unit_ || tensor.spec.component != component ||
                tensor.spec.is_matrix() != is_matrix)
                continue;
            if (index-- > 0) continue;
            return {static_cast<std::int64_t>(tensor.offset - layout_.units[unit_].offset),
                    tensor.spec.shape[0], tensor.spec.shape[1]};
        }
        return {};
    }

    [[nodiscard]] NormSlots norm(std::string_view name) const {
        return {find(name, ".weight"), find(name, ".bias")};
    }

private:
    const cost::StateLayout& layout_;
    std::size_t unit_;
};

BlockNames block_names(const model::ModelConfig& config) {
    using model::TensorNaming;
    switch (config.naming) {
        case TensorNaming::gpt2:
            return {"ln_1", "ln_2", {"attn.c_attn"}, "attn.c_proj", {"mlp.c_fc"}, "mlp.c_proj"};
        case TensorNaming::gpt_neox:
            return {.qkv = {"attention.query_key_value"},
                    .attention_output = "attention.dense",
                    .ffn_in = {"mlp.dense_h_to_4h"},
                    .ffn_out = "mlp.dense_4h_to_h"};
        case TensorNaming::phi3:
            return {.qkv = {"self_attn.qkv_proj"}, .ffn_in = {"mlp.gate_up_proj"}};
        case TensorNaming::phi:
            return {
                .attention_output = "self_attn.dense", .ffn_in = {"mlp.fc1"}, .ffn_out = "mlp.fc2"};
        case TensorNaming::starcoder2: return {.ffn_in = {"mlp.c_fc"}, .ffn_out = "mlp.c_proj"};
        case TensorNaming::glm4: return {.ffn_in = {"mlp.gate_up_proj"}};
        case TensorNaming::gptj:
            return {.attention_norm = "ln_1",
                    .qkv = {"attn.q_proj", "attn.k_proj", "attn.v_proj"},
                    .attention_output = "attn.out_proj",
                    .ffn_in = {"mlp.fc_in"},
                    .ffn_out = "mlp.fc_out"};
        default: return {};
    }
}

/// Norms: LLaMA's names say where a norm of a block that normalizes outputs stands.
void bind_norms(const model::ModelConfig& config, const BlockNames& names, const SlotFinder& finder,
                BlockSlots& slots) {
    constexpr std::string_view after_attention = "post_attention_layernorm";
    constexpr std::string_view after_ffn = "post_feedforward_layernorm";
    switch (config.norm_position) {
        case model::NormPosition::pre:
            slots.attention_norm = finder.norm(names.attention_norm);
            slots.ffn_norm = finder.norm(names.ffn_norm);
            return;
        case model::NormPosition::post:
            slots.attention_norm = slots.attention_branch_norm = finder.norm(after_attention);
            slots.ffn_norm = slots.ffn_branch_norm = finder.norm(after_ffn);
            return;
        case model::NormPosition::sandwich:
            slots.attention_norm = finder.norm(names.attention_norm);
            if (config.naming == model::TensorNaming::glm4) {
                slots.ffn_norm = finder.norm(after_attention);
                slots.attention_branch_norm = finder.norm("post_self_attn_layernorm");
                slots.ffn_branch_norm = finder.norm("post_mlp_layernorm");
                return;
            }
            slots.ffn_norm = finder.norm("pre_feedforward_layernorm");
            slots.attention_branch_norm = finder.norm(after_attention);
            slots.ffn_branch_norm = finder.norm(after_ffn);
            return;
    }
}

BlockSlots bind_block(const model::ModelConfig& config, const cost::StateLayout& layout) {
    const SlotFinder finder(layout, 1);
    const BlockNames names = block_names(config);
    const auto order = config.naming == model::TensorNaming::gpt2 ? ops::WeightOrder::in_out
                                                                  : ops::WeightOrder::out_in;
    const auto linear = [&](std::string_view product, const FusedNames& parts) {
        return LinearSlots{product, finder.fused(parts, ".weight"), finder.fused(parts, ".bias"),
                           order};
    };
    BlockSlots slots;
    bind_norms(config, names, finder, slots);
    slots.qkv = linear("attention.qkv_proj", names.qkv);
    slots.attention_output = linear("attention.o_proj", FusedNames{names.attention_output});
    slots.ffn_in = linear(config.is_gated() ? "ffn.gate_up_proj" : "ffn.up_proj", names.ffn_in);
    slots.ffn_out = linear("ffn.down_proj", FusedNames{names.ffn_out});
    slots.query_norm = finder.find("self_attn.q_norm", ".weight");
    slots.key_norm = finder.find("self_attn.k_norm", ".weight");
    return slots;
}

}  // namespace

TensorView Slot::in(const TensorView& unit) const {
    if (!exists()) return {};
    auto* data = static_cast<std::byte*>(unit.data()) +
                 static_cast<std::uint64_t>(offset) * size_in_bytes(unit.dtype());
    if (columns == 0) return {data, unit.dtype(), {rows}};
    return {data, unit.dtype(), {rows, columns}};
}

ops::NormParameters NormSlots::in(const TensorView& unit, const model::ModelConfig& config) const {
    return {config.normalization, weight.in(unit), bias.in(unit), config.norm_eps,
            config.norms_add_one};
}

ops::Linear LinearSlots::in(const TensorView& unit) const {
    return {product, weight.in(unit), bias.in(unit), order};
}

ModelSlots bind_slots(const model::ModelConfig& config, const cost::StateLayout& layout,
                      std::int64_t sequence_length) {
    if (const std::string reason = model::untrainable_reason(config, sequence_length);
        !reason.empty()) {
        throw ConfigError("the trainer does not run " + reason);
    }
    using model::Component;
    const SlotFinder embedding(layout, 0);
    const SlotFinder head(layout, layout.units.size() - 1);
    ModelSlots slots;
    slots.token_embedding = embedding.of_component(Component::token_embedding, true);
    slots.position_embedding = embedding.of_component(Component::position_embedding, true);
    slots.block = bind_block(config, layout);
    slots.final_norm = {head.of_component(Component::norm, false),
                        head.of_component(Component::norm, false, 1)};
    slots.lm_head = head.of_component(Component::lm_head, true);
    slots.lm_head_bias = head.of_component(Component::lm_head, false);
    return slots;
}

}  // namespace isoflop::transformer
