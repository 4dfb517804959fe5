// Everything a run writes besides checkpoints: its log, TensorBoard's files and the console. Only
// the first rank writes; on the others all of this does nothing. Internal to the trainer.
#pragma once

#include <optional>
#include <ostream>

#include "isoflop/run_log/progress.hpp"
#include "isoflop/run_log/run_log.hpp"
#include "isoflop/run_log/tensorboard.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "run_setup.hpp"

namespace isoflop::trainer {

class RunOutputs {
public:
    RunOutputs(const RunSetup& setup, std::ostream& console, text::Colour colour);

    /// Begins the log, or continues that of a resumed run after `iteration`.
    void open(const RunSetup& setup, const Hardware& hardware, std::int64_t iteration);

    void add(const run_log::IterationRecord& record);
    void add(const run_log::EvalRecord& record, std::optional<double> best, double pause_ms);
    void add(const run_log::CheckpointRecord& record, double pause_ms);
    void line(const std::string& text) { progress_.line(text); }
    /// Text after the progress line.
    void print(const std::string& text);
    /// Ends the log; a summary on the first rank.
    std::optional<run_log::SummaryRecord> finish(run_log::EndState state);
    [[nodiscard]] std::string log_path() const { return log_ ? log_->json_path().string() : ""; }

private:
    std::ostream& console_;
    run_log::Progress progress_;
    std::optional<run_log::RunLog> log_;
    std::optional<run_log::TensorBoardWriter> tensorboard_;
};

}  // namespace isoflop::trainer
