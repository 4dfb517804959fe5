// Records as JSON, with the field names of the run log. Numbers that are not finite become null.
// Internal to the layer.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "isoflop/run_log/records.hpp"

namespace isoflop::run_log {

/// Keys of the kinds of lines in metrics.jsonl.
namespace line_type {
inline constexpr std::string_view kHeader = "header";
inline constexpr std::string_view kIteration = "iteration";
inline constexpr std::string_view kEval = "eval";
inline constexpr std::string_view kCheckpoint = "checkpoint";
inline constexpr std::string_view kResume = "resume";
inline constexpr std::string_view kEnd = "end";
}  // namespace line_type

/// Each starts with "type": one line of metrics.jsonl.
[[nodiscard]] nlohmann::ordered_json iteration_json(const IterationRecord& record);
[[nodiscard]] nlohmann::ordered_json eval_json(const EvalRecord& record);
[[nodiscard]] nlohmann::ordered_json checkpoint_json(const CheckpointRecord& record);
[[nodiscard]] nlohmann::ordered_json header_json(const std::string& run_name,
                                                 const nlohmann::ordered_json& config,
                                                 const nlohmann::ordered_json& metadata,
                                                 const StartupRecord& startup);

[[nodiscard]] nlohmann::ordered_json end_json(const EndRecord& record);
[[nodiscard]] nlohmann::ordered_json summary_json(const SummaryRecord& record);

/// Compact text on one line; text that is not UTF-8 (such as a path) is repaired, not refused.
[[nodiscard]] std::string compact_text(const nlohmann::ordered_json& value);

/// A finite number member, else nullopt.
[[nodiscard]] std::optional<double> number_at(const nlohmann::ordered_json& object,
                                              const char* key);
/// A text member, else empty.
[[nodiscard]] std::string text_at(const nlohmann::ordered_json& object, const char* key);
/// How an object with an MFU counts FLOPs: its flop_convention, palm in logs written before that
/// key.
[[nodiscard]] std::string convention_at(const nlohmann::ordered_json& object);
/// An integer member, else `otherwise`.
[[nodiscard]] std::int64_t integer_at(const nlohmann::ordered_json& object, const char* key,
                                      std::int64_t otherwise);

}  // namespace isoflop::run_log
