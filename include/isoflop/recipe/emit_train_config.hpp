// Training configs as files: written through the table of training keys that reads them.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "isoflop/recipe/recipe.hpp"

namespace isoflop::recipe {

/// What is said behind a key of a written config.
struct KeyComment {
    std::string_view key;
    std::string text;
};

/// Annotated JSONC of `keys`: those that define a run, and those that differ from their default,
/// in the order of the table. `heading`: whole lines of comment, without the slashes.
[[nodiscard]] std::string train_config_text(const TrainKeys& keys,
                                            std::span<const std::string> heading,
                                            std::span<const KeyComment> comments);

/// The training config that executes `execution` of `model`. Throws ConfigError that names what
/// the trainer does not run, or what a training config cannot say: the text, read back for as many
/// ranks, is this execution and these steps.
[[nodiscard]] std::string emit_train_config(const model::ModelConfig& model,
                                            const cost::Execution& execution, const PlannedRun& run,
                                            std::span<const std::string> heading);

}  // namespace isoflop::recipe
