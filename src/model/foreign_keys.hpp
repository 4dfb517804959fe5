// Which keys without effect say another model than the one that is counted. Internal to the layer.
#pragma once

#include <string_view>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::model {

/// A key that is unknown here: a size, or a choice (biases, norms of queries, ...) that `config`
/// does not have. Keys of generation are none.
[[nodiscard]] bool says_another_model(std::string_view key, const config::Value& value,
                                      const ModelConfig& config);

/// A key of ours in a file whose class does not have it. Values that do not fit the key say
/// nothing.
[[nodiscard]] bool would_change_the_count(const config::Member& foreign, const ModelConfig& config);

/// Whether a key that the class of a known type does not have is about a part of its layers that
/// nothing here models: another attention, a second router. Its figures would be those of another
/// model.
[[nodiscard]] bool names_unmodelled_part(std::string_view key, const config::Value& value);

}  // namespace isoflop::model
