// Helpers of the model tests.
#pragma once

#include <string>
#include <string_view>

#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::model {

/// The config that a JSON text describes.
inline ModelConfig config_of(std::string_view json) {
    return parse_model(std::string(json), "test.json").config;
}

inline ParameterTotals totals_of(const ModelConfig& config) {
    return parameter_layout(config).totals();
}

inline ParameterTotals totals_of(std::string_view json) {
    return totals_of(config_of(json));
}

/// The message with which a JSON text is refused; empty when it is not.
inline std::string refusal_of(std::string_view json) {
    try {
        (void)config_of(json);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return {};
}

}  // namespace isoflop::model
