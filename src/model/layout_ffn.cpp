// Feed-forward parts: dense, and mixtures of experts. transformers 5 fuses the experts of a layer
// into one tensor in memory; the names are those of the published checkpoints, in most families one
// tensor per expert.
#include "layout_parts.hpp"
#include "tensor_names.hpp"

namespace isoflop::model::parts {
namespace {

struct FfnShape {
    std::int64_t width = 0;
    std::int64_t inputs = 0;  ///< and outputs; 0: hidden_size
    Component component = Component::ffn;
    std::int64_t copies = 1;
    bool has_bias = false;
    bool stacked = false;
    bool inputs_are_rows = false;
};

void add_ffn(Tensors& tensors, const FfnNames& names, const ModelConfig& config,
             const FfnShape& shape) {
    const std::int64_t hidden = shape.inputs > 0 ? shape.inputs : config.hidden_size;
    Linear into{.outputs = shape.width,
                .inputs = hidden,
                .component = shape.component,
                .has_bias = shape.has_bias,
                .copies = shape.copies,
                .inputs_are_rows = shape.inputs_are_rows,
                .stacked = shape.stacked};
    if (!names.gate_up.weight.empty()) {
        into.outputs = 2 * shape.width;
        add_linear(tensors, names.gate_up, into);
    } else {
        if (config.is_gated()) add_linear(tensors, names.gate, into);
        add_linear(tensors, names.up, into);
    }
    add_linear(tensors, names.down,
               {.outputs = hidden,
                .inputs = shape.width,
                .component = shape.component,
                .has_bias = shape.has_bias,
                .copies = shape.copies,
                .inputs_are_rows = shape.inputs_are_rows,
                .stacked = shape.stacked});
}

void add_router(Tensors& tensors, const TensorNames& names, const ModelConfig& config) {
    const MixtureOfExperts& moe = *config.moe;
    add_linear(
        tensors, names.router,
        {.outputs = moe.num_experts, .inputs = config.hidden_size, .component = Component::router});
    if (!moe.router_bias) return;
    if (names.score_correction.empty()) {
        add_vector(tensors, names.router.bias, moe.num_experts, Component::router);
    } else if (config.naming == TensorNaming::ernie4_5_moe) {
        tensors.push_back({.name = names.score_correction,
                           .shape = {1, moe.num_experts},
                           .component = Component::router});
    } else {
        add_vector(tensors, names.score_correction, moe.num_experts, Component::router);
    }
}

/// The routed experts of Nemotron-H may work in a narrower space.
void add_latent_projections(Tensors& tensors, const TensorNames& names, const ModelConfig& config) {
    const std::int64_t latent = config.moe->latent_size;
    if (latent == 0) return;
    const auto add = [&](const Names& name, std::int64_t outputs, std::int64_t inputs) {
        add_linear(tensors, name,
                   {.outputs = outputs,
                    .inputs = inputs,
                    .component = Component::shared_experts,
                    .has_bias = config.ffn_bias});
    };
    add(names.latent_into, latent, config.hidden_size);
    add(names.latent_out, config.hidden_size, latent);
}

void add_expert_ffn(Tensors& tensors, const ModelConfig& config) {
    const TensorNames& names = names_of(config.naming);
    const MixtureOfExperts& moe = *config.moe;
    add_router(tensors, names, config);
    add_ffn(tensors, names.expert, config,
            {.width = moe.intermediate_size,
             .inputs = moe.latent_size,
             .component = Component::routed_experts,
             .copies = moe.num_experts,
             .has_bias = moe.expert_bias,
             .stacked = names.expert.down.weight.find("{e}") == std::string_view::npos,
             .inputs_are_rows = names.experts_are_transposed});
    add_latent_projections(tensors, names, config);
    if (moe.shared_width() == 0) return;
    add_ffn(tensors, names.shared, config,
            {.width = moe.shared_width(),
             .component = Component::shared_experts,
             .has_bias = config.ffn_bias});
    if (moe.shared_expert_gate) {
        add_linear(
            tensors, {names.shared_gate, {}},
            {.outputs = 1, .inputs = config.hidden_size, .component = Component::shared_experts});
    }
}

}  // namespace

void add_llama_ffn(Tensors& tensors, const ModelConfig& config, const LayerKind& kind) {
    switch (kind.ffn) {
        case FfnKind::none: return;
        case FfnKind::mixture: return add_expert_ffn(tensors, config);
        case FfnKind::dense:
            return add_ffn(tensors, names_of(config.naming).dense, config,
                           {.width = kind.ffn_width > 0 ? kind.ffn_width : config.intermediate_size,
                            .has_bias = config.ffn_bias});
    }
}

}  // namespace isoflop::model::parts
