// Everything a run writes besides checkpoints: its log, TensorBoard's files and the console. Only
// the first rank writes; on the others all of this does nothing. Internal to the trainer.
#pragma once

#include <optional>
#include <ostream>

#include "isoflop/trainer/progress.hpp"
#include "isoflop/trainer/run_log.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "isoflop/trainer/tensorboard.hpp"
#include "run_setup.hpp"

namespace isoflop::trainer {

class RunOutputs {
public:
    RunOutputs(const RunSetup& setup, std::ostream& console, report::Colour colour);

    /// Begins the log, or continues that of a resumed run after `iteration`.
    void open(const RunSetup& setup, const Hardware& hardware, std::int64_t iteration);

    void add(const IterationRecord& record);
    void add(const EvalRecord& record, std::optional<double> best, double pause_ms);
    void add(const CheckpointRecord& record, double pause_ms);
    void line(const std::string& text) { progress_.line(text); }
    /// Text after the progress line.
    void print(const std::string& text);
    /// Ends the log; a summary on the first rank.
    std::optional<SummaryRecord> finish(EndState state);
    [[nodiscard]] std::string log_path() const { return log_ ? log_->json_path().string() : ""; }

private:
    std::ostream& console_;
    Progress progress_;
    std::optional<RunLog> log_;
    std::optional<TensorBoardWriter> tensorboard_;
};

}  // namespace isoflop::trainer
