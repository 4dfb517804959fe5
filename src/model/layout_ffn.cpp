// Feed-forward parts of the LLaMA family: dense, and mixtures of experts as Mixtral, Qwen3 and
// DeepSeek name them. transformers 5 fuses the experts of a layer into one tensor in memory; the
// names here are those of the published checkpoints, one tensor per expert.
#include "layout_parts.hpp"

namespace isoflop::model::parts {
namespace {

/// Names of one feed-forward network; `gate` is absent in a plain one.
struct FfnNames {
    Names gate;
    Names up;
    Names down;
};

constexpr FfnNames kDense = {
    .gate = {"mlp.gate_proj.weight", "mlp.gate_proj.bias"},
    .up = {"mlp.up_proj.weight", "mlp.up_proj.bias"},
    .down = {"mlp.down_proj.weight", "mlp.down_proj.bias"},
};
constexpr FfnNames kExpert = {
    .gate = {"mlp.experts.{e}.gate_proj.weight", "mlp.experts.{e}.gate_proj.bias"},
    .up = {"mlp.experts.{e}.up_proj.weight", "mlp.experts.{e}.up_proj.bias"},
    .down = {"mlp.experts.{e}.down_proj.weight", "mlp.experts.{e}.down_proj.bias"},
};
constexpr FfnNames kSharedExperts = {
    .gate = {"mlp.shared_experts.gate_proj.weight", "mlp.shared_experts.gate_proj.bias"},
    .up = {"mlp.shared_experts.up_proj.weight", "mlp.shared_experts.up_proj.bias"},
    .down = {"mlp.shared_experts.down_proj.weight", "mlp.shared_experts.down_proj.bias"},
};
constexpr FfnNames kMixtralExpert = {
    .gate = {"block_sparse_moe.experts.{e}.w1.weight", {}},
    .up = {"block_sparse_moe.experts.{e}.w3.weight", {}},
    .down = {"block_sparse_moe.experts.{e}.w2.weight", {}},
};

struct FfnShape {
    std::int64_t width = 0;
    Component component = Component::ffn;
    std::int64_t copies = 1;
};

void add_ffn(Tensors& tensors, const FfnNames& names, const ModelConfig& config,
             const FfnShape& shape) {
    const Linear into{.outputs = shape.width,
                      .inputs = config.hidden_size,
                      .component = shape.component,
                      .has_bias = config.ffn_bias,
                      .copies = shape.copies};
    if (config.is_gated()) add_linear(tensors, names.gate, into);
    add_linear(tensors, names.up, into);
    add_linear(tensors, names.down,
               {.outputs = config.hidden_size,
                .inputs = shape.width,
                .component = shape.component,
                .has_bias = config.ffn_bias,
                .copies = shape.copies});
}

void add_dense_ffn(Tensors& tensors, const ModelConfig& config) {
    if (config.naming != TensorNaming::phi3) {
        add_ffn(tensors, kDense, config, {.width = config.intermediate_size});
        return;
    }
    add_linear(tensors, {"mlp.gate_up_proj.weight", {}},
               {.outputs = 2 * config.intermediate_size,
                .inputs = config.hidden_size,
                .component = Component::ffn});
    add_linear(tensors, kDense.down,
               {.outputs = config.hidden_size,
                .inputs = config.intermediate_size,
                .component = Component::ffn});
}

void add_expert_ffn(Tensors& tensors, const ModelConfig& config) {
    const MixtureOfExperts& moe = *config.moe;
    const bool mixtral = config.naming == TensorNaming::mixtral;
    add_linear(
        tensors, {mixtral ? "block_sparse_moe.gate.weight" : "mlp.gate.weight", {}},
        {.outputs = moe.num_experts, .inputs = config.hidden_size, .component = Component::router});
    if (moe.router_bias) {
        add_vector(tensors, "mlp.gate.e_score_correction_bias", moe.num_experts, Component::router);
    }
    add_ffn(tensors, mixtral ? kMixtralExpert : kExpert, config,
            {.width = moe.intermediate_size,
             .component = Component::routed_experts,
             .copies = moe.num_experts});
    if (moe.num_shared_experts > 0) {
        add_ffn(tensors, kSharedExperts, config,
                {.width = moe.num_shared_experts * moe.intermediate_size,
                 .component = Component::shared_experts});
    }
}

}  // namespace

void add_llama_ffn(Tensors& tensors, const ModelConfig& config, bool is_moe) {
    if (is_moe) {
        add_expert_ffn(tensors, config);
    } else {
        add_dense_ffn(tensors, config);
    }
}

}  // namespace isoflop::model::parts
