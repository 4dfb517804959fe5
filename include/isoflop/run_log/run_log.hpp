// The log of a run: it hands every record to its sinks, which are metrics.jsonl, run_<name>.json,
// the event files of TensorBoard and the console.
//
// metrics.jsonl is the source. One JSON object per line, each with a "type": "header" first (run
// name, configuration, startup information), then "iteration", "eval", "checkpoint", "resume" and
// "end". Every line is one write(2), so a killed process loses at most the line it was writing.
// run_<name>.json is metrics.jsonl in another order and can be derived from it at any moment.
//
// Cost: the document is streamed from metrics.jsonl, so memory does not grow with the run. It is
// rewritten every log_save_interval iterations, but not before the run is a tenth longer than at
// the last rewrite: all rewrites together write at most about eleven times its final size.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/run_log/progress.hpp"
#include "isoflop/run_log/records.hpp"

namespace isoflop::run_log {

struct RunLogOptions {
    bool save_json = true;  ///< save_log_to_json: whether run_<name>.json is written
    std::int64_t log_save_interval = 100;
    /// Resuming at N keeps records of iterations before N. Set for a trainer that numbers
    /// evaluations and checkpoints by the iterations done before them (step_N has iter N): then
    /// those at N are kept as well.
    bool keep_boundary = false;
    /// Of a resumed run, for the record of its resume.
    struct Change {
        std::string key;
        std::string before;
        std::string now;
    };
    std::vector<Change> changes = {};
    std::vector<std::string> notes = {};
    bool tensorboard = false;         ///< whether event files are written
    std::ostream* console = nullptr;  ///< gets progress lines; null: none
    ProgressOptions progress = {};
};

class RunLog {
public:
    /// Without sinks, for ranks other than the first: records are dropped.
    RunLog();
    /// Starts the log of a new run; creates the folder. ConfigError when it already holds a log.
    /// `metadata` has world_size, device, dtype, compile, use_zero1 and use_fsdp.
    [[nodiscard]] static RunLog create(const std::filesystem::path& run_dir,
                                       const std::string& run_name,
                                       const nlohmann::ordered_json& config,
                                       const nlohmann::ordered_json& metadata,
                                       const StartupRecord& startup, RunLogOptions options = {});

    /// Continues a log at iteration from_iter: later records are removed (these iterations run
    /// again), and so is an incomplete last line.
    [[nodiscard]] static RunLog resume(const std::filesystem::path& run_dir, std::int64_t from_iter,
                                       RunLogOptions options = {});

    ~RunLog();
    RunLog(RunLog&&) noexcept;
    RunLog& operator=(RunLog&&) noexcept;

    void add(const IterationRecord& record);
    void add(const EvalRecord& record);
    void add(const CheckpointRecord& record);
    /// Text for the console alone; a line break is added.
    void line(std::string_view text);
    /// Writes the end and the final document.
    SummaryRecord finish(EndState state);

    /// Summary of all records so far, the time before a resume included.
    [[nodiscard]] SummaryRecord summary() const;
    [[nodiscard]] std::filesystem::path metrics_path() const;
    [[nodiscard]] std::filesystem::path json_path() const;

private:
    struct State;
    explicit RunLog(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// The text of run_<name>.json, from metrics.jsonl alone. An incomplete last line is omitted.
[[nodiscard]] std::string derive_run_json(const std::filesystem::path& metrics_path);

/// Local time, ISO 8601 with the offset: "2025-03-01T14:05:09+01:00".
[[nodiscard]] std::string timestamp_now();

}  // namespace isoflop::run_log
