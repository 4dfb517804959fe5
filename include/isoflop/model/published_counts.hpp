// Parameter counts that are published to the last digit. `scaling-plan validate` and the tests
// compare the layout with them, with tolerance 0.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace isoflop::model {

struct PublishedCount {
    std::string_view model;
    std::string_view config;  ///< the architecture keys of its config.json
    std::int64_t total = 0;
    std::int64_t active = 0;  ///< used by one token; equals `total` of a dense model
    std::string_view source;
};

[[nodiscard]] std::span<const PublishedCount> published_counts();

}  // namespace isoflop::model
