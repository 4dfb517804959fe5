// Between metrics.jsonl and run_<name>.json: reads lines, keeps the few records (header,
// evaluations, checkpoints, sums) in memory, and streams the many (iterations). Internal to the
// layer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/run_log/records.hpp"

namespace isoflop::run_log {

/// A line of metrics.jsonl: its text without the line break, and its JSON.
struct MetricsLine {
    std::string_view text;
    const nlohmann::ordered_json& json;
};

/// Calls `use` for every line. A last line that is cut short or unreadable is left out; an
/// unreadable line elsewhere, or a first line that is no header, is an IoError. Returns the number
/// of bytes used, without an incomplete last line.
std::uint64_t read_metrics(const std::filesystem::path& metrics_path,
                           const std::function<void(const MetricsLine&)>& use);

/// Sums over the records of a run.
class SummaryAccumulator {
public:
    void add_line(const nlohmann::ordered_json& line);
    void add_iteration(const nlohmann::ordered_json& record);
    void add_evaluation(const nlohmann::ordered_json& record);
    [[nodiscard]] SummaryRecord summary() const;

private:
    SummaryRecord counts_;   ///< without the means
    double warm_up_ms_ = 0;  ///< of the first five iterations
    double later_ms_ = 0;
    double mfu_percent_sum_ = 0;
    std::int64_t mfu_count_ = 0;
};

/// The document without its iterations.
class RunDocument {
public:
    void add_line(const nlohmann::ordered_json& line);

    /// Writes the document in pieces; iterations are copied from the first metrics_bytes of
    /// metrics.jsonl.
    void write(const std::filesystem::path& metrics_path, std::uint64_t metrics_bytes,
               const std::function<void(std::string_view)>& write_text) const;

    [[nodiscard]] SummaryRecord summary() const { return summary_.summary(); }
    [[nodiscard]] std::string run_name() const;
    /// Those at the end of the log that have this number.
    [[nodiscard]] std::vector<EvalRecord> evaluations_at(std::int64_t iter) const;

private:
    std::optional<nlohmann::ordered_json> header_;
    std::vector<std::string> evaluations_;  ///< compact text without "type", as for the next two
    std::vector<std::string> checkpoints_;
    std::vector<std::string> resumes_;
    std::optional<nlohmann::ordered_json> end_;
    SummaryAccumulator summary_;
};

/// run_<name>.json in the folder of the run.
[[nodiscard]] std::filesystem::path json_path_of(const std::filesystem::path& run_dir,
                                                 const RunDocument& document);

}  // namespace isoflop::run_log
