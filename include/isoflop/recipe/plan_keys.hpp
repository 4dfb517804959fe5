// The configuration of a plan, section by section, in the form of the file. Every key is described
// in one table (plan_keys.cpp); docs/configuration.md and configs/schema/plan.schema.json are
// generated from it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "isoflop/base/dtype.hpp"
#include "isoflop/config/schema.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/model_keys.hpp"

namespace isoflop::recipe {

/// Bounds of the keys: counts within them are exact in a double.
inline constexpr double kMaxGpus = 1e7;
inline constexpr double kMaxHours = 1e7;
inline constexpr double kMaxTokens = 9e15;

/// Required keys are optional members: whether a file or an override set them is checked after both
/// were read. Of solvable ones, two that are independent determine the rest (planner/solve.hpp).
struct TrainingGear {
    std::string gpu_type;
    config::Solvable<std::int64_t> num_gpus;
    config::Solvable<double> available_hours;
    DType dtype = DType::bfloat16;
    std::optional<double> peak_flops_per_gpu;
};

struct TrainingEfficiency {
    std::optional<double> expected_mfu;
    cost::Convention flop_convention = cost::Convention::exact;  ///< of expected_mfu
    std::int64_t batch_size = 1;
    std::int64_t gradient_accumulation_steps = 1;
    std::optional<bool> use_flash_attention;
    std::optional<cost::AttentionBackend> attention_backend;
    cost::Recompute recompute = cost::Recompute::none;
    cost::Parallelism parallelism = cost::Parallelism::ddp;
    std::optional<DType> gradient_dtype;
    std::optional<std::int64_t> loss_chunk;

    /// attention_backend if given, else the backend of use_flash_attention, else flash_attn_2.
    [[nodiscard]] cost::AttentionBackend backend() const;
};

struct DatasetConstraints {
    std::optional<std::int64_t> dataset_size;
    double max_epochs = 1;
    std::optional<std::int64_t> sequence_length;
    config::Solvable<double> training_tokens;
};

struct ScalingLawChoice {
    std::string base = "hoffmann_2022";
    std::optional<double> E, A, B, alpha, beta;
    config::Solvable<double> target_loss;
};

/// What energy and money are computed from. The defaults and their sources: docs/formulas.md.
struct CostAssumptions {
    std::optional<double> board_power;  ///< W of one GPU; else that of the GPU table
    double power_share = 0.76;
    double pue = 1.1;
    std::optional<double> gpu_hour_price;  ///< in `currency`
    std::optional<double> energy_price;    ///< in `currency`, for a kWh
    std::string currency = "USD";

    bool operator==(const CostAssumptions&) const = default;
};

struct OutputOptions {
    bool show_breakdown = true;
    bool verify_calculations = true;
};

/// Where keys came from, to point at them in messages.
struct PlanSource {
    config::Document document;
    std::vector<std::string> overridden;  ///< paths of keys that the command line has set
    /// The file of the architecture, under that section, where it is another one.
    std::optional<config::Document> architecture = {};
    /// Overrides of single keys of the model ("num_hidden_layers=16"), for any architecture.
    std::vector<std::string> model_overrides = {};
};

struct PlanKeys {
    model::ModelKeys architecture;
    TrainingGear training_gear;
    TrainingEfficiency training_efficiency;
    DatasetConstraints dataset_constraints;
    ScalingLawChoice scaling_law;
    CostAssumptions cost_assumptions;
    OutputOptions output_options;
    std::vector<std::string> notes = {};            ///< about the file: warnings of the plan
    std::shared_ptr<const PlanSource> source = {};  ///< nullptr for keys of no file
};

/// The message with file, line and column of a key ("training_gear.gpu_type") or a section where
/// the file has it; else the message alone.
[[nodiscard]] std::string located(const PlanKeys& keys, std::string_view path,
                                  std::string_view message);

[[nodiscard]] const config::Schema<PlanKeys>& plan_schema();

/// The key whose value may be a file name instead of a section: "architecture".
inline constexpr std::string_view kArchitecture = "architecture";

/// Reads a file, applies overrides ("training_gear.num_gpus=16", or a bare key that only one
/// section has) and checks that all required keys are set. Throws ConfigError (exit 2).
///
/// The architecture is a section of the file, or the model file that it names there, relative to
/// its own folder; the override "architecture=FILE" names one relative to the working folder. A
/// model file in place of the plan is its own architecture, and overrides set all the rest.
[[nodiscard]] PlanKeys read_plan_keys(const std::filesystem::path& path,
                                      std::span<const std::string> overrides = {});
/// With `architecture` in place of the one that the document has or names.
[[nodiscard]] PlanKeys read_plan_keys(config::Document document,
                                      std::span<const std::string> overrides = {},
                                      std::optional<config::Document> architecture = {});
/// The same without a look at whether the keys fit together: for sweeps, which set some of them.
[[nodiscard]] PlanKeys read_plan_keys_unchecked(config::Document document,
                                                std::span<const std::string> overrides);

}  // namespace isoflop::recipe
