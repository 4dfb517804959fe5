// What the key "architecture" of a plan may say besides a section of keys: the name of a file of
// any kind that `scaling-plan model` reads, or the keys themselves as JSON on a command line.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/model/model_keys.hpp"
#include "isoflop/recipe/train_keys.hpp"

namespace isoflop::recipe {

/// Whether a value of the command line is the keys, as a JSON object, and not the name of a file.
[[nodiscard]] bool is_inline_architecture(std::string_view value);

/// The document as a model file: of a training config the keys of its model, with the vocabulary of
/// its data, or the config.json of the folder that it begins with. Throws ConfigError for plans.
[[nodiscard]] config::Document as_model_document(config::Document document);

/// The document that a value of the command line stands for; files are relative to the working
/// folder.
[[nodiscard]] config::Document architecture_document(const std::string& value);

/// Its keys, with overrides ("n_layer=24").
[[nodiscard]] model::ModelKeys architecture_keys(const std::string& value,
                                                 std::span<const std::string> overrides = {});

/// Sets the vocabulary of the data where the keys name none, and returns a warning where the data
/// cannot be read; else an empty text.
[[nodiscard]] std::string use_vocabulary_of_data(TrainKeys& keys);

}  // namespace isoflop::recipe
