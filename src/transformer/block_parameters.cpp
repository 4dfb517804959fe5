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

/// Names of a block's tensors in one naming scheme.
struct BlockNames {
    std::string_view attention_norm;
    std::string_view ffn_norm;
    FusedNames qkv;
    std::string_view attention_output;
    FusedNames ffn_in;
    std::string_view ffn_out;
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

    [[nodiscard]] NormSlots norm(std::string_view name) const {
        return {find(name, ".weight"), find(name, ".bias")};
    }

private:
    const cost::StateLayout& layout_;
    std::size_t unit_;
};

BlockNames block_names(const model::ModelConfig& config) {
    if (config.naming == model::TensorNaming::gpt2) {
        return {"ln_1", "ln_2", {"attn.c_attn"}, "attn.c_proj", {"mlp.c_fc"}, "mlp.c_proj"};
    }
    const bool pre = config.norm_position == model::NormPosition::pre;
    return {pre ? "input_layernorm" : "post_attention_layernorm",
            pre ? "post_attention_layernorm" : "post_feedforward_layernorm",
            {"self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"},
            "self_attn.o_proj",
            {"mlp.gate_proj", "mlp.up_proj"},
            "mlp.down_proj"};
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
    slots.attention_norm = finder.norm(names.attention_norm);
    slots.ffn_norm = finder.norm(names.ffn_norm);
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
    return {config.normalization, weight.in(unit), bias.in(unit), config.norm_eps};
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
    const bool gpt2 = config.naming == model::TensorNaming::gpt2;
    const SlotFinder embedding(layout, 0);
    const SlotFinder head(layout, layout.units.size() - 1);
    ModelSlots slots;
    slots.token_embedding =
        embedding.find(gpt2 ? "transformer.wte" : "model.embed_tokens", ".weight");
    slots.position_embedding =
        embedding.find(gpt2 ? "transformer.wpe" : "model.embed_positions", ".weight");
    slots.block = bind_block(config, layout);
    slots.final_norm = head.norm(gpt2 ? "transformer.ln_f" : "model.norm");
    slots.lm_head = head.find("lm_head", ".weight");
    return slots;
}

}  // namespace isoflop::transformer
