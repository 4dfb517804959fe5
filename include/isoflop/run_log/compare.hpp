// `train compare RUN...`: runs side by side, the best validation loss first.
//
// Reads run folders (metrics.jsonl, thus also killed and active runs), run_*.json files, those of
// the earlier Python system included, and folders of these. Of the configuration it uses
// arch_preset, normalization, position_encoding, ffn_type and attention_backend.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isoflop/text/text_report.hpp"

namespace isoflop::run_log {

struct ComparedRun {
    std::string name;
    std::filesystem::path path;
    std::string preset;        ///< empty if not recorded, as for the other texts
    std::string architecture;  ///< preset(norm/pos/ffn)
    std::string requested_backend;
    std::string used_backend;
    std::string end_state;  ///< finished, stopped, diverged, failed, running
    std::int64_t iterations = 0;
    std::optional<double> val_loss;  ///< best
    std::optional<double> mfu_percent;
    std::string flop_convention;      ///< how mfu_percent counts FLOPs; empty without it
    std::optional<double> time_ms;    ///< mean of an iteration, without the first five
    std::optional<double> memory_gb;  ///< peak, GiB
};

struct PresetAverage {
    std::string preset;
    std::int64_t runs = 0;
    std::optional<double> val_loss;
    std::optional<double> mfu_percent;  ///< absent where the runs count FLOPs in several ways
    std::optional<double> time_ms;
};

struct Comparison {
    std::vector<ComparedRun> runs;  ///< ranked; those without a validation loss last
    std::vector<PresetAverage> presets;
    /// Difference between the worst and the best validation loss; absent with fewer than two.
    std::optional<double> improvement_percent;
    std::vector<std::string> skipped = {};  ///< given paths that are no runs, beside those that are
};

/// A folder without a run, and a file that is neither named as a log nor one, are skipped where
/// other paths are runs. IoError that names the path when none is, or when a log cannot be read;
/// ConfigError without paths.
/// `latest`: number of newest runs to return; 0 returns all.
[[nodiscard]] Comparison compare_runs(std::span<const std::filesystem::path> paths,
                                      std::size_t latest = 0);

[[nodiscard]] std::string comparison_text(const Comparison& comparison,
                                          text::Colour colour = text::Colour::off,
                                          std::size_t width = text::kAnyWidth);
[[nodiscard]] nlohmann::ordered_json comparison_json(const Comparison& comparison);

}  // namespace isoflop::run_log
