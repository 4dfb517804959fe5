#include "isoflop/trainer/startup_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "isoflop/cost/communication.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/run_log/run_log.hpp"
#include "isoflop/text/sections.hpp"

namespace isoflop::trainer {
namespace {

using text::TextReport;

/// "ddp over 4 ranks"
std::string parallelism_text(const recipe::Recipe& config) {
    if (config.world_size == 1) return "single process";
    return fmt::format("{} over {} ranks", to_string(config.execution.parallelism),
                       config.world_size);
}

void model_section(TextReport& report, const recipe::RunPlan& plan) {
    const model::ModelConfig& model = plan.config.model;
    report.section("Model");
    report.row("Architecture", model::summary_name(model));
    report.row("Total parameters", human_count(static_cast<double>(plan.parameters.total)),
               with_separators(plan.parameters.total));
    report.row("Trainable parameters", human_count(static_cast<double>(plan.parameters.total)),
               "all");
    report.row("Non-embedding", human_count(static_cast<double>(plan.parameters.non_embedding)),
               with_separators(plan.parameters.non_embedding));
    text::parameter_rows(report, plan.parameters);
    report.row("Layers", with_separators(model.num_hidden_layers));
    report.row("Hidden size", with_separators(model.hidden_size));
    report.row("Attention heads", fmt::format("{} x {}", model.num_attention_heads, model.head_dim),
               fmt::format("{} key/value heads", model.num_key_value_heads));
    report.row("Sequence length", with_separators(plan.config.execution.sequence_length));
    report.row("Vocabulary", with_separators(model.vocab_size));
    report.row("Normalization", to_string(model.normalization),
               fmt::format("{}-norm, eps {:g}", to_string(model.norm_position), model.norm_eps));
    report.row("Position encoding", to_string(model.position_encoding),
               model.position_encoding == model::PositionEncoding::rope
                   ? fmt::format("theta {:g}", model.rope_theta)
                   : std::string());
    report.row("Feed-forward",
               fmt::format("{} {}", to_string(model.ffn_type), model.intermediate_size),
               fmt::format("{}, expansion {:.2f}", to_string(model.activation),
                           static_cast<double>(model.intermediate_size) /
                               static_cast<double>(model.hidden_size)));
    report.row("Bias / tying / dropout",
               fmt::format("{} / {} / {:g}", model.ffn_bias ? "yes" : "no",
                           model.tie_word_embeddings ? "tied" : "untied", model.dropout));
}

void training_section(TextReport& report, const recipe::RunPlan& plan) {
    const recipe::Recipe& config = plan.config;
    const recipe::OptimizerKeys& optimizer = config.keys.optimizer;
    const std::int64_t sequences = config.global_micro_steps * config.execution.micro_batch_size;
    report.section("Training");
    report.row("Micro-batch", fmt::format("{} sequences", config.execution.micro_batch_size),
               "per rank");
    report.row("Accumulation", fmt::format("{} micro-batches", config.global_micro_steps),
               "over all ranks");
    report.row(
        "Global batch", fmt::format("{} sequences", with_separators(sequences)),
        fmt::format("{} tokens per iteration", with_separators(config.tokens_per_iteration)));
    report.row(
        "Iterations", with_separators(config.max_iters),
        fmt::format("{} tokens", human_count(static_cast<double>(config.max_iters) *
                                             static_cast<double>(config.tokens_per_iteration))));
    report.row("Learning rate", fmt::format("{:g}", optimizer.learning_rate),
               fmt::format("{}, {} warm-up, to {:g} at {}", to_string(optimizer.lr_schedule),
                           optimizer.warmup_iters, config.min_lr, config.lr_decay_iters));
    report.row("AdamW", fmt::format("{:g}, {:g}", optimizer.beta1, optimizer.beta2),
               fmt::format("weight decay {:g} on matrices, gradient clip {:g}",
                           optimizer.weight_decay, optimizer.grad_clip));
}

/// What one rank sends per iteration.
void communication_section(TextReport& report, const recipe::RunPlan& plan) {
    const std::vector<cost::Collective>& collectives = plan.traffic;
    if (collectives.empty()) return;
    report.section("Communication");
    for (const cost::Collective& collective : collectives) {
        report.row(std::string(collective.name),
                   human_bytes(static_cast<double>(collective.bytes_sent)));
    }
    report.row("Total", human_bytes(static_cast<double>(cost::total_bytes_sent(collectives))),
               "sent by each rank per iteration, exact");
}

void hardware_section(TextReport& report, const recipe::RunPlan& plan, const Hardware& hardware) {
    report.section("Hardware");
    if (hardware.gpu) {
        report.row("Device", hardware.gpu->name,
                   fmt::format("sm_{}{}, {}", hardware.gpu->capability_major,
                               hardware.gpu->capability_minor, hardware.gpu->runtime));
    } else if (plan.config.execution.device == cost::DeviceKind::cuda) {
        report.row("Device", "a GPU", "none is open: this is a plan");
    } else {
        report.row("Device", hardware.cpu.model_name, hardware.cpu.instruction_set);
        report.row("Threads", fmt::format("{}", hardware.threads));
    }
    if (hardware.memory_bytes() > 0)
        report.row("Memory", human_bytes(static_cast<double>(hardware.memory_bytes())));
    report.row("Precision", to_string(plan.config.execution.dtype), plan.config.dtype_note);
    report.row("Parallelism", parallelism_text(plan.config));
    report.row("Attention backend", to_string(plan.attention.used), plan.attention.explanation());
}

void memory_section(TextReport& report, const recipe::RunPlan& plan, const MemoryVerdict& memory) {
    report.section("Memory plan");
    text::memory_rows(report, plan.memory);
    report.row("Total", human_bytes(static_cast<double>(plan.memory.total_bytes())),
               plan.memory.context_bytes > 0
                   ? "the arena, exact, and the device context, an estimate"
                   : "one arena, exact");
    if (memory.fit) {
        recipe::fit_rows(report, *memory.fit, "Memory of " + memory.device);
    } else {
        report.row("fits", "unknown", "no GPU is here; gpu_type names the GPU to compare with");
    }
}

void performance_section(TextReport& report, const recipe::RunPlan& plan,
                         const Hardware& hardware) {
    report.section("Expectation");
    const cost::Convention convention = plan.config.keys.run.flop_convention;
    report.row("Model FLOPs per token", text::flop_count(plan.model_flops_per_token, 3),
               fmt::format("{} convention: {}", to_string(convention), cost::formula(convention)));
    report.row("Executed FLOPs per token", text::flop_count(plan.executed_flops_per_token, 3),
               "products issued");
    report.row("Attention / FFN",
               fmt::format("{:.3f}", plan.attention_flops_per_layer / plan.ffn_flops_per_layer),
               "forward FLOPs");
    if (hardware.peak_flops <= 0) return;
    if (plan.config.execution.device == cost::DeviceKind::cpu) {
        report.row("FMA peak", fmt::format("{:.1f} GFLOP/s", hardware.peak_flops / 1e9),
                   hardware.peak_source + "; MFU is against this");
        report.row("GEMM rate", fmt::format("{:.1f} GFLOP/s", hardware.gemm_rate_flops / 1e9),
                   plan.config.execution.world_size > 1 ? "measured, 2048^3, by one rank"
                                                        : "measured, 2048^3");
    } else {
        report.row("Peak", fmt::format("{:.1f} TFLOP/s", hardware.peak_flops / 1e12),
                   hardware.peak_source + "; MFU is against this");
    }
    const double mfu = plan.config.keys.run.expected_mfu;
    report.row(fmt::format("Expected at {:.3g} % MFU", 100 * mfu),
               fmt::format("{} tokens/s",
                           human_count(mfu * hardware.peak_flops / plan.model_flops_per_token)),
               fmt::format("{} convention", to_string(convention)));
}

}  // namespace

std::string Hardware::device_name() const {
    if (gpu) return gpu->name;
    return fmt::format("{} ({} threads, measured fp32 FMA peak)", cpu.model_name, threads);
}

Hardware measure_hardware(device::Context& context, DType dtype) {
    Hardware hardware;
    hardware.cpu = device::cpu_info();
    hardware.threads = context.pool.num_threads();
    if (const auto peaks = context.device.measure_peaks(context)) {
        hardware.fma_peak_flops = peaks->multiply_adds;
        hardware.gemm_rate_flops = peaks->product;
        hardware.peak_flops = peaks->multiply_adds;
        hardware.peak_source = "measured, register loop";
        return hardware;
    }
    hardware.gpu = context.device.info();
    const hardware::Gpu* row = hardware::GpuTable::builtin().find(hardware.gpu->name);
    const auto type = static_cast<std::size_t>(dtype);
    if (row != nullptr && row->dense_peak_flops.at(type)) {
        hardware.peak_flops = *row->dense_peak_flops.at(type);
        hardware.peak_source = fmt::format("data sheet, dense {}", short_name(dtype));
    } else {
        hardware.peak_source = fmt::format("unknown: the GPU table has no {} figure of a {}",
                                           short_name(dtype), hardware.gpu->name);
    }
    return hardware;
}

Hardware planned_hardware(device::Context& host, const cost::Execution& execution) {
    if (execution.device == cost::DeviceKind::cpu) return measure_hardware(host, execution.dtype);
    return {};
}

std::string startup_text(const recipe::RunPlan& plan, const Hardware& hardware,
                         const MemoryVerdict& memory, text::Colour colour,
                         std::string_view file_kind) {
    TextReport report(colour);
    report.title("train: " + text::architecture_line(plan.config.model));
    if (!file_kind.empty()) report.line(fmt::format("Read as a {}.", file_kind));
    model_section(report, plan);
    training_section(report, plan);
    hardware_section(report, plan, hardware);
    memory_section(report, plan, memory);
    communication_section(report, plan);
    performance_section(report, plan, hardware);
    return report.str();
}

run_log::StartupRecord startup_record(const recipe::RunPlan& plan, const Hardware& hardware) {
    run_log::StartupRecord record;
    record.timestamp = run_log::timestamp_now();
    record.total_params = plan.parameters.total;
    record.trainable_params = plan.parameters.total;
    record.non_embedding_params = plan.parameters.non_embedding;
    std::int64_t decayed = 0;
    std::int64_t plain = 0;
    std::int64_t decayed_tensors = 0;
    for (const cost::StateTensor& tensor : plan.state.tensors) {
        (tensor.spec.weight_decay() ? decayed : plain) += tensor.spec.elements();
        decayed_tensors += tensor.spec.weight_decay() ? 1 : 0;
    }
    const auto tensors = static_cast<std::int64_t>(plan.state.tensors.size());
    record.param_groups = {fmt::format("decayed: {} tensors, {} parameters", decayed_tensors,
                                       with_separators(decayed)),
                           fmt::format("not decayed: {} tensors, {} parameters",
                                       tensors - decayed_tensors, with_separators(plain))};
    record.gpu_name = hardware.device_name();
    record.num_gpus = plan.config.world_size;
    record.gpu_memory_gb = static_cast<double>(hardware.memory_bytes()) / kGiB;
    record.precision = std::string(to_string(plan.config.execution.dtype));
    record.parallelism = parallelism_text(plan.config);
    record.requested_backend = std::string(to_string(plan.attention.requested));
    record.used_backend = std::string(to_string(plan.attention.used));
    record.backend_reason = plan.attention.reason;
    record.backend_run_by = plan.attention.run_by;
    return record;
}

nlohmann::ordered_json plan_record(const recipe::RunPlan& plan, const MemoryVerdict& memory) {
    using nlohmann::ordered_json;
    ordered_json categories = ordered_json::object();
    const auto bytes = plan.memory.peak_by_category();
    for (std::size_t i = 0; i < cost::kMemoryCategoryCount; ++i)
        categories[std::string(to_string(static_cast<cost::MemoryCategory>(i)))] = bytes[i];
    ordered_json json{{"kind", "dry-run"},
                      {"n_params", plan.parameters.total},
                      {"world_size", plan.config.world_size},
                      {"tokens_per_iteration", plan.config.tokens_per_iteration},
                      {"max_iters", plan.config.max_iters},
                      {"model_flops_per_token", plan.model_flops_per_token},
                      {"executed_flops_per_token", plan.executed_flops_per_token},
                      {"attention_backend", to_string(plan.attention.used)},
                      {"memory",
                       {{"device", memory.device},
                        {"total_bytes", plan.memory.total_bytes()},
                        {"arena_bytes", plan.memory.arena_bytes},
                        {"context_bytes", plan.memory.context_bytes},
                        {"by_category", categories},
                        {"capacity_bytes", nullptr},
                        {"fits", nullptr}}},
                      {"config", config_record(plan)}};
    if (memory.fit) json["memory"].update(recipe::fit_json(*memory.fit));
    return json;
}

std::string plan_check_text(const recipe::RunPlan& plan, const Hardware& hardware,
                            const MeasuredRun& measured, text::Colour colour) {
    TextReport report(colour);
    report.section("Planned and measured");
    text::Table table({{"", text::Align::left, text::Wrap::yes}, {"planned"}, {"measured"}});
    table.row({"parameters", with_separators(plan.parameters.total),
               with_separators(measured.parameters)});
    const double planned_flops =
        plan.executed_flops_per_token * static_cast<double>(plan.config.tokens_per_iteration);
    if (measured.executed_flops_per_iteration > 0) {
        table.row({"executed FLOPs per iteration", human_flops(planned_flops),
                   human_flops(measured.executed_flops_per_iteration)});
        if (measured.flops_as_planned > 0) {
            table.row({"  of them attention, not counted", "",
                       human_flops(measured.flops_as_planned) + " as planned"});
        }
    }
    table.row({"arena", human_bytes(static_cast<double>(plan.memory.arena_bytes)),
               human_bytes(static_cast<double>(measured.arena_bytes))});
    table.row({hardware.gpu ? "device memory in use" : "peak anonymous memory",
               human_bytes(static_cast<double>(plan.memory.total_bytes())),
               human_bytes(static_cast<double>(measured.resident_bytes))});
    if (plan.config.world_size > 1) {
        table.row({"sent per rank and iteration, bytes",
                   with_separators(static_cast<std::int64_t>(cost::total_bytes_sent(plan.traffic))),
                   with_separators(static_cast<std::int64_t>(measured.bytes_sent))});
    }
    const recipe::RunKeys& keys = plan.config.keys.run;
    const double planned_seconds = plan.model_flops_per_token *
                                   static_cast<double>(plan.config.tokens_per_iteration) /
                                   (keys.expected_mfu * hardware.peak_flops);
    table.row({fmt::format("time per iteration (plan: {:.3g} % {} MFU)", 100 * keys.expected_mfu,
                           to_string(keys.flop_convention)),
               hardware.peak_flops > 0 ? human_seconds(planned_seconds) : std::string("-"),
               human_seconds(measured.seconds_per_iteration)});
    report.table(table);
    return report.str();
}

}  // namespace isoflop::trainer
