#include "run_log_json.hpp"

#include <fmt/format.h>

#include <cmath>
#include <cstdlib>

#include "isoflop/base/version.hpp"

namespace isoflop::run_log {
namespace {

using nlohmann::ordered_json;

ordered_json number(double value) {
    return std::isfinite(value) ? ordered_json(value) : ordered_json(nullptr);
}

ordered_json number(const std::optional<double>& value) {
    return value ? number(*value) : ordered_json(nullptr);
}

/// Counts of FLOPs per token are whole numbers: written as such, they read better.
ordered_json whole_number(double value) {
    constexpr double kExactBelow = 0x1p53;
    const bool whole = std::abs(value) < kExactBelow && value == std::floor(value);
    return whole ? ordered_json(static_cast<std::int64_t>(value)) : number(value);
}

/// To six digits, which is more than a statistic or a duration is good for.
double rounded(double value) {
    return std::isfinite(value) ? std::strtod(fmt::format("{:.6g}", value).c_str(), nullptr)
                                : value;
}

ordered_json line(std::string_view type) {
    return {{"type", type}};
}

ordered_json utilisation_json(const UtilisationRecord& record) {
    constexpr double kTera = 1e12;
    return {{"mfu", number(record.mfu)},
            {"mfu_percent", number(record.mfu * 100)},
            {"flop_convention", record.convention},
            {"hfu", number(record.hfu)},
            {"flops_achieved", number(record.flops_achieved)},
            {"flops_per_token", whole_number(record.flops_per_token)},
            {"tokens_per_sec", number(record.tokens_per_sec)},
            {"hardware_peak_flops", number(record.hardware_peak_flops)},
            {"hardware_peak_tflops", number(record.hardware_peak_flops / kTera)},
            {"achieved_tflops", number(record.flops_achieved / kTera)},
            {"gpu_name", record.gpu_name},
            {"precision", record.precision},
            {"num_gpus", record.num_gpus},
            {"attention_flops_per_layer", whole_number(record.attention_flops_per_layer)},
            {"ffn_flops_per_layer", whole_number(record.ffn_flops_per_layer)},
            {"attention_to_ffn_ratio", number(record.attention_to_ffn_ratio)},
            {"architecture", record.architecture}};
}

ordered_json memory_json(const MemoryRecord& record) {
    return {{"allocated_gb", number(record.allocated_gb)},
            {"reserved_gb", number(record.reserved_gb)},
            {"max_allocated_gb", number(record.max_allocated_gb)},
            {"max_reserved_gb", number(record.max_reserved_gb)}};
}

ordered_json communication_json(const CommunicationRecord& record) {
    return {{"bytes_sent", record.bytes_sent},
            {"ms", number(record.ms)},
            {"exposed_ms", number(record.exposed_ms)}};
}

ordered_json gradients_json(const GradientRecord& record) {
    return {{"global_norm", number(record.global_norm)},
            {"mean_layer_norm", number(rounded(record.mean_layer_norm))},
            {"max_layer_norm", number(rounded(record.max_layer_norm))},
            {"min_layer_norm", number(rounded(record.min_layer_norm))},
            {"grad_mean", number(rounded(record.grad_mean))},
            {"grad_std", number(rounded(record.grad_std))},
            {"grad_min", number(rounded(record.grad_min))},
            {"grad_max", number(rounded(record.grad_max))}};
}

ordered_json startup_json(const StartupRecord& startup, const ordered_json& config) {
    return {
        {"timestamp", startup.timestamp},
        {"model",
         {{"total_params", startup.total_params},
          {"trainable_params", startup.trainable_params},
          {"non_embedding_params", startup.non_embedding_params}}},
        {"optimizer", {{"type", startup.optimizer_type}, {"param_groups", startup.param_groups}}},
        {"config", config},
        {"hardware",
         {{"gpu_name", startup.gpu_name},
          {"num_gpus", startup.num_gpus},
          {"gpu_memory_gb", number(startup.gpu_memory_gb)},
          {"precision", startup.precision},
          {"parallelism", startup.parallelism}}}};
}

}  // namespace

ordered_json iteration_json(const IterationRecord& record) {
    ordered_json json = line(line_type::kIteration);
    json["iter"] = record.iter;
    json["loss"] = number(record.loss);
    json["time_ms"] = number(record.detailed ? record.time_ms : rounded(record.time_ms));
    if (record.detailed) {
        json["mfu"] =
            record.utilisation ? utilisation_json(*record.utilisation) : ordered_json(nullptr);
        if (record.memory) json["memory"] = memory_json(*record.memory);
        if (record.communication) json["communication"] = communication_json(*record.communication);
    }
    if (record.gradients) json["gradients"] = gradients_json(*record.gradients);
    json["lr"] = number(record.lr);
    json["grad_norm"] = number(record.grad_norm);
    json["tokens"] = record.tokens;
    if (record.detailed || record.skipped) json["skipped"] = record.skipped;
    return json;
}

ordered_json eval_json(const EvalRecord& record) {
    ordered_json json = line(line_type::kEval);
    json["iter"] = record.iter;
    json["train_loss"] = number(record.train_loss);
    json["val_loss"] = number(record.val_loss);
    json["timestamp"] = record.timestamp;
    json["lr"] = number(record.lr);
    return json;
}

ordered_json checkpoint_json(const CheckpointRecord& record) {
    ordered_json json = line(line_type::kCheckpoint);
    json["iter"] = record.iter;
    json["val_loss"] = number(record.val_loss);
    json["path"] = record.path;
    json["timestamp"] = record.timestamp;
    return json;
}

ordered_json header_json(const std::string& run_name, const ordered_json& config,
                         const ordered_json& metadata, const StartupRecord& startup) {
    ordered_json json = line(line_type::kHeader);
    json["version"] = version();
    json["run_name"] = run_name;
    json["start_time"] = startup.timestamp;
    json["requested_backend"] = startup.requested_backend;
    json["used_backend"] = startup.used_backend;
    json["backend_reason"] = startup.backend_reason;
    if (!startup.backend_run_by.empty()) json["backend_run_by"] = startup.backend_run_by;
    json["config"] = config;
    json["startup_info"] = startup_json(startup, config);
    json["metadata"] = metadata;
    return json;
}

ordered_json end_json(const EndRecord& record) {
    return {{"type", line_type::kEnd},
            {"state", to_string(record.state)},
            {"end_time", record.end_time},
            {"summary", summary_json(record.summary)}};
}

ordered_json summary_json(const SummaryRecord& record) {
    return {{"total_iterations", record.total_iterations},
            {"final_iter", record.final_iter},
            {"final_train_loss", number(record.final_train_loss)},
            {"best_val_loss", number(record.best_val_loss)},
            {"avg_time_ms", number(record.avg_time_ms)},
            {"avg_mfu", number(record.avg_mfu)},
            {"flop_convention", record.avg_mfu ? ordered_json(record.flop_convention) : nullptr},
            {"total_eval_steps", record.total_eval_steps},
            {"total_checkpoints", record.total_checkpoints},
            {"skipped_iterations", record.skipped_iterations}};
}

std::string compact_text(const ordered_json& value) {
    return value.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::optional<double> number_at(const ordered_json& object, const char* key) {
    if (!object.is_object()) return std::nullopt;
    const auto member = object.find(key);
    if (member == object.end() || !member->is_number()) return std::nullopt;
    const double value = member->get<double>();
    return std::isfinite(value) ? std::optional(value) : std::nullopt;
}

std::string text_at(const ordered_json& object, const char* key) {
    if (!object.is_object()) return {};
    const auto member = object.find(key);
    return member != object.end() && member->is_string() ? member->get<std::string>()
                                                         : std::string();
}

std::string convention_at(const ordered_json& object) {
    const std::string convention = text_at(object, "flop_convention");
    return convention.empty() ? "palm" : convention;
}

std::int64_t integer_at(const ordered_json& object, const char* key, std::int64_t otherwise) {
    if (!object.is_object()) return otherwise;
    const auto member = object.find(key);
    return member != object.end() && member->is_number_integer() ? member->get<std::int64_t>()
                                                                 : otherwise;
}

}  // namespace isoflop::run_log
