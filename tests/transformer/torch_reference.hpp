// What generate_torch_reference.py computes too: weights, tokens, sketches of tensors.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <nlohmann/json.hpp>
#include <string_view>
#include <vector>

#include "transformer/tiny_model.hpp"

namespace isoflop::testing::torch_reference {

using nlohmann::json;

/// word(name, index) of the generator: FNV-1a, then the finalizer lowbias32.
inline std::uint32_t word(std::string_view name, std::size_t index) {
    std::uint32_t x = 0x811C9DC5U;
    for (const char byte : name) x = (x ^ static_cast<unsigned char>(byte)) * 0x01000193U;
    x += static_cast<std::uint32_t>(index) * 0x9E3779B9U;
    x = (x ^ (x >> 16U)) * 0x7FEB352DU;
    x = (x ^ (x >> 15U)) * 0x846CA68BU;
    return x ^ (x >> 16U);
}

/// The generator's weights; every value is exact in single precision too.
inline void fill_weights(TinyModel& model) {
    device::visit_dtype(model.weights.dtype(), [&](auto zero) {
        using T = decltype(zero);
        for (const cost::StateTensor& tensor : model.state.tensors) {
            const bool norm_weight = !tensor.spec.is_matrix() && tensor.name.ends_with(".weight");
            T* const values = model.weights.as<T>().data() + tensor.offset;
            for (std::size_t i = 0; i < static_cast<std::size_t>(tensor.spec.elements()); ++i) {
                const double step = static_cast<double>(word(tensor.name, i) % 641) - 320;
                values[i] = static_cast<T>(step / 1024 + (norm_weight ? 1 : 0));
            }
        }
    });
}

inline void fill_tokens(TinyModel& model) {
    const auto vocab_size = static_cast<std::uint32_t>(model.config.vocab_size);
    for (std::size_t i = 0; i < model.tokens.size(); ++i) {
        model.tokens[i] = static_cast<std::int32_t>(word("tokens", i) % vocab_size);
        model.targets[i] = static_cast<std::int32_t>(word("targets", i) % vocab_size);
        if (i % 7 == 3) model.targets[i] = -100;
    }
}

inline std::vector<double> values_of(const cost::StateTensor& tensor,
                                     const device::TensorView& flat) {
    return device::visit_dtype(flat.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const auto values =
            flat.as<T>().subspan(tensor.offset, static_cast<std::size_t>(tensor.spec.elements()));
        return std::vector<double>(values.begin(), values.end());
    });
}

/// How far values are from a stored sketch, relative to the stored norm: the largest of the
/// differences of the norms, of the sums with signs (root mean square, which estimates the norm of
/// the difference of all elements) and of the stored elements.
inline double sketch_error(const std::vector<double>& values, const json& sketch) {
    const auto expected_sums = sketch.at("sums").get<std::vector<double>>();
    std::vector<double> sums(expected_sums.size());
    double squares = 0;
    for (std::size_t i = 0; i < values.size(); ++i) {
        squares += values[i] * values[i];
        const std::uint32_t signs = word("signs", i);
        for (std::size_t k = 0; k < sums.size(); ++k)
            sums[k] += ((signs >> k) & 1U) == 1U ? -values[i] : values[i];
    }
    double sum_squares = 0;
    for (std::size_t k = 0; k < sums.size(); ++k)
        sum_squares += (sums[k] - expected_sums[k]) * (sums[k] - expected_sums[k]);
    const auto norm = sketch.at("norm").get<double>();
    const auto entries = sketch.at("entries").get<std::vector<double>>();
    return std::max({std::abs(std::sqrt(squares) - norm),
                     std::sqrt(sum_squares / static_cast<double>(sums.size())),
                     std::abs(values.front() - entries.front()),
                     std::abs(values.back() - entries.back())}) /
           norm;
}

inline double relative_error(double value, const json& expected) {
    return std::abs(value - expected.get<double>()) / std::abs(expected.get<double>());
}

}  // namespace isoflop::testing::torch_reference
