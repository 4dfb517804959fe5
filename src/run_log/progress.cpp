#include "isoflop/run_log/progress.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>

#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
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
                           std::optional<double> remaining_seconds, text::Colour colour) {
    std::string line = fmt::format("iter {}", counter(record.iter, max_iters));
    const auto column = [&](std::string_view label, std::string_view value, std::size_t width) {
        line += kColumnGap;
        if (!label.empty()) line += fmt::format("{} ", label);
        line += fmt::format("{:>{}}", value, width);
    };
    column("loss", text::bold(fmt::format("{:7.4f}", record.loss), colour), 0);
    column("lr", fmt::format("{:.2e}", record.lr), 0);
    column("", step_time(record.time_ms), 10);
    if (record.utilisation) {
        const UtilisationRecord& use = *record.utilisation;
        column("", tokens_per_second(use.tokens_per_sec) + " tok/s", 13);
        const std::string mfu = use.convention == "exact" ? "MFU" : "MFU(" + use.convention + ")";
        column(mfu, fmt::format("{:.1f}%", use.mfu * 100), 5);
        column("HFU", fmt::format("{:.1f}%", use.hfu * 100), 5);
        column("", flop_rates(use.flops_achieved, use.hardware_peak_flops), 19);
    } else {
        column("", "- tok/s", 13);
        column("MFU", kUnknown, 5);
        column("HFU", kUnknown, 5);
        column("", "- FLOP/s", 19);
    }
    column("mem",
           record.memory
               ? memory_amounts(record.memory->allocated_gb, record.memory->max_allocated_gb)
               : std::string(kUnknown),
           13);
    column("norm", fmt::format("{:.3f}", record.grad_norm), 6);
    column("ETA", remaining_seconds ? human_seconds(*remaining_seconds) : std::string(kUnknown), 0);
    if (record.skipped) {
        line += std::isfinite(record.grad_norm) ? "  skipped: every target is ignored"
                                                : "  skipped: gradients not finite";
    }
    return line;
}

std::string detail_block(const IterationRecord& record) {
    if (!record.gradients) return {};
    const GradientRecord& gradients = *record.gradients;
    std::string block;
    block +=
        fmt::format("    gradient norm of layers  min {:.3e}  mean {:.3e}  max {:.3e}\n",
                    gradients.min_layer_norm, gradients.mean_layer_norm, gradients.max_layer_norm);
    block += fmt::format(
        "    gradients                mean {:.3e}  std {:.3e}  min {:.3e}  max {:.3e}\n",
        gradients.grad_mean, gradients.grad_std, gradients.grad_min, gradients.grad_max);
    if (record.memory) {
        block +=
            fmt::format("    process memory           now/peak {}\n",
                        memory_amounts(record.memory->reserved_gb, record.memory->max_reserved_gb));
    }
    if (record.communication) {
        const CommunicationRecord& communication = *record.communication;
        block += fmt::format("    communication            {} sent, {:.1f} ms, {:.1f} ms exposed\n",
                             human_bytes(static_cast<double>(communication.bytes_sent)),
                             communication.ms, communication.exposed_ms);
    }
    if (record.utilisation) {
        block +=
            fmt::format("    model FLOPs per token    {:.3f} GFLOP ({}), attention/FFN {:.3f}\n",
                        record.utilisation->flops_per_token / 1e9, record.utilisation->convention,
                        record.utilisation->attention_to_ffn_ratio);
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
        keep(iteration_line(record, options_.max_iters, left, options_.colour) + "\n" +
             detail_block(record));
        return;
    }
    constexpr std::chrono::milliseconds kLeastBetweenLiveLines{100};
    const auto now = std::chrono::steady_clock::now();
    if (!options_.terminal || now - last_live_ < kLeastBetweenLiveLines) return;
    last_live_ = now;
    // The last column stays free: some terminals wrap when it is filled.
    const std::string text = iteration_line(record, options_.max_iters, left);
    out_ << '\r' << text.substr(0, std::max<std::size_t>(options_.width, 1) - 1) << "\033[K"
         << std::flush;
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
