#include "isoflop/planner/train_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/trainable.hpp"

namespace isoflop::planner {
namespace {

/// What keeps the trainer from running this plan, or a training config from saying it; empty when
/// nothing does.
std::string obstacle(const BackwardPlan& plan) {
    const model::ModelConfig& model = plan.model;
    if (std::string reason = model::untrainable_reason(model, plan.execution.sequence_length);
        !reason.empty()) {
        return reason;
    }
    // block_size is both the context and the number of learned positions there.
    if (model.position_encoding == model::PositionEncoding::learned_absolute &&
        model.max_position_embeddings != plan.execution.sequence_length) {
        return fmt::format(
            "{} learned positions with a context of {} (set architecture.max_position_embeddings "
            "to the context)",
            model.max_position_embeddings, plan.execution.sequence_length);
    }
    if (model.rope_scaling && model.rope_scaling->type != "llama3") {
        return fmt::format("rope_scaling of type {}", model.rope_scaling->type);
    }
    if (model.qkv_bias != model.attention_output_bias)
        return "biases on queries, keys and values only";
    if (plan.execution.parallelism == cost::Parallelism::zero2)
        return "parallelism zero2 (use zero1 or fsdp)";
    return {};
}

/// One `"key": value,  // comment` line.
class JsoncWriter {
public:
    template <class T>
    void entry(std::string_view key, const T& value, std::string_view comment = {}) {
        line(fmt::format(R"("{}": {},)", key, value), comment);
    }
    void text(std::string_view key, std::string_view value, std::string_view comment = {}) {
        line(fmt::format(R"("{}": "{}",)", key, value), comment);
    }
    void heading(std::string_view title) { out_ += fmt::format("\n  // {}\n", title); }
    [[nodiscard]] const std::string& str() const { return out_; }

private:
    void line(const std::string& code, std::string_view comment) {
        out_ += comment.empty() ? fmt::format("  {}\n", code)
                                : fmt::format("  {:<42} // {}\n", code, comment);
    }
    std::string out_;
};

void write_model(JsoncWriter& writer, const model::ModelConfig& model,
                 std::int64_t sequence_length) {
    writer.heading("Model");
    writer.text("arch_preset", "custom", "every choice is spelled out below");
    writer.entry("n_layer", model.num_hidden_layers);
    writer.entry("n_embd", model.hidden_size);
    writer.entry("n_head", model.num_attention_heads);
    writer.entry("n_kv_head", model.num_key_value_heads);
    writer.entry("head_dim", model.head_dim);
    writer.entry("intermediate_size", model.intermediate_size);
    writer.entry("vocab_size", model.vocab_size);
    writer.entry("block_size", sequence_length, "sequence length, tokens");
    writer.text("normalization", to_string(model.normalization));
    writer.text("activation", to_string(model.activation));
    writer.text("position_encoding", to_string(model.position_encoding));
    writer.text("norm_position", to_string(model.norm_position));
    writer.text("ffn_type", to_string(model.ffn_type));
    writer.entry("attention_bias", model.qkv_bias);
    writer.entry("mlp_bias", model.ffn_bias);
    writer.entry("weight_tying", model.tie_word_embeddings);
    writer.entry("qk_norm", model.qk_norm != model::QkNorm::none);
    writer.entry("dropout", model.dropout);
    writer.entry("rope_theta", model.rope_theta);
    if (model.rope_scaling) {
        const model::RopeScaling& scaling = *model.rope_scaling;
        writer.entry(
            "rope_scaling",
            fmt::format("{{\"rope_type\": \"{}\", \"factor\": {}, \"low_freq_factor\": {}, "
                        "\"high_freq_factor\": {}, \"original_max_position_embeddings\": {}}}",
                        scaling.type, scaling.factor, scaling.low_freq_factor,
                        scaling.high_freq_factor, scaling.original_max_position_embeddings));
    }
    writer.entry("norm_eps", model.norm_eps);
}

void write_schedule(JsoncWriter& writer, const BackwardPlan& plan) {
    const cost::Execution& execution = plan.execution;
    const double learning_rate = step_law_learning_rate(
        static_cast<double>(plan.parameters.non_embedding), plan.tokens.n_tokens);
    const auto steps = static_cast<std::int64_t>(plan.schedule.steps);
    writer.heading("Batch and length");
    writer.entry("batch_size", execution.micro_batch_size, "micro-batch per GPU, sequences");
    writer.entry("gradient_accumulation_steps", execution.grad_accum_steps * execution.world_size,
                 "over all GPUs; divided by the world size");
    writer.entry(
        "max_iters", steps,
        fmt::format("{} tokens", human_count(plan.schedule.steps * plan.schedule.tokens_per_step)));
    writer.heading("Optimizer");
    writer.entry("learning_rate", fmt::format("{:.3g}", learning_rate),
                 "Step Law, arXiv 2503.04715");
    writer.entry("min_lr", fmt::format("{:.3g}", learning_rate / 10));
    writer.entry("warmup_iters", std::clamp<std::int64_t>(steps / 100, 0, 2000));
    writer.entry("lr_decay_iters", steps);
    writer.text("lr_schedule", "cosine");
    writer.entry("weight_decay", 0.1);
    writer.entry("beta1", 0.9);
    writer.entry("beta2", 0.95);
    writer.entry("grad_clip", "1.0");
}

void write_execution(JsoncWriter& writer, const cost::Execution& execution) {
    writer.heading("Execution");
    writer.text("dtype", to_string(execution.storage_dtype()));
    writer.text("attention_backend", to_string(execution.attention_backend));
    writer.text("recompute", to_string(execution.recompute));
    if (execution.loss_chunk) writer.entry("loss_chunk", *execution.loss_chunk);
    writer.entry("use_zero1", execution.parallelism == cost::Parallelism::zero1);
    writer.entry("use_fsdp", execution.parallelism == cost::Parallelism::fsdp);
}

}  // namespace

double step_law_learning_rate(double non_embedding_params, double n_tokens) {
    return 1.79 * std::pow(non_embedding_params, -0.713) * std::pow(n_tokens, 0.307);
}

std::string train_config_text(const BackwardPlan& plan) {
    if (const std::string reason = obstacle(plan); !reason.empty()) {
        throw ConfigError(fmt::format(
            "--emit-train-config: the trainer does not run {}; the plan itself is valid", reason));
    }
    JsoncWriter writer;
    write_model(writer, plan.model, plan.execution.sequence_length);
    write_schedule(writer, plan);
    write_execution(writer, plan.execution);
    writer.heading("Data and output");
    writer.text("dataset", "builtin", "replace with the folder of your token shards");
    std::string body = writer.str();
    body.erase(body.rfind(','), 1);  // trailing commas are allowed, but not every reader takes them
    return fmt::format(
        "// Written by scaling-plan: N {}, D {}, C {} FLOP, predicted loss {:.4f} ({}).\n"
        "// Planned for {:.0f} x {} at {:.0f} % MFU, {}.\n"
        "{{{}}}\n",
        human_count(static_cast<double>(plan.parameters.total)), human_count(plan.tokens.n_tokens),
        human_flops(plan.budget.compute_flops), plan.loss.total, plan.law.id, plan.budget.num_gpus,
        plan.budget.gpu_id, plan.budget.mfu * 100, human_seconds(plan.schedule.seconds), body);
}

}  // namespace isoflop::planner
