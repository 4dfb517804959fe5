// One recipe: what a run is, whichever kind of file it was written in. Plan configs and training
// configs are two views of it, and this is the only place that makes a cost::Execution of keys.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>

#include "isoflop/cost/execution.hpp"
#include "isoflop/cost/optimizer_state.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/recipe/plan_keys.hpp"
#include "isoflop/recipe/train_keys.hpp"

namespace isoflop::recipe {

/// What a training config leaves to the place where it runs.
struct Machine {
    std::int64_t world_size = 1;  ///< ranks
    /// The device that `device=auto` takes.
    cost::DeviceKind automatic_device = cost::DeviceKind::cpu;
};

/// The device that `device=auto` takes on this machine, as far as is known without CUDA: a GPU
/// where NVIDIA's driver has made its device files and CUDA_VISIBLE_DEVICES hides none.
[[nodiscard]] cost::DeviceKind likely_device();
/// The machine for which a plan or dry run of `keys` is made: one with GPUs where gpu_type names
/// one, whatever is here.
[[nodiscard]] Machine planned_machine(Machine here, const TrainKeys& keys);
/// Whether a folder of device files has one of a GPU: nvidia<number>, or dxg of WSL. A container
/// sees the numbers of its own GPUs only.
[[nodiscard]] bool has_gpu_files(const std::filesystem::path& devices);

/// The optimizer of a config, whose state its memory plan counts: AdamW, as no key names another.
[[nodiscard]] const cost::OptimizerState& optimizer_of(const TrainKeys& keys);
[[nodiscard]] const cost::OptimizerState& optimizer_of(const PlanKeys& keys);

/// A second warm-up of a resumed run.
struct Rewarm {
    std::int64_t start = 0;  ///< iteration
    double from = 0;         ///< learning rate before it
};

struct Recipe {
    /// The keys as given: batch, optimizer, schedule, data, run, and how the ranks execute.
    TrainKeys keys;
    model::ModelConfig model;
    /// Of a training config the backend is the requested one, not yet decided; flash_attn_2 for
    /// auto.
    cost::Execution execution;
    const cost::OptimizerState* optimizer = &cost::kAdamW;  ///< of optimizer_of; never nullptr
    std::int64_t world_size = 1;
    std::int64_t micro_steps = 1;  ///< per rank and iteration
    std::int64_t global_micro_steps = 1;
    std::int64_t tokens_per_iteration = 0;
    std::int64_t max_iters = 0;
    std::int64_t lr_decay_iters = 0;
    std::optional<Rewarm> rewarm;
    double min_lr = 0;
    std::string
        dtype_note;  ///< why the run's precision differs from the requested one; may be empty
};

/// The recipe of a training config. Throws ConfigError for contradictions: accumulation that does
/// not divide, both max_iters and max_tokens, an architecture that the trainer does not run.
[[nodiscard]] Recipe recipe_of(const TrainKeys& keys, const Machine& machine = {});
/// The same for a model of a Hugging Face folder; of the model keys only block_size has an effect.
[[nodiscard]] Recipe recipe_of(const TrainKeys& keys, const model::ModelConfig& model,
                               const Machine& machine = {});

/// The recipe of a plan config, with the requested attention backend, which resolve_attention
/// decides. A plan knows no run: of `keys` only flop_convention is set, and steps are not.
[[nodiscard]] Recipe recipe_of(const PlanKeys& keys, const model::ModelConfig& model);
/// Of one step of a model, for its analysis.
[[nodiscard]] Recipe recipe_of(const model::ModelConfig& model, const cost::Execution& execution,
                               const cost::OptimizerState& optimizer);

/// The sequence length that a plan trains with.
struct TrainingContext {
    std::int64_t length = 0;  ///< tokens; 0 when neither the plan nor the model says
    std::string note = {};    ///< where the length is assumed, for a warning; else empty
};
/// The plan's sequence_length; else the positions of the model, or those before its rope_scaling,
/// but at most 8192: longer contexts are trained in a late phase, if at all (Llama 3, arXiv
/// 2407.21783, section 3.4), and never unasked here.
[[nodiscard]] TrainingContext training_context(const PlanKeys& keys,
                                               const model::ModelConfig& model);

/// How a plan config executes a step of `model`, with the requested attention backend, which
/// resolve_attention decides; one GPU where num_gpus is not given.
[[nodiscard]] cost::Execution execution_of(const PlanKeys& keys, const model::ModelConfig& model);
/// The same for a model file, with keys of plan configs as overrides: the file's
/// use_flash_attention chooses the backend unless they do.
[[nodiscard]] cost::Execution execution_of(PlanKeys keys, const model::ModelDescription& model);

/// Equal in every field.
[[nodiscard]] bool same_execution(const cost::Execution& a, const cost::Execution& b);

/// What an Execution needs of a plan besides: its optimizer, its length, its learning rate and its
/// MFU's FLOPs.
struct PlannedRun {
    const cost::OptimizerState* optimizer = nullptr;
    std::int64_t steps = 0;
    double learning_rate = 0;
    std::string learning_rate_rule = {};  ///< where it comes from, for a comment
    double expected_mfu = 0.5;
    cost::Convention flop_convention = cost::Convention::exact;  ///< of expected_mfu
    std::string gpu_type = {};                                   ///< in the GPU table
};
/// The training keys that execute `execution` of `model` on a machine with GPUs. Throws ConfigError
/// that names what the trainer does not run.
[[nodiscard]] TrainKeys train_keys_of(const model::ModelConfig& model,
                                      const cost::Execution& execution, const PlannedRun& run);

/// What keeps the trainer from running this, or a training config from saying it ("mixture of
/// experts", "dtype float8", "parallelism zero2"); empty when nothing does.
[[nodiscard]] std::string obstacle_to_training(const model::ModelConfig& model,
                                               const cost::Execution& execution);

}  // namespace isoflop::recipe
