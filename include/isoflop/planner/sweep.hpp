// Many plans at once: the grid over one or more keys, one summary row a plan.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/recipe/plan_keys.hpp"

namespace isoflop::planner {

/// One swept key: "training_gear.num_gpus=8,16,32" or "...=8..64" or "...=8..64:8". The key
/// "architecture" takes names of files, relative to the working folder, and keys as JSON objects.
struct SweepAxis {
    std::string path;                  ///< full path of the key
    std::vector<std::string> values;   ///< as written; strings in quotes without them
    std::vector<SweepAxis> with = {};  ///< keys that move with this one: as many values
    std::string unit = {};             ///< of the key
};

/// Parses one argument of the `option`. Commas within brackets, braces and quotes do not separate
/// values. Ranges are inclusive, with an optional step (default 1). Throws ConfigError.
[[nodiscard]] SweepAxis parse_axis(std::string_view text, std::string_view option = "--over");
/// Parses one `--with` argument, which moves with the last axis of `axes`. Throws ConfigError where
/// there is no such axis, or the number of values differs.
void parse_with(std::vector<SweepAxis>& axes, std::string_view text);

/// A swept key and the axis, by position, that selects its value.
struct SweptKey {
    const SweepAxis* key = nullptr;
    std::size_t axis = 0;
};
/// In the order of the command line: each axis, then the keys that move with it.
[[nodiscard]] std::vector<SweptKey> swept_keys(std::span<const SweepAxis> axes);

/// The first value that fits the key; the first of all where none does.
[[nodiscard]] std::string first_value(const SweepAxis& key);

/// The summary of one plan.
struct SweepRow {
    std::vector<std::uint32_t> value_indices;  ///< into each axis' values
    double n_params = 0;
    double n_tokens = 0;
    double compute_flops = 0;
    double predicted_loss = 0;  ///< repeated tokens at their value
    double training_flops_per_token = 0;
    double epochs = 0;  ///< over dataset_size; 0 when the dataset is unlimited
    /// The best use of the budget within data and memory, as of a single plan; nullopt where memory
    /// binds in a sweep of over kMaxSearchedPoints.
    std::optional<double> optimal_n_params = {};
    std::optional<double> optimal_loss = {};
    bool data_bind = false;
    bool memory_binds = false;
    double num_gpus = 0;
    double hours = 0;
    std::uint64_t memory_bytes = 0;
    bool fits = false;
    bool constrained = false;
    std::optional<double> board_power_watts = {};  ///< of one GPU
    double power_share = 0;
    double pue = 0;
    std::optional<double> energy_kwh = {};
    std::optional<double> cost = {};  ///< in `currency`
    std::string currency = {};
    std::string refusal = {};  ///< why this point cannot be planned; the figures are then zero
};

/// Which of GPUs and hours some point of a sweep solves for: columns of its table. Tokens and loss
/// are columns always.
struct SolvedColumns {
    bool num_gpus = false;
    bool available_hours = false;
};
/// `base` has the first value of each axis.
[[nodiscard]] SolvedColumns solved_columns(const recipe::PlanKeys& base,
                                           std::span<const SweepAxis> axes);

/// Points of a sweep for which the best model within the memory is searched: a millisecond each.
inline constexpr std::uint64_t kMaxSearchedPoints = 10'000;
inline constexpr std::uint64_t kMaxSweepPoints = 2'000'000;

/// Calls `visit` for every point of the grid, the last axis running fastest, those included that
/// cannot be planned. Throws ConfigError for a key on two axes, a value of another type, or more
/// than kMaxSweepPoints.
void sweep(const recipe::PlanKeys& base, std::span<const SweepAxis> axes,
           const hardware::GpuTable& gpus, const std::function<void(const SweepRow&)>& visit);

}  // namespace isoflop::planner
