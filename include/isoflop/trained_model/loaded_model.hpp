// A trained model, read from a checkpoint of this project (a step folder or a run) or from a
// Hugging Face folder.
#pragma once

#include <filesystem>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <string_view>
#include <vector>

#include "isoflop/checkpoint/companion_files.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/data/tokenizer.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/recipe/recipe.hpp"

namespace isoflop::trained_model {

/// Key of the checkpoint state for the config.json of the Hugging Face model that the run started
/// from: the keys of the run do not describe that model.
inline constexpr std::string_view kImportedModelKey = "imported_model";

struct LoadedModel {
    recipe::TrainKeys keys;  ///< of the run; of a Hugging Face folder only the model keys
    model::ModelConfig config;
    cost::StateLayout layout;
    std::vector<float> weights;                        ///< flat, in the order of `layout`
    std::shared_ptr<const data::Tokenizer> tokenizer;  ///< null when none was found
    std::filesystem::path tokenizer_folder;            ///< where it was found
    /// What came with the Hugging Face model that this one began as; empty for others.
    std::filesystem::path companions;
    /// As the companions say; none where the tokenizer is another than theirs.
    checkpoint::SpecialTokens special_tokens;
    std::filesystem::path directory;  ///< what was read
    std::int64_t step = 0;

    [[nodiscard]] device::TensorView view();
};

/// With an empty `tokenizer_folder` the tokenizer is looked up beside the checkpoint and in its
/// run. Throws ConfigError or IoError.
[[nodiscard]] LoadedModel load_model(const std::filesystem::path& path,
                                     const std::filesystem::path& tokenizer_folder = {});

/// The model that such a config.json describes. Throws ConfigError.
[[nodiscard]] model::ModelConfig imported_model_config(const nlohmann::ordered_json& config_json);

/// Writes config.json, model.safetensors and tokenizer files for transformers. `dtype`: float32,
/// bfloat16 or float16.
void export_model(LoadedModel& model, const std::filesystem::path& out_dir, DType dtype);

/// Makes a run folder with one checkpoint of step 0 from a Hugging Face folder; returns the
/// checkpoint's folder.
std::filesystem::path import_model(const std::filesystem::path& hugging_face_dir,
                                   const std::filesystem::path& run_dir);

}  // namespace isoflop::trained_model
