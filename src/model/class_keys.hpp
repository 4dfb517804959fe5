// The keys that a class of transformers reads, and the sizes it has where a file leaves them out.
// Internal to the layer.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/config/jsonc.hpp"

namespace isoflop::model {

/// A Hugging Face file without the keys of ours that its class does not have.
struct OwnKeys {
    config::Value object;
    std::vector<config::Member> foreign;
};

/// Keys that transformers does not read for this type have no effect, whatever they mean in other
/// files: "intermediate_size" in a gpt2 file, whose key is n_inner. A required size is read under
/// another program's name where its own name is missing. Unknown types keep every key.
[[nodiscard]] OwnKeys own_keys_of(const config::Value& object);

/// Sizes of a class by the keys of its files, after transformers 4.57; empty for unknown types.
struct ClassDefault {
    std::string_view key;
    std::int64_t value = 0;
};
[[nodiscard]] std::vector<ClassDefault> class_defaults(std::string_view model_type);

}  // namespace isoflop::model
