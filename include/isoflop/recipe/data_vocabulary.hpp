// The vocabulary of training data, without opening them for training: a model whose config sets
// none takes it. The planner and the trainer agree on it (a test holds them together).
#pragma once

#include <cstdint>

#include "isoflop/recipe/train_keys.hpp"

namespace isoflop::recipe {

/// dataset=shakespeare means data/shakespeare when the current folder has no folder of that name.
[[nodiscard]] std::string dataset_location(const std::string& dataset);

/// The largest vocabulary that a token file of the training data names; 0 when none does. Reads
/// meta.json and the headers of token files. Throws IoError when there are no data.
[[nodiscard]] std::int64_t data_vocab_size(const DataKeys& keys);

}  // namespace isoflop::recipe
