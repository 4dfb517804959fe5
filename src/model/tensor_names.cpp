// After the checkpoints that transformers 5 writes; tests hold every name to its classes.
#include "tensor_names.hpp"

namespace isoflop::model::parts {
namespace {

constexpr TensorNames kLlama = {};

constexpr TensorNames kPhi3 = {
    .qkv = {"self_attn.qkv_proj.weight", "self_attn.qkv_proj.bias"},
    .dense = {.gate_up = {"mlp.gate_up_proj.weight", "mlp.gate_up_proj.bias"},
              .down = {"mlp.down_proj.weight", "mlp.down_proj.bias"}},
};

constexpr FfnNames kNumberedExpert = {
    .gate = {"block_sparse_moe.experts.{e}.w1.weight", {}},
    .up = {"block_sparse_moe.experts.{e}.w3.weight", {}},
    .down = {"block_sparse_moe.experts.{e}.w2.weight", {}},
};

constexpr TensorNames kMixtral = {
    .router = {"block_sparse_moe.gate.weight", {}},
    .expert = kNumberedExpert,
};

constexpr TensorNames kGptOss = {
    .router = {"mlp.router.weight", "mlp.router.bias"},
    .score_correction = {},
    .expert = {.gate_up = {"mlp.experts.gate_up_proj", "mlp.experts.gate_up_proj_bias"},
               .down = {"mlp.experts.down_proj", "mlp.experts.down_proj_bias"}},
    .experts_are_transposed = true,
};

constexpr TensorNames kQwen2Moe = {
    .shared = ffn_names<"mlp.shared_expert.">(),
    .shared_gate = "mlp.shared_expert_gate.weight",
};

constexpr RecurrenceNames delta_net_names(bool splits_inputs) {
    RecurrenceNames names = recurrence_names<"linear_attn.">();
    names.input = {
        splits_inputs ? "linear_attn.in_proj_qkv.weight" : "linear_attn.in_proj_qkvz.weight", {}};
    names.second_input = {
        splits_inputs ? "linear_attn.in_proj_z.weight" : "linear_attn.in_proj_ba.weight", {}};
    names.third_input = {"linear_attn.in_proj_b.weight", {}};
    names.fourth_input = {"linear_attn.in_proj_a.weight", {}};
    return names;
}

constexpr TensorNames kQwen3Next = {
    .shared = ffn_names<"mlp.shared_expert.">(),
    .shared_gate = "mlp.shared_expert_gate.weight",
    .recurrence = delta_net_names(false),
};

constexpr TensorNames kQwen35 = {
    .shared = ffn_names<"mlp.shared_expert.">(),
    .shared_gate = "mlp.shared_expert_gate.weight",
    .recurrence = delta_net_names(true),
};

constexpr TensorNames kLlama4 = {
    .dense = ffn_names<"feed_forward.">(),
    .router = {"feed_forward.router.weight", {}},
    .expert = {.gate_up = {"feed_forward.experts.gate_up_proj", {}},
               .down = {"feed_forward.experts.down_proj", {}}},
    .experts_are_transposed = true,
    .shared = ffn_names<"feed_forward.shared_expert.">(),
};

constexpr TensorNames kGlm4 = {
    .mixer_norm = {"post_self_attn_layernorm.weight", {}},
    .sandwich_second_norm = {"post_attention_layernorm.weight", {}},
    .ffn_norm = {"post_mlp_layernorm.weight", {}},
    .dense = {.gate_up = {"mlp.gate_up_proj.weight", {}}, .down = {"mlp.down_proj.weight", {}}},
};

constexpr TensorNames kMinimax = {
    .router = {"block_sparse_moe.gate.weight", {}},
    .score_correction = "block_sparse_moe.e_score_correction_bias",
    .expert = kNumberedExpert,
    .recurrence = {.input = {"self_attn.qkv_proj.weight", {}},
                   .second_input = {"self_attn.output_gate.weight", {}},
                   .norm = "self_attn.norm.weight",
                   .output = {"self_attn.out_proj.weight", {}}},
};

constexpr TensorNames kPhi = {
    .final_norm = {"model.final_layernorm.weight", "model.final_layernorm.bias"},
    .o = {"self_attn.dense.weight", "self_attn.dense.bias"},
    .q_norm = {"self_attn.q_layernorm.weight", "self_attn.q_layernorm.bias"},
    .k_norm = {"self_attn.k_layernorm.weight", "self_attn.k_layernorm.bias"},
    .dense = {.up = {"mlp.fc1.weight", "mlp.fc1.bias"}, .down = {"mlp.fc2.weight", "mlp.fc2.bias"}},
};

constexpr TensorNames kGraniteMoe = {
    .dense = {.gate_up = {"shared_mlp.input_linear.weight", {}},
              .down = {"shared_mlp.output_linear.weight", {}}},
    .router = {"block_sparse_moe.router.layer.weight", {}},
    .expert = {.gate_up = {"block_sparse_moe.input_linear.weight", {}},
               .down = {"block_sparse_moe.output_linear.weight", {}}},
    .shared = {.gate_up = {"shared_mlp.input_linear.weight", {}},
               .down = {"shared_mlp.output_linear.weight", {}}},
};

constexpr TensorNames kStarcoder2 = {
    .dense = {.up = {"mlp.c_fc.weight", "mlp.c_fc.bias"},
              .down = {"mlp.c_proj.weight", "mlp.c_proj.bias"}},
};

constexpr TensorNames kGptj = {
    .embedding = "transformer.wte.weight",
    .final_norm = {"transformer.ln_f.weight", "transformer.ln_f.bias"},
    .prefix = "transformer.h.",
    .q = {"attn.q_proj.weight", {}},
    .k = {"attn.k_proj.weight", {}},
    .v = {"attn.v_proj.weight", {}},
    .o = {"attn.out_proj.weight", {}},
    .first_norm = {"ln_1.weight", "ln_1.bias"},
    .dense = {.up = {"mlp.fc_in.weight", "mlp.fc_in.bias"},
              .down = {"mlp.fc_out.weight", "mlp.fc_out.bias"}},
};

constexpr TensorNames kGptNeo = {
    .embedding = "transformer.wte.weight",
    .positions = "transformer.wpe.weight",
    .final_norm = {"transformer.ln_f.weight", "transformer.ln_f.bias"},
    .prefix = "transformer.h.",
    .q = {"attn.attention.q_proj.weight", {}},
    .k = {"attn.attention.k_proj.weight", {}},
    .v = {"attn.attention.v_proj.weight", {}},
    .o = {"attn.attention.out_proj.weight", "attn.attention.out_proj.bias"},
    .first_norm = {"ln_1.weight", "ln_1.bias"},
    .second_norm = {"ln_2.weight", "ln_2.bias"},
    .dense = {.up = {"mlp.c_fc.weight", "mlp.c_fc.bias"},
              .down = {"mlp.c_proj.weight", "mlp.c_proj.bias"}},
};

constexpr TensorNames kOpt = {
    .embedding = "model.decoder.embed_tokens.weight",
    .positions = "model.decoder.embed_positions.weight",
    .final_norm = {"model.decoder.final_layer_norm.weight", "model.decoder.final_layer_norm.bias"},
    .prefix = "model.decoder.layers.",
    .o = {"self_attn.out_proj.weight", "self_attn.out_proj.bias"},
    .first_norm = {"self_attn_layer_norm.weight", "self_attn_layer_norm.bias"},
    .mixer_norm = {"self_attn_layer_norm.weight", "self_attn_layer_norm.bias"},
    .second_norm = {"final_layer_norm.weight", "final_layer_norm.bias"},
    .ffn_norm = {"final_layer_norm.weight", "final_layer_norm.bias"},
    .dense = {.up = {"fc1.weight", "fc1.bias"}, .down = {"fc2.weight", "fc2.bias"}},
};

constexpr TensorNames kErnieMoe = {
    .score_correction = "mlp.moe_statics.e_score_correction_bias",
};

constexpr TensorNames kHunyuan = {
    .q_norm = {"self_attn.query_layernorm.weight", {}},
    .k_norm = {"self_attn.key_layernorm.weight", {}},
    .router = {"mlp.gate.wg.weight", {}},
    .shared = ffn_names<"mlp.shared_mlp.">(),
};

constexpr TensorNames kInternlm2 = {
    .embedding = "model.tok_embeddings.weight",
    .head = {"output.weight", {}},
    .qkv = {"attention.wqkv.weight", "attention.wqkv.bias"},
    .o = {"attention.wo.weight", "attention.wo.bias"},
    .first_norm = {"attention_norm.weight", {}},
    .second_norm = {"ffn_norm.weight", {}},
    .dense = {.gate = {"feed_forward.w1.weight", {}},
              .up = {"feed_forward.w3.weight", {}},
              .down = {"feed_forward.w2.weight", {}}},
};

constexpr TensorNames kBaichuan = {
    .qkv = {"self_attn.W_pack.weight", {}},
};

constexpr TensorNames kStablelm = {
    .q_norm = {"self_attn.q_layernorm.norms.{e}.weight", {}},
    .k_norm = {"self_attn.k_layernorm.norms.{e}.weight", {}},
};

constexpr TensorNames kMamba = {
    .embedding = "backbone.embeddings.weight",
    .final_norm = {"backbone.norm_f.weight", {}},
    .prefix = "backbone.layers.",
    .first_norm = {"norm.weight", {}},
    .recurrence = recurrence_names<"mixer.">(),
};

constexpr TensorNames kJamba = {
    .final_norm = {"model.final_layernorm.weight", {}},
    .second_norm = {"pre_ff_layernorm.weight", {}},
    .dense = ffn_names<"feed_forward.">(),
    .router = {"feed_forward.router.weight", {}},
    .expert = ffn_names<"feed_forward.experts.{e}.">(),
};

constexpr TensorNames kNemotronH = {
    .embedding = "backbone.embeddings.weight",
    .final_norm = {"backbone.norm_f.weight", {}},
    .prefix = "backbone.layers.",
    .q = {"mixer.q_proj.weight", "mixer.q_proj.bias"},
    .k = {"mixer.k_proj.weight", "mixer.k_proj.bias"},
    .v = {"mixer.v_proj.weight", "mixer.v_proj.bias"},
    .o = {"mixer.o_proj.weight", "mixer.o_proj.bias"},
    .first_norm = {"norm.weight", {}},
    .second_norm = {"norm.weight", {}},
    .dense = ffn_names<"mixer.">(),
    .router = {"mixer.gate.weight", {}},
    .score_correction = "mixer.gate.e_score_correction_bias",
    .expert = ffn_names<"mixer.experts.{e}.">(),
    .latent_into = {"mixer.fc1_latent_proj.weight", "mixer.fc1_latent_proj.bias"},
    .latent_out = {"mixer.fc2_latent_proj.weight", "mixer.fc2_latent_proj.bias"},
    .shared = ffn_names<"mixer.shared_experts.">(),
    .recurrence = recurrence_names<"mixer.">(),
};

constexpr TensorNames kLfm2 = {
    .final_norm = {"model.embedding_norm.weight", {}},
    .o = {"self_attn.out_proj.weight", {}},
    .q_norm = {"self_attn.q_layernorm.weight", {}},
    .k_norm = {"self_attn.k_layernorm.weight", {}},
    .first_norm = {"operator_norm.weight", {}},
    .second_norm = {"ffn_norm.weight", {}},
    .dense = {.gate = {"feed_forward.w1.weight", {}},
              .up = {"feed_forward.w3.weight", {}},
              .down = {"feed_forward.w2.weight", {}}},
    .router = {"feed_forward.gate.weight", {}},
    .score_correction = "feed_forward.expert_bias",
    .expert = {.gate = {"feed_forward.experts.{e}.w1.weight", {}},
               .up = {"feed_forward.experts.{e}.w3.weight", {}},
               .down = {"feed_forward.experts.{e}.w2.weight", {}}},
    .recurrence = {.input = {"conv.in_proj.weight", "conv.in_proj.bias"},
                   .convolution = {"conv.conv.weight", "conv.conv.bias"},
                   .output = {"conv.out_proj.weight", "conv.out_proj.bias"}},
};

}  // namespace

const TensorNames& names_of(TensorNaming naming) {
    switch (naming) {
        case TensorNaming::phi3: return kPhi3;
        case TensorNaming::mixtral:
        case TensorNaming::phimoe: return kMixtral;
        case TensorNaming::gpt_oss: return kGptOss;
        case TensorNaming::qwen2_moe: return kQwen2Moe;
        case TensorNaming::qwen3_next: return kQwen3Next;
        case TensorNaming::qwen3_5: return kQwen35;
        case TensorNaming::llama4: return kLlama4;
        case TensorNaming::glm4: return kGlm4;
        case TensorNaming::minimax: return kMinimax;
        case TensorNaming::phi: return kPhi;
        case TensorNaming::granitemoe: return kGraniteMoe;
        case TensorNaming::starcoder2: return kStarcoder2;
        case TensorNaming::gptj: return kGptj;
        case TensorNaming::gpt_neo: return kGptNeo;
        case TensorNaming::opt: return kOpt;
        case TensorNaming::ernie4_5_moe: return kErnieMoe;
        case TensorNaming::hunyuan: return kHunyuan;
        case TensorNaming::internlm2: return kInternlm2;
        case TensorNaming::baichuan: return kBaichuan;
        case TensorNaming::stablelm: return kStablelm;
        case TensorNaming::mamba: return kMamba;
        case TensorNaming::jamba:
        case TensorNaming::falcon_h1: return kJamba;
        case TensorNaming::nemotron_h: return kNemotronH;
        case TensorNaming::lfm2: return kLfm2;
        default: return kLlama;
    }
}

}  // namespace isoflop::model::parts
