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

#include "isoflop/base/dtype.hpp"
#include "isoflop/config/schema.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/model_keys.hpp"

namespace isoflop::recipe {

/// Required keys are optional members: whether a file or an override set them is checked after both
/// were read.
struct TrainingGear {
    std::string gpu_type;
    std::optional<std::int64_t> num_gpus;
    std::optional<double> available_hours;
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
};

struct ScalingLawChoice {
    std::string base = "hoffmann_2022";
    std::optional<double> E, A, B, alpha, beta;
};

struct OutputOptions {
    bool show_breakdown = true;
    bool verify_calculations = true;
};

/// Where keys came from, to point at them in messages.
struct PlanSource {
    config::Document document;
    std::vector<std::string> overridden;  ///< paths of keys that the command line has set
};

struct PlanKeys {
    model::ModelKeys architecture;
    TrainingGear training_gear;
    TrainingEfficiency training_efficiency;
    DatasetConstraints dataset_constraints;
    ScalingLawChoice scaling_law;
    OutputOptions output_options;
    std::vector<std::string> notes = {};            ///< about the file: warnings of the plan
    std::shared_ptr<const PlanSource> source = {};  ///< nullptr for keys of no file
};

/// The message with file, line and column of a key ("training_gear.gpu_type") where the file has
/// it; else the message alone.
[[nodiscard]] std::string located(const PlanKeys& keys, std::string_view path,
                                  std::string_view message);

[[nodiscard]] const config::Schema<PlanKeys>& plan_schema();

/// Reads a file, applies overrides ("training_gear.num_gpus=16", or a bare key that only one
/// section has) and checks that all required keys are set. Throws ConfigError (exit 2).
[[nodiscard]] PlanKeys read_plan_keys(const std::filesystem::path& path,
                                      std::span<const std::string> overrides = {});
[[nodiscard]] PlanKeys read_plan_keys(config::Document document,
                                      std::span<const std::string> overrides = {});
/// The same without a look at whether the keys fit together: for sweeps, which set some of them.
[[nodiscard]] PlanKeys read_plan_keys_unchecked(config::Document document,
                                                std::span<const std::string> overrides);

}  // namespace isoflop::recipe
