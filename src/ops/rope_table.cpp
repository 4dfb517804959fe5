// Angles of rotary embedding. Frequencies and their scaling follow transformers'
// modeling_rope_utils.py, in double where that uses single precision.
#include <fmt/format.h>

#include <cmath>
#include <numbers>

#include "isoflop/base/error.hpp"
#include "isoflop/ops/rope.hpp"

namespace isoflop::ops {
namespace {

/// Llama 3.1: wavelengths beyond original / low_freq_factor are stretched by `factor`, those below
/// original / high_freq_factor are kept, and those between are interpolated.
double llama3_frequency(const model::RopeScaling& scaling, double frequency) {
    const auto original = static_cast<double>(scaling.original_max_position_embeddings);
    const double wavelength = 2 * std::numbers::pi / frequency;
    if (wavelength > original / scaling.low_freq_factor) return frequency / scaling.factor;
    if (wavelength < original / scaling.high_freq_factor) return frequency;
    const double smooth = (original / wavelength - scaling.low_freq_factor) /
                          (scaling.high_freq_factor - scaling.low_freq_factor);
    return (1 - smooth) * frequency / scaling.factor + smooth * frequency;
}

void check_scaling(const model::RopeScaling& scaling) {
    if (scaling.type != "llama3" && scaling.type != "linear" && scaling.type != "default") {
        throw ConfigError(fmt::format(
            "rope_scaling type '{}' cannot be trained; expected llama3, linear or default",
            scaling.type));
    }
    if (!(scaling.factor > 0)) {
        throw ConfigError(
            fmt::format("rope_scaling factor is {}, expected a number > 0", scaling.factor));
    }
    if (scaling.type != "llama3") return;
    if (!(scaling.low_freq_factor > 0) || !(scaling.high_freq_factor > scaling.low_freq_factor)) {
        throw ConfigError(fmt::format(
            "rope_scaling high_freq_factor is {}, expected more than low_freq_factor {} > 0",
            scaling.high_freq_factor, scaling.low_freq_factor));
    }
}

double scaled_frequency(const model::ModelConfig& config, double frequency) {
    if (!config.rope_scaling) return frequency;
    if (config.rope_scaling->type == "llama3") {
        return llama3_frequency(*config.rope_scaling, frequency);
    }
    return config.rope_scaling->type == "linear" ? frequency / config.rope_scaling->factor
                                                 : frequency;
}

}  // namespace

RopeTable::RopeTable(const model::ModelConfig& config, std::int64_t positions)
    : positions_(positions), half_dim_(config.rotary_dim() / 2) {
    const std::int64_t rotated = config.rotary_dim();
    if (rotated <= 0 || rotated % 2 != 0) {
        throw ConfigError(
            rotated == config.head_dim
                ? fmt::format("rotary embedding needs an even head_dim; found {}", config.head_dim)
                : fmt::format("rotary embedding needs an even number of rotated "
                              "dimensions; found {} of {}",
                              rotated, config.head_dim));
    }
    if (positions < 0)
        throw ConfigError(fmt::format("rotary embedding of {} positions", positions));
    if (config.rope_scaling) check_scaling(*config.rope_scaling);

    std::vector<double> frequencies;
    for (std::int64_t i = 0; i < half_dim_; ++i) {
        const double exponent = 2 * static_cast<double>(i) / static_cast<double>(rotated);
        frequencies.push_back(scaled_frequency(config, std::pow(config.rope_theta, -exponent)));
    }
    const auto size = static_cast<std::size_t>(positions * half_dim_);
    cosines_.reserve(size);
    sines_.reserve(size);
    for (std::int64_t position = 0; position < positions; ++position) {
        for (const double frequency : frequencies) {
            const double angle = static_cast<double>(position) * frequency;
            cosines_.push_back(std::cos(angle));
            sines_.push_back(std::sin(angle));
        }
    }
    cosines_fp32_.assign(cosines_.begin(), cosines_.end());
    sines_fp32_.assign(sines_.begin(), sines_.end());
}

RopeTable RopeTable::local(const model::ModelConfig& config, std::int64_t positions) {
    model::ModelConfig of_window_layers = config;
    of_window_layers.rope_theta = config.local_rope_theta.value_or(config.rope_theta);
    of_window_layers.rope_scaling.reset();
    return {of_window_layers, positions};
}

std::vector<float> RopeTable::device_values() const {
    std::vector<float> values = cosines_fp32_;
    values.insert(values.end(), sines_fp32_.begin(), sines_fp32_.end());
    return values;
}

}  // namespace isoflop::ops
