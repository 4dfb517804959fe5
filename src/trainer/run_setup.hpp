// The inputs of a run before it allocates: data, tokenizer, plan, and starting point. Internal to
// the trainer.
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "isoflop/attention_lab/attention_choice.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/data/token_dataset.hpp"
#include "isoflop/data/tokenizer.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/trainer/session.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "resume.hpp"
#include "run_lock.hpp"
#include "run_place.hpp"
#include "world.hpp"

namespace isoflop::trainer {

struct RunSetup {
    std::unique_ptr<device::Device> device;  ///< null in a dry run
    data::TokenDataset train_data;
    std::optional<data::TokenDataset> validation_data;  ///< absent where nothing is evaluated
    DataOfRun data;
    std::shared_ptr<const data::Tokenizer> tokenizer;  ///< null if the data do not name it
    recipe::RunPlan plan;
    MemoryVerdict memory;
    std::optional<attention_lab::AttentionDecision> attention;  ///< of auto
    RunPlace place;
    bool writes = false;  ///< into the folder of the run: neither a dry run nor an evaluation
    RunLock lock;         ///< of that folder, on the first rank
    std::string lineage;  ///< of the run's checkpoints
    std::optional<checkpoint::CheckpointReader> resumed;  ///< init_from=resume
    TrainerState resumed_state;
    Resumption resumption;
    StateOfRun start;        ///< of the checkpoint; samples 0 for a new run
    std::string start_note;  ///< where the weights of a new run come from; may be empty
    std::optional<checkpoint::CheckpointReader> initial_weights;  ///< init_from=<checkpoint>
    TrainerState initial_state;
    std::optional<checkpoint::HuggingFaceModel> hugging_face;  ///< init_from=<Hugging Face folder>
    /// The config.json of the model; checkpoints store it, as the keys of the run do not describe
    /// the model. Null for a model of this project.
    nlohmann::ordered_json imported_model;
};

/// Throws ConfigError or IoError; Error with exit code 5 when the plan does not fit this machine's
/// memory (not in a dry run, which shows the plan).
[[nodiscard]] RunSetup prepare_run(recipe::TrainKeys keys, const World& world,
                                   device::ThreadPool& pool, bool dry_run);

}  // namespace isoflop::trainer
