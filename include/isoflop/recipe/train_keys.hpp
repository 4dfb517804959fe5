// The configuration of a training run: flat keys, described once in a table (train_schema.cpp) from
// which come parsing, validation, `train --help`, docs/training.md and the JSON Schema.
#pragma once

#include <cstdint>
#include <filesystem>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>

#include "isoflop/base/enum_names.hpp"
#include "isoflop/config/schema.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/model_keys.hpp"

namespace isoflop::recipe {

enum class LearningRateSchedule { cosine, linear, wsd, constant };
/// How a resumed run goes on when the end of its learning-rate decay has moved.
enum class ResumeSchedule {
    keep,     ///< decays as the checkpoint's run would, then stays at min_lr
    rewarm,   ///< warms up once more, then decays to the new end
    stretch,  ///< as a run that was as long from its start
};
enum class DeviceChoice { automatic, cpu, cuda };
enum class AttentionChoice { automatic, flash_attn_2, sdpa, manual };
/// nullopt for automatic.
[[nodiscard]] std::optional<cost::AttentionBackend> backend_of(AttentionChoice choice);
[[nodiscard]] AttentionChoice choice_of(cost::AttentionBackend backend);

/// Titles of the sections that describe a run; models have no such keys.
inline constexpr const char* kBatchSection = "Batch and length";
inline constexpr const char* kOptimizerSection = "Optimizer";
inline constexpr const char* kRunSection = "Run and reports";

struct BatchKeys {
    std::int64_t batch_size = 12;
    std::optional<std::int64_t> gradient_accumulation_steps;
    std::optional<std::int64_t> total_batch_tokens;
    std::optional<std::int64_t> max_iters;
    std::optional<std::int64_t> max_tokens;
    std::optional<double> max_hours;
};

struct OptimizerKeys {
    double learning_rate = 6e-4;
    std::optional<double> min_lr;
    std::int64_t warmup_iters = 2000;
    std::optional<std::int64_t> lr_decay_iters;
    LearningRateSchedule lr_schedule = LearningRateSchedule::cosine;
    double wsd_decay_fraction = 0.2;
    bool decay_lr = true;
    ResumeSchedule resume_schedule = ResumeSchedule::keep;
    double weight_decay = 0.1;
    double beta1 = 0.9;
    double beta2 = 0.95;
    double adam_eps = 1e-8;
    double grad_clip = 1.0;
};

struct ExecutionKeys {
    DeviceChoice device = DeviceChoice::automatic;
    std::optional<DType> dtype;  ///< default: bfloat16 on a GPU, float32 on a CPU
    AttentionChoice attention_backend = AttentionChoice::automatic;
    bool auto_probe = true;
    cost::Recompute recompute = cost::Recompute::none;
    std::optional<std::int64_t> loss_chunk;
    std::int64_t seed = 1337;
    std::optional<std::int64_t> threads;
    std::string disable_backends;
    bool use_zero1 = false;
    bool use_fsdp = false;
    double fsdp_min_num_params = 1e6;
    bool fsdp_activation_checkpointing = false;
    std::int64_t fsdp_shard_size = 0;
    bool fsdp_reshard_after_forward = true;
    double ddp_bucket_mb = 25;
    std::optional<bool> reproducible;  ///< default: true on a CPU, false on a GPU
    std::int64_t verify_replicas_interval = 0;
    double comm_timeout_s = 60;
    std::int64_t manual_head_chunk = 0;
    bool deterministic = true;
    bool cuda_graphs = true;
    bool gemm_autotune = false;
    bool stochastic_rounding = false;
};

struct DataKeys {
    std::string dataset = "builtin";
    std::string train_data;
    std::string val_data;
    std::int64_t ignore_index = -100;
};

struct RunKeys {
    std::string out_dir = "out";
    std::string run_name;
    std::string init_from = "scratch";
    std::int64_t eval_interval = 2000;
    std::int64_t eval_iters = 200;
    bool eval_only = false;
    std::int64_t checkpoint_interval = 0;
    std::int64_t keep_checkpoints = 3;
    bool always_save_checkpoint = true;
    std::int64_t log_interval = 1;
    std::int64_t log_save_interval = 100;
    std::int64_t gradient_log_interval = 0;
    std::int64_t detail_log_interval = 100;
    std::string gpu_type;       ///< that the run is planned for; empty: not said
    double expected_mfu = 0.5;  ///< of the plan that is held against the run
    cost::Convention flop_convention = cost::Convention::exact;  ///< of the reported MFU
    bool save_log_to_json = true;
    bool tensorboard = true;
    bool allow_nonfinite_weights = false;
    std::int64_t sample_interval = 0;
    std::string sample_prompt = "\n";
};

struct TrainKeys {
    model::ModelKeys model;
    BatchKeys batch;
    OptimizerKeys optimizer;
    ExecutionKeys execution;
    DataKeys data;
    RunKeys run;
};

[[nodiscard]] const config::Schema<TrainKeys>& train_schema();

/// Reads a file, refuses keys without meaning here and names the key to use instead, applies
/// overrides. Throws ConfigError (exit 2).
[[nodiscard]] TrainKeys read_train_keys(const std::filesystem::path& path,
                                        std::span<const std::string> overrides = {});
[[nodiscard]] TrainKeys read_train_keys(const config::Document& document,
                                        std::span<const std::string> overrides = {});
/// The same from text; `file_name` stands in messages.
[[nodiscard]] TrainKeys parse_train_keys(std::string text, std::string file_name);
/// Only overrides over the defaults.
[[nodiscard]] TrainKeys train_keys_from(std::span<const std::string> overrides);

/// A key of the earlier system or of other trainers that is an error here: the key to use instead;
/// empty for other keys.
[[nodiscard]] std::string retired_key_advice(std::string_view key);

/// The preset gpt2 where neither arch_preset nor model_type is given: presets stay presets when
/// single keys are overridden.
[[nodiscard]] model::ModelKeys with_default_preset(model::ModelKeys keys);

/// The types that a training config may name.
[[nodiscard]] bool is_trainable_dtype(DType dtype);

/// Every key with its value, as the run log and checkpoints record it; and back. Throws ConfigError
/// naming `source`.
[[nodiscard]] nlohmann::ordered_json to_json(const TrainKeys& keys);
[[nodiscard]] TrainKeys train_keys_from_json(const nlohmann::ordered_json& json,
                                             const std::string& source);

}  // namespace isoflop::recipe

namespace isoflop {
template <>
inline constexpr auto enum_names<recipe::LearningRateSchedule> =
    std::to_array<EnumName<recipe::LearningRateSchedule>>(
        {{recipe::LearningRateSchedule::cosine, "cosine"},
         {recipe::LearningRateSchedule::linear, "linear"},
         {recipe::LearningRateSchedule::wsd, "wsd"},
         {recipe::LearningRateSchedule::constant, "constant"}});
template <>
inline constexpr auto enum_names<recipe::ResumeSchedule> =
    std::to_array<EnumName<recipe::ResumeSchedule>>({{recipe::ResumeSchedule::keep, "keep"},
                                                     {recipe::ResumeSchedule::rewarm, "rewarm"},
                                                     {recipe::ResumeSchedule::stretch, "stretch"}});
template <>
inline constexpr auto enum_names<recipe::DeviceChoice> =
    std::to_array<EnumName<recipe::DeviceChoice>>({{recipe::DeviceChoice::automatic, "auto"},
                                                   {recipe::DeviceChoice::cpu, "cpu"},
                                                   {recipe::DeviceChoice::cuda, "cuda"}});
template <>
inline constexpr auto enum_names<recipe::AttentionChoice> =
    std::to_array<EnumName<recipe::AttentionChoice>>({{recipe::AttentionChoice::automatic, "auto"},
                                                      {recipe::AttentionChoice::flash_attn_2,
                                                       "flash_attn_2"},
                                                      {recipe::AttentionChoice::sdpa, "sdpa"},
                                                      {recipe::AttentionChoice::manual, "manual"}});
}  // namespace isoflop
