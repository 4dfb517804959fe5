// From an execution back to the keys that say it.
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "isoflop/base/error.hpp"
#include "isoflop/config/jsonc.hpp"
#include "isoflop/model/trainable.hpp"
#include "isoflop/recipe/recipe.hpp"

namespace isoflop::recipe {
namespace {

config::Value json_value(std::string text) {
    return config::parse_jsonc(std::move(text), "a value of the plan").root;
}

/// Every choice is spelled out: nothing is left to a preset.
model::ModelKeys model_keys_of(const model::ModelConfig& model, std::int64_t sequence_length) {
    model::ModelKeys keys;
    keys.arch_preset = model::ArchPreset::custom;
    keys.num_hidden_layers = model.num_hidden_layers;
    keys.hidden_size = model.hidden_size;
    keys.num_attention_heads = model.num_attention_heads;
    keys.num_key_value_heads = model.num_key_value_heads;
    keys.head_dim = model.head_dim;
    keys.intermediate_size = model.intermediate_size;
    keys.vocab_size = model.vocab_size;
    keys.max_position_embeddings = sequence_length;
    keys.normalization = model.normalization;
    keys.hidden_act = model.activation;
    keys.position_encoding = model.position_encoding;
    keys.norm_position = model.norm_position;
    keys.ffn_type = model.ffn_type;
    keys.attention_bias = model.qkv_bias;
    keys.mlp_bias = model.ffn_bias;
    keys.tie_word_embeddings = model.tie_word_embeddings;
    keys.qk_norm = json_value(model.qk_norm != model::QkNorm::none ? "true" : "false");
    keys.dropout = model.dropout;
    keys.rope_theta = model.rope_theta;
    if (model.rope_scaling) {
        const model::RopeScaling& scaling = *model.rope_scaling;
        keys.rope_scaling = json_value(
            fmt::format(R"({{"rope_type": "{}", "factor": {}, "low_freq_factor": {}, )"
                        R"("high_freq_factor": {}, "original_max_position_embeddings": {}}})",
                        scaling.type, scaling.factor, scaling.low_freq_factor,
                        scaling.high_freq_factor, scaling.original_max_position_embeddings));
    }
    keys.norm_eps = model.norm_eps;
    return keys;
}

/// auto takes a GPU where there is one, and still runs where there is none.
DeviceChoice device_choice_of(cost::DeviceKind device) {
    return device == cost::DeviceKind::cpu ? DeviceChoice::cpu : DeviceChoice::automatic;
}

ExecutionKeys execution_keys_of(const cost::Execution& execution) {
    ExecutionKeys keys;
    keys.device = device_choice_of(execution.device);
    keys.dtype = execution.dtype;
    keys.attention_backend = choice_of(execution.attention_backend);
    keys.recompute = execution.recompute;
    keys.loss_chunk = execution.loss_chunk;
    keys.use_zero1 = execution.parallelism == cost::Parallelism::zero1;
    keys.use_fsdp = execution.parallelism == cost::Parallelism::fsdp;
    keys.fsdp_shard_size = execution.shard_size;
    keys.fsdp_reshard_after_forward = execution.reshard_after_forward;
    if (execution.reproducible != (execution.device == cost::DeviceKind::cpu))
        keys.reproducible = execution.reproducible;
    keys.deterministic = execution.deterministic;
    keys.manual_head_chunk = execution.manual_head_chunk;
    return keys;
}

double three_digits(double value) {
    return std::stod(fmt::format("{:.3g}", value));
}

/// What the trainer runs of Hugging Face models, and the keys of a training config do not say.
std::string unsaid_by_keys(const model::ModelConfig& model, std::int64_t sequence_length) {
    const bool windows = model.num_window_layers() > 0 && *model.sliding_window < sequence_length;
    const bool scales = model.embedding_scale != 1 || model.residual_scale != 1 ||
                        model.logit_scale != 1 || model.attention_scale ||
                        model.attention_soft_cap || model.final_logit_soft_cap ||
                        model.norms_add_one;
    const bool rotary = model.rotary_fraction != 1 || model.interleaved_rotary ||
                        std::any_of(model.layers.begin(), model.layers.end(),
                                    [](const model::LayerKind& kind) { return !kind.rotary; });
    const bool names =
        model.naming != model::TensorNaming::llama && model.naming != model::TensorNaming::gpt2;
    std::string part;
    if (model.norm_position == model::NormPosition::sandwich) {
        part = "four norms per block";
    } else if (model::norms_branches(model)) {
        part = "norms of both branches";
    } else if (model.parallel_residual) {
        part = "parallel attention and FFN";
    } else if (model.qk_norm == model::QkNorm::full_width) {
        part = "full-width QK norm";
    } else if (windows) {
        part = "a sliding window shorter than the context";
    } else if (scales) {
        part = "scaled embeddings, branches, scores or logits";
    } else if (rotary) {
        part = "rotary positions of some layers or of a part of each head";
    } else if (names) {
        part = "tensors of type " + model.model_type;
    }
    return part.empty() ? part : part + " by a training config (only from the files of a model)";
}

}  // namespace

std::string obstacle_to_training(const model::ModelConfig& model,
                                 const cost::Execution& execution) {
    if (std::string reason = model::untrainable_reason(model, execution.sequence_length);
        !reason.empty()) {
        return reason;
    }
    if (std::string reason = unsaid_by_keys(model, execution.sequence_length); !reason.empty())
        return reason;
    // block_size is both the context and the number of learned positions there.
    if (model.position_encoding == model::PositionEncoding::learned_absolute &&
        model.max_position_embeddings != execution.sequence_length) {
        return fmt::format(
            "{} learned positions with a context of {} (set architecture.max_position_embeddings "
            "to the context)",
            model.max_position_embeddings, execution.sequence_length);
    }
    if (model.rope_scaling && model.rope_scaling->type != "llama3")
        return fmt::format("rope_scaling of type {}", model.rope_scaling->type);
    if (model.qkv_bias != model.attention_output_bias)
        return "biases on queries, keys and values only";
    if (execution.parallelism == cost::Parallelism::zero2)
        return "parallelism zero2 (use zero1 or fsdp)";
    if (!is_trainable_dtype(execution.dtype)) {
        return fmt::format("dtype {} (its products are in float32, tf32, bfloat16 or float16)",
                           to_string(execution.dtype));
    }
    if (execution.gradient_dtype) {
        return fmt::format("gradient_dtype {} (its gradients have the type of the weights, {})",
                           to_string(*execution.gradient_dtype),
                           to_string(execution.storage_dtype()));
    }
    return {};
}

TrainKeys train_keys_of(const model::ModelConfig& model, const cost::Execution& execution,
                        const PlannedRun& run) {
    if (const std::string reason = obstacle_to_training(model, execution); !reason.empty())
        throw ConfigError("the trainer does not run " + reason);
    TrainKeys keys;
    keys.model = model_keys_of(model, execution.sequence_length);
    keys.batch.batch_size = execution.micro_batch_size;
    keys.batch.gradient_accumulation_steps = execution.grad_accum_steps * execution.world_size;
    keys.batch.max_iters = run.steps;
    keys.optimizer.learning_rate = three_digits(run.learning_rate);
    keys.optimizer.min_lr = three_digits(run.learning_rate / 10);
    keys.optimizer.warmup_iters = std::clamp<std::int64_t>(run.steps / 100, 0, 2000);
    keys.optimizer.lr_decay_iters = run.steps;
    keys.execution = execution_keys_of(execution);
    keys.run.gpu_type = run.gpu_type;
    keys.run.expected_mfu = run.expected_mfu;
    keys.run.flop_convention = run.flop_convention;
    return keys;
}

}  // namespace isoflop::recipe
