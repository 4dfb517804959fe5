// config.json of model types that a file has named: the keys of their classes in transformers.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "isoflop/checkpoint/hugging_face.hpp"

namespace isoflop::checkpoint {

/// The class of config.model_type; nullptr where it is not in the table, as for own models and the
/// classes of LLaMA's and GPT-2's blocks.
[[nodiscard]] const HuggingFaceClass* family_class(const model::ModelConfig& config);

/// Adds what that class reads of the config.
void add_family_keys(nlohmann::ordered_json& json, const model::ModelConfig& config);

/// sliding_window, and layer_types with one entry a layer.
void add_layer_types(nlohmann::ordered_json& json, const model::ModelConfig& config);

}  // namespace isoflop::checkpoint
