// The two parts of a data set.
#pragma once

namespace isoflop::data {

enum class Split { train, validation };

/// Names of shards begin so: "train" and "val".
[[nodiscard]] constexpr const char* file_prefix(Split split) {
    return split == Split::train ? "train" : "val";
}

}  // namespace isoflop::data
