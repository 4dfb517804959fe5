// Which class of transformers computes a model, and its config.json.
#pragma once

#include <nlohmann/json_fwd.hpp>

#include "isoflop/checkpoint/hugging_face.hpp"

namespace isoflop::checkpoint {

/// The model in the form of the class: with every bias of the class, also zero biases.
[[nodiscard]] model::ModelConfig as_class_holds_it(const model::ModelConfig& config);

[[nodiscard]] nlohmann::ordered_json hugging_face_config(const model::ModelConfig& config,
                                                         ElementType type,
                                                         const TokenizerInformation& tokenizer);

/// Throws ConfigError for features that the trainer does not compute: another model type, an
/// attention variant that the file switches on. `config_json` is the text of config.json.
void check_importable(const model::ModelConfig& config, const std::string& config_json,
                      const std::filesystem::path& path);

}  // namespace isoflop::checkpoint
