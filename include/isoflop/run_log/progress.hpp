// Console output of a run: one line per logged iteration, a block of details at intervals, and on a
// terminal a live line that is rewritten in place.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/run_log/records.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::run_log {

/// Remaining time from recent step times. A step counts as at most three times the median of the
/// window, so that one slow step does not change the estimate.
class RemainingTime {
public:
    void add_step(double time_ms);
    /// Evaluation or checkpoint: spread over the steps so far.
    void add_pause(double time_ms);
    /// Nullopt until a step was added.
    [[nodiscard]] std::optional<double> seconds_for(std::int64_t iterations) const;

private:
    static constexpr std::size_t kWindow = 50;
    std::vector<double> recent_ms_;  ///< a ring of the last kWindow steps
    std::size_t next_ = 0;
    std::int64_t steps_ = 0;
    double pauses_ms_ = 0;
};

/// "66.3/161.0 GFLOP/s": both in the unit of the peak.
[[nodiscard]] std::string flop_rates(double achieved, double peak);

/// iter/total, loss, lr, time, tokens/s, MFU, HFU, achieved/peak, memory now/peak, gradient norm,
/// remaining time; "-" for unknown figures (utilisation during warm-up). No line break. Where not
/// all have room in `width` columns, all lines of a run leave out the same ones, but never
/// iteration, loss and remaining time.
[[nodiscard]] std::string iteration_line(const IterationRecord& record, std::int64_t max_iters,
                                         std::optional<double> remaining_seconds,
                                         text::Colour colour = text::Colour::off,
                                         std::size_t width = text::kAnyWidth);

/// Lines with the per-layer gradient norms and the distribution of the gradients; FLOPs per token
/// and memory when the record has them. Empty without gradients.
[[nodiscard]] std::string detail_block(const IterationRecord& record);

[[nodiscard]] std::string evaluation_line(const EvalRecord& record,
                                          std::optional<double> best_val_loss,
                                          text::Colour colour = text::Colour::off);

struct ProgressOptions {
    std::int64_t max_iters = 0;
    std::int64_t log_interval = 1;  ///< iterations per kept line; the last iteration is kept too
    bool terminal = false;          ///< rewrite a live line in place between kept lines
    std::size_t width = 80;         ///< columns of a line; a live line leaves the last one free
    text::Colour colour = text::Colour::off;
};

/// terminal, width and colour for standard output: colour only on a terminal and without NO_COLOR.
[[nodiscard]] ProgressOptions progress_options_for_stdout();

class Progress {
public:
    explicit Progress(std::ostream& out, ProgressOptions options) : out_(out), options_(options) {}

    void iteration(const IterationRecord& record);
    /// `pause_ms`: the time that the evaluation took.
    void evaluation(const EvalRecord& record, std::optional<double> best_val_loss,
                    double pause_ms = 0);
    /// Any other line ("saved out/run/checkpoints/step_00000100"), kept.
    void line(std::string_view text, double pause_ms = 0);
    /// Clears the live line, for instance before an error message.
    void clear();

private:
    void keep(std::string_view text);

    std::ostream& out_;
    ProgressOptions options_;
    RemainingTime remaining_;
    bool live_ = false;  ///< a live line is on the screen
    std::chrono::steady_clock::time_point last_live_;
};

}  // namespace isoflop::run_log
