#include "isoflop/run_log/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/text/sections.hpp"
#include "isoflop/text/terminal.hpp"

namespace isoflop::run_log {
namespace {

constexpr std::string_view kUnknown = "-";
constexpr std::string_view kColumnGap = "  ";

/// Two amounts of memory in one unit: "0.42/0.45 GiB", "12.5/13.0 MiB".
std::string memory_amounts(double now_gb, double peak_gb) {
    constexpr double kMiBPerGiB = 1024.0;
    constexpr double kSmallGb = 0.1;
    if (peak_gb < kSmallGb) {
        return fmt::format("{:.1f}/{:.1f} MiB", now_gb * kMiBPerGiB, peak_gb * kMiBPerGiB);
    }
    return fmt::format("{:.2f}/{:.2f} GiB", now_gb, peak_gb);
}

std::string tokens_per_second(double rate) {
    if (!std::isfinite(rate) || std::abs(rate) > 1e15) return std::string(kUnknown);
    return with_separators(std::llround(rate));
}

std::string step_time(double time_ms) {
    return time_ms < 1e5 ? fmt::format("{:.1f} ms", time_ms) : human_seconds(time_ms / 1e3);
}

double median(std::vector<double> values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

/// So many digits that every iteration of the run has the same width.
std::string counter(std::int64_t iter, std::int64_t max_iters) {
    const std::string total = fmt::format("{}", max_iters);
    return fmt::format("{:>{}}/{}", iter, total.size(), total);
}

/// A column of an iteration's line.
struct Figure {
    int rank = 0;  ///< where not all have room, those of lower rank stay
    std::string text;
    std::size_t widest = 0;  ///< columns that it may take in any line of the run
};

std::string labelled(std::string_view label, std::string_view value, std::size_t width) {
    return fmt::format("{}{}{:>{}}", label, label.empty() ? "" : " ", value, width);
}

std::vector<Figure> utilisation_figures(const std::optional<UtilisationRecord>& use) {
    if (!use) {
        return {{2, labelled("", "- tok/s", 13), 13},
                {3, labelled("MFU", kUnknown, 5), 10},
                {7, labelled("HFU", kUnknown, 5), 10},
                {8, labelled("", "- FLOP/s", 19), 21}};
    }
    const std::string mfu = use->convention == "exact" ? "MFU" : "MFU(" + use->convention + ")";
    const std::string rates = flop_rates(use->flops_achieved, use->hardware_peak_flops);
    return {{2, labelled("", tokens_per_second(use->tokens_per_sec) + " tok/s", 13), 13},
            {3, labelled(mfu, fmt::format("{:.1f}%", use->mfu * 100), 5), 10},
            {7, labelled("HFU", fmt::format("{:.1f}%", use->hfu * 100), 5), 10},
            {8, labelled("", rates, 19), 21}};
}

/// Of an iteration's line, from left to right.
std::vector<Figure> figures_of(const IterationRecord& record, std::int64_t max_iters,
                               std::optional<double> remaining_seconds, text::Colour colour) {
    const std::string loss = text::bold(fmt::format("{:7.4f}", record.loss), colour);
    const std::string left =
        remaining_seconds ? human_seconds(*remaining_seconds) : std::string(kUnknown);
    const std::string memory =
        record.memory ? memory_amounts(record.memory->allocated_gb, record.memory->max_allocated_gb)
                      : std::string(kUnknown);
    std::vector<Figure> figures{{0, labelled("iter", counter(record.iter, max_iters), 0)},
                                {0, labelled("loss", loss, 0), 12},
                                {5, labelled("lr", fmt::format("{:.2e}", record.lr), 0), 11},
                                {4, labelled("", step_time(record.time_ms), 10), 10}};
    for (Figure& figure : utilisation_figures(record.utilisation))
        figures.push_back(std::move(figure));
    figures.push_back({6, labelled("mem", memory, 13), 19});
    figures.push_back({5, labelled("norm", fmt::format("{:.3f}", record.grad_norm), 6), 12});
    figures.push_back({0, labelled("ETA", left, 0), 13});
    return figures;
}

/// Drops figures of the highest ranks until the line fits; false if it never does. `taken`: columns
/// of what follows.
bool keep_what_fits(std::vector<Figure>& figures, std::size_t width, std::size_t taken) {
    const auto needed = [&] {
        std::size_t sum = taken + kColumnGap.size() * (figures.size() - 1);
        for (const Figure& figure : figures)
            sum += std::max(figure.widest, text::display_width(figure.text));
        return sum;
    };
    while (needed() > width) {
        const auto last =
            std::max_element(figures.begin(), figures.end(),
                             [](const Figure& a, const Figure& b) { return a.rank < b.rank; });
        if (last->rank == 0) return false;
        figures.erase(last);
    }
    return true;
}

}  // namespace

void RemainingTime::add_step(double time_ms) {
    if (!std::isfinite(time_ms) || time_ms < 0) return;
    if (recent_ms_.size() < kWindow) {
        recent_ms_.push_back(time_ms);
    } else {
        recent_ms_[next_] = time_ms;
        next_ = (next_ + 1) % kWindow;
    }
    ++steps_;
}

void RemainingTime::add_pause(double time_ms) {
    if (std::isfinite(time_ms) && time_ms > 0) pauses_ms_ += time_ms;
}

std::optional<double> RemainingTime::seconds_for(std::int64_t iterations) const {
    constexpr double kMostMedians = 3;
    if (recent_ms_.empty()) return std::nullopt;
    const double most = kMostMedians * median(recent_ms_);
    double sum = 0;
    for (const double time_ms : recent_ms_) sum += std::min(time_ms, most);
    const double step_ms = sum / static_cast<double>(recent_ms_.size());
    const double pause_ms = pauses_ms_ / static_cast<double>(steps_);
    return static_cast<double>(std::max<std::int64_t>(iterations, 0)) * (step_ms + pause_ms) / 1e3;
}

std::string flop_rates(double achieved, double peak) {
    struct Unit {
        double size;
        std::string_view name;
    };
    static constexpr std::array<Unit, 4> kUnits{
        {{1e15, "PFLOP/s"}, {1e12, "TFLOP/s"}, {1e9, "GFLOP/s"}, {1e6, "MFLOP/s"}}};
    constexpr double kLeastDigits = 10;  // 0.98 PFLOP/s reads worse than 980 TFLOP/s
    const Unit* unit = &kUnits.back();
    for (const Unit& candidate : kUnits) {
        if (peak >= kLeastDigits * candidate.size) {
            unit = &candidate;
            break;
        }
    }
    return fmt::format("{:.1f}/{:.1f} {}", achieved / unit->size, peak / unit->size, unit->name);
}

std::string iteration_line(const IterationRecord& record, std::int64_t max_iters,
                           std::optional<double> remaining_seconds, text::Colour colour,
                           std::size_t width) {
    const std::vector<Figure> all = figures_of(record, max_iters, remaining_seconds, colour);
    std::string note;
    if (record.skipped) {
        note = std::isfinite(record.grad_norm) ? "  skipped: every target is ignored"
                                               : "  skipped: gradients not finite";
    }
    std::vector<Figure> figures = all;
    if (!keep_what_fits(figures, width, note.size()) && !note.empty()) {
        note = "  skipped";
        figures = all;
        (void)keep_what_fits(figures, width, note.size());
    }
    std::string line;
    for (const Figure& figure : figures)
        line += fmt::format("{}{}", line.empty() ? "" : kColumnGap, figure.text);
    return line + note;
}

std::string detail_block(const IterationRecord& record) {
    if (!record.gradients) return {};
    const GradientRecord& gradients = *record.gradients;
    std::string block;
    block +=
        fmt::format("    layer norms    min {:.3e}  mean {:.3e}  max {:.3e}\n",
                    gradients.min_layer_norm, gradients.mean_layer_norm, gradients.max_layer_norm);
    block += fmt::format("    gradients      mean {:.3e}  std {:.3e}  min {:.3e}  max {:.3e}\n",
                         gradients.grad_mean, gradients.grad_std, gradients.grad_min,
                         gradients.grad_max);
    if (record.memory) {
        block +=
            fmt::format("    process memory now/peak {}\n",
                        memory_amounts(record.memory->reserved_gb, record.memory->max_reserved_gb));
    }
    if (record.communication) {
        const CommunicationRecord& communication = *record.communication;
        block += fmt::format("    communication  {} sent, {:.1f} ms, {:.1f} ms exposed\n",
                             human_bytes(static_cast<double>(communication.bytes_sent)),
                             communication.ms, communication.exposed_ms);
    }
    if (record.utilisation) {
        block +=
            fmt::format("    model FLOPs    {} per token ({}), attention/FFN {:.3f}\n",
                        text::flop_count(record.utilisation->flops_per_token, 3),
                        record.utilisation->convention, record.utilisation->attention_to_ffn_ratio);
    }
    return block;
}

std::string evaluation_line(const EvalRecord& record, std::optional<double> best_val_loss,
                            text::Colour colour) {
    std::string line = fmt::format(
        "eval {}  train loss {:.4f}  val loss {}  lr {:.2e}", record.iter, record.train_loss,
        text::bold(fmt::format("{:.4f}", record.val_loss), colour), record.lr);
    if (best_val_loss) line += fmt::format("  best {:.4f}", *best_val_loss);
    return line;
}

ProgressOptions progress_options_for_stdout() {
    ProgressOptions options;
    options.terminal = ::isatty(STDOUT_FILENO) == 1;
    options.width = text::terminal_width(STDOUT_FILENO).value_or(options.width);
    options.colour = text::colour_of(STDOUT_FILENO);
    return options;
}

void Progress::iteration(const IterationRecord& record) {
    remaining_.add_step(record.time_ms);
    const auto left = remaining_.seconds_for(options_.max_iters - record.iter - 1);
    const bool on_interval = record.iter % std::max<std::int64_t>(options_.log_interval, 1) == 0;
    const bool last = record.iter == options_.max_iters - 1;
    if (on_interval || last || record.gradients || record.skipped) {
        keep(iteration_line(record, options_.max_iters, left, options_.colour, options_.width) +
             "\n" + detail_block(record));
        return;
    }
    constexpr std::chrono::milliseconds kLeastBetweenLiveLines{100};
    const auto now = std::chrono::steady_clock::now();
    if (!options_.terminal || now - last_live_ < kLeastBetweenLiveLines) return;
    last_live_ = now;
    // The last column stays free: some terminals wrap when it is filled.
    const std::size_t room = std::max<std::size_t>(options_.width, 1) - 1;
    const std::string text =
        iteration_line(record, options_.max_iters, left, text::Colour::off, room);
    out_ << '\r' << text.substr(0, room) << "\033[K" << std::flush;
    live_ = true;
}

void Progress::evaluation(const EvalRecord& record, std::optional<double> best_val_loss,
                          double pause_ms) {
    remaining_.add_pause(pause_ms);
    keep(evaluation_line(record, best_val_loss, options_.colour) + "\n");
}

void Progress::line(std::string_view text, double pause_ms) {
    remaining_.add_pause(pause_ms);
    keep(printable_lines(text) + "\n");
}

void Progress::clear() {
    if (live_) out_ << "\r\033[K" << std::flush;
    live_ = false;
}

void Progress::keep(std::string_view text) {
    clear();
    out_ << text << std::flush;
}

}  // namespace isoflop::run_log
