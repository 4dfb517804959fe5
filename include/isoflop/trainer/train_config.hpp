// The configuration of a training run: flat keys, described once in a table (train_config.cpp) from
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
#include "isoflop/model/model_config.hpp"
#include "isoflop/model/model_keys.hpp"

namespace isoflop::trainer {

enum class LearningRateSchedule { cosine, linear, wsd, constant };
enum class DeviceChoice { automatic, cpu, cuda };
enum class AttentionChoice { automatic, flash_attn_2, sdpa, manual };
/// nullopt for automatic.
[[nodiscard]] std::optional<cost::AttentionBackend> backend_of(AttentionChoice choice);

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
    std::int64_t gradient_log_interval = 10;
    bool save_log_to_json = true;
    bool tensorboard = true;
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

/// Reads a file, refuses keys that mean nothing here with a word on what to use instead, applies
/// overrides. Throws ConfigError (exit 2).
[[nodiscard]] TrainKeys read_train_keys(const std::filesystem::path& path,
                                        std::span<const std::string> overrides = {});
/// Only overrides over the defaults.
[[nodiscard]] TrainKeys train_keys_from(std::span<const std::string> overrides);

/// A key of the earlier system or of other trainers that is an error here, and what to use instead;
/// empty for others.
[[nodiscard]] std::string retired_key_advice(std::string_view key);

/// Everything derived from the keys for one rank of `world_size`.
struct TrainConfig {
    TrainKeys keys;
    model::ModelConfig model;
    /// The backend is the requested one, not yet resolved; flash_attn_2 for auto.
    cost::Execution execution;
    std::int64_t world_size = 1;
    std::int64_t micro_steps = 1;  ///< per rank and iteration
    std::int64_t global_micro_steps = 1;
    std::int64_t tokens_per_iteration = 0;
    std::int64_t max_iters = 0;
    std::int64_t lr_decay_iters = 0;
    double min_lr = 0;
    std::string
        dtype_note;  ///< why the run's precision differs from the requested one; may be empty
};

/// Throws ConfigError for contradictions: accumulation that does not divide, both max_iters and
/// max_tokens, an architecture that the trainer does not run, a device that this build lacks.
[[nodiscard]] TrainConfig resolve_train_config(const TrainKeys& keys, std::int64_t world_size = 1);
/// The same for a model that comes from elsewhere (a Hugging Face folder); of the model keys only
/// block_size counts.
[[nodiscard]] TrainConfig resolve_train_config(const TrainKeys& keys,
                                               const model::ModelConfig& model,
                                               std::int64_t world_size = 1);

/// Every key with its value, as the run log and checkpoints record it; and back. Throws ConfigError
/// naming `source`.
[[nodiscard]] nlohmann::ordered_json to_json(const TrainKeys& keys);
[[nodiscard]] TrainKeys train_keys_from_json(const nlohmann::ordered_json& json,
                                             const std::string& source);

/// Vocabulary of the training data, which the model takes when the config sets none; 0 when the
/// data do not say. Throws IoError when they cannot be read.
[[nodiscard]] std::int64_t data_vocab_size(const DataKeys& keys);

/// True when the file looks like a train config rather than a model config: it has a key that only
/// train configs have.
[[nodiscard]] bool is_train_config(const config::Document& document);

}  // namespace isoflop::trainer

namespace isoflop {
template <>
inline constexpr auto enum_names<trainer::LearningRateSchedule> =
    std::to_array<EnumName<trainer::LearningRateSchedule>>(
        {{trainer::LearningRateSchedule::cosine, "cosine"},
         {trainer::LearningRateSchedule::linear, "linear"},
         {trainer::LearningRateSchedule::wsd, "wsd"},
         {trainer::LearningRateSchedule::constant, "constant"}});
template <>
inline constexpr auto enum_names<trainer::DeviceChoice> =
    std::to_array<EnumName<trainer::DeviceChoice>>({{trainer::DeviceChoice::automatic, "auto"},
                                                    {trainer::DeviceChoice::cpu, "cpu"},
                                                    {trainer::DeviceChoice::cuda, "cuda"}});
template <>
inline constexpr auto enum_names<trainer::AttentionChoice> =
    std::to_array<EnumName<trainer::AttentionChoice>>(
        {{trainer::AttentionChoice::automatic, "auto"},
         {trainer::AttentionChoice::flash_attn_2, "flash_attn_2"},
         {trainer::AttentionChoice::sdpa, "sdpa"},
         {trainer::AttentionChoice::manual, "manual"}});
}  // namespace isoflop
