// Keys of other programs and the keys of ours that mean the same. Internal to the layer.
#pragma once

#include <span>
#include <string_view>

namespace isoflop::model {

struct Name {
    std::string_view foreign;
    std::string_view ours;
};

/// Keys that mean one thing in every program that has them.
[[nodiscard]] std::span<const Name> foreign_names();

}  // namespace isoflop::model
