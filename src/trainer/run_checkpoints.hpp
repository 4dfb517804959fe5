// The checkpoints of a run in progress. A checkpoint says what was measured on exactly its weights:
// it is saved first, so that a failing evaluation loses nothing, and gets its validation loss when
// that is known. Called on all ranks at once; the log is that of the first. Internal to the
// trainer.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>

#include "isoflop/run_log/run_log.hpp"
#include "isoflop/trainer/session.hpp"
#include "run_setup.hpp"

namespace isoflop::trainer {

class RunCheckpoints {
public:
    RunCheckpoints(const RunSetup& setup, Session& session, bool is_first_rank);

    /// Whether the weights after `iteration` iterations are saved, or have been evaluated.
    [[nodiscard]] bool has(std::int64_t iteration) const { return saved_at_ == iteration; }
    [[nodiscard]] bool evaluated(std::int64_t iteration) const {
        return evaluated_at_ == iteration;
    }
    /// The lowest validation loss so far.
    [[nodiscard]] std::optional<double> best() const { return best_; }

    enum class Record { now, after_evaluation };
    /// Saves the weights after `iteration` iterations. Its record is logged now, or by
    /// add_evaluation, which then follows.
    void save(std::int64_t iteration, run_log::RunLog& log, Record record = Record::now);
    /// Notes the validation loss of the weights after `iteration` iterations, and adds it to their
    /// checkpoint if there is one. True when it is the lowest so far.
    bool note_loss(std::int64_t iteration, double validation_loss);
    void add_loss_to_checkpoint(std::int64_t iteration, run_log::RunLog& log);
    /// For a checkpoint whose evaluation was abandoned.
    void log_checkpoint(std::int64_t iteration, run_log::RunLog& log);

    /// Puts the checkpoints after `iteration` iterations aside and returns the newest that is left;
    /// nullopt, with all in their places, when none would be.
    [[nodiscard]] std::optional<std::filesystem::path> keep_until(std::int64_t iteration) const;

private:
    [[nodiscard]] nlohmann::ordered_json state(std::int64_t iteration) const;
    [[nodiscard]] checkpoint::CheckpointOptions options() const;

    const RunSetup& setup_;
    Session& session_;
    bool is_first_rank_;
    std::int64_t saved_at_ = -1;
    std::int64_t evaluated_at_ = -1;
    std::optional<double> loss_;  ///< of the weights of evaluated_at_; nullopt unless finite
    std::optional<double> best_;
    std::filesystem::path folder_;  ///< of saved_at_
    double pause_ms_ = 0;
};

/// Throws IoError with both figures when the checkpoints to come do not fit beside those there are.
/// `iteration`: done so far.
void check_disk_space(const RunSetup& setup, std::int64_t iteration);

}  // namespace isoflop::trainer
