// trainer_state.json of a checkpoint: what the trainer needs to continue beside weights and
// optimizer state. This is the only place that knows its keys. Checksums say that a file is as a
// program wrote it, not that this program did, so every value is checked before it is used.
// Internal to the trainer.
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "isoflop/attention_lab/attention_choice.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/recipe/recipe.hpp"

namespace isoflop::trainer {

/// Descriptions of the data of a run.
struct DataOfRun {
    std::string training;
    std::string validation;  ///< empty without
};

struct TrainerState {  // NOLINT(bugprone-exception-escape): moving nlohmann's json does not throw
    struct Batch {
        std::int64_t ranks = 1;
        std::int64_t micro_batches = 1;  ///< of all ranks in an iteration
    };
    struct Schedule {
        std::int64_t max_iters = 0;
        std::int64_t lr_decay_iters = 0;
        std::int64_t lr_decay_iters_of_keys = 0;  ///< where the decay ends by the keys alone
        std::optional<recipe::Rewarm> rewarm;
    };

    std::string source;          ///< the file; empty when it was not read
    std::int64_t iteration = 0;  ///< iterations done
    std::int64_t updates = 0;    ///< of them, without those that were skipped
    double loss_scale = 1;
    std::int64_t updates_at_loss_scale = 0;
    std::optional<double> best_validation_loss;  ///< of the run so far
    std::optional<double> validation_loss;       ///< of these weights
    std::optional<recipe::TrainKeys> keys;       ///< nullopt: of a foreign checkpoint
    std::optional<std::int64_t> samples;         ///< sequences of these iterations
    std::optional<Batch> batch;
    std::optional<Schedule> schedule;
    std::optional<DataOfRun> data;
    std::optional<attention_lab::AttentionDecision> attention;  ///< of auto
    nlohmann::ordered_json imported_model;  ///< config.json; null for a model of this project
};

/// What the state is read for: a run that continues needs to know how far the last one came.
enum class StateUse { resume, weights };
/// Throws IoError naming file and key for a value that is missing, of another type or out of range.
[[nodiscard]] TrainerState read_trainer_state(const checkpoint::CheckpointReader& checkpoint,
                                              StateUse use);

[[nodiscard]] nlohmann::ordered_json to_json(const TrainerState& state);

}  // namespace isoflop::trainer
