// What a checkpoint says of the run that wrote it, and what follows from it for the run that goes
// on: which keys may change, the place in the data, the global batch, the learning rate. Internal
// to the trainer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/data/token_dataset.hpp"
#include "isoflop/recipe/resume_rules.hpp"
#include "trainer_state.hpp"

namespace isoflop::trainer {

/// A checkpoint's run, when it wrote the checkpoint.
struct RecordedRun {
    DataOfRun data;         ///< `training` is empty in an older checkpoint
    bool imported = false;  ///< its model came from elsewhere
    /// nullopt when the checkpoint does not say: a foreign one.
    std::optional<recipe::Recipe> recipe;
    /// Where the decay ends by the keys alone; `recipe` has where it really does.
    std::int64_t lr_decay_iters_of_keys = 0;
    std::int64_t iteration = 0;  ///< iterations done
    std::int64_t samples = 0;    ///< sequences of them
    [[nodiscard]] bool trained() const { return recipe.has_value() && iteration > 0; }
};
/// `ranks`: where the state does not say. Throws IoError for a state that is not understood.
[[nodiscard]] RecordedRun recorded_run(const TrainerState& state, std::int64_t ranks);

/// Data as the trainer state describes them, the same wherever they lie: sizes, weights, and a
/// checksum of some of the tokens.
[[nodiscard]] std::string describe_data(const data::TokenDataset& data);

/// What the trainer state says for the next resume, beside iterations and losses.
struct StateOfRun {
    std::int64_t lr_decay_iters_of_keys = 0;
    std::int64_t samples = 0;
};
/// Sets what follows from the recipe, its data and its place in them.
void add_to_state(const recipe::Recipe& recipe, const DataOfRun& data, const StateOfRun& run,
                  TrainerState& state);

/// Where the keys leave the number of micro-batches to the number of ranks, that of the recorded
/// run stays: other ranks train on the same global batch. Throws ConfigError that says what
/// divides.
void keep_global_batch(recipe::TrainKeys& keys, const RecordedRun& run, std::int64_t ranks);

struct Resumption {
    std::vector<recipe::KeyChange> changes;  ///< to be said and logged
    std::vector<std::string> notes;          ///< about the learning rate and the evaluations
    std::int64_t lr_decay_iters_of_keys = 0;
    /// Whether validation losses from now on are of other windows than the lowest so far.
    bool starts_best_anew = false;
};
/// Sets what a resumed recipe takes from its run: the end of max_tokens, the schedule. Throws
/// ConfigError naming every key that the checkpoint fixes and `now` changes.
[[nodiscard]] Resumption resume(const RecordedRun& run, recipe::Recipe& now, const DataOfRun& data,
                                const checkpoint::CheckpointReader& checkpoint);

/// "new run from the weights of X: ...", for a run that starts from a checkpoint of another.
[[nodiscard]] std::string new_run_note(const checkpoint::CheckpointReader& checkpoint,
                                       const TrainerState& state, const recipe::Recipe& now);

}  // namespace isoflop::trainer
