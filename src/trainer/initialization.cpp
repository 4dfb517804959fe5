#include "isoflop/trainer/initialization.hpp"

#include <cmath>
#include <numbers>
#include <string_view>

#include "isoflop/base/philox.hpp"
#include "isoflop/ops/reduction.hpp"

namespace isoflop::trainer {
namespace {

/// FNV-1a: a stable number for a tensor's name.
std::uint64_t name_hash(std::string_view name) {
    std::uint64_t hash = 14695981039346656037ULL;
    for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211ULL;
    return hash;
}

bool ends_with(std::string_view text, std::string_view suffix) {
    return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

bool writes_to_residual(std::string_view name) {
    return ends_with(name, "o_proj.weight") || ends_with(name, "down_proj.weight") ||
           ends_with(name, "c_proj.weight");
}

/// Four normal deviates from one counter (Box-Muller on two pairs of words).
template <class T>
void fill_normal(device::Context& context, std::span<T> values, double deviation,
                 std::uint64_t seed, std::uint64_t stream) {
    const PhiloxKey key = philox_key(seed);
    const auto quads = static_cast<std::int64_t>((values.size() + 3) / 4);
    context.pool.parallel_ranges(quads, 4096, [&](std::int64_t begin, std::int64_t end) {
        for (std::int64_t quad = begin; quad < end; ++quad) {
            const auto index = static_cast<std::uint64_t>(quad);
            const PhiloxCounter words = philox(
                {static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32U),
                 static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32U)},
                key);
            for (std::size_t pair = 0; pair < 2; ++pair) {
                const double u = 1.0 - to_unit_interval(words[2 * pair]);  // (0, 1]
                const double radius = std::sqrt(-2.0 * std::log(u)) * deviation;
                const double angle = 2.0 * std::numbers::pi * to_unit_interval(words[2 * pair + 1]);
                const std::size_t at = 4 * static_cast<std::size_t>(quad) + 2 * pair;
                if (at < values.size()) values[at] = static_cast<T>(radius * std::cos(angle));
                if (at + 1 < values.size())
                    values[at + 1] = static_cast<T>(radius * std::sin(angle));
            }
        }
    });
}

}  // namespace

void initialize_weights(device::Context& context, const model::ModelConfig& config,
                        const cost::StateLayout& layout, std::uint64_t seed,
                        const device::TensorView& weights) {
    ops::fill(context, 0.0, weights);
    const double residual_deviation =
        kInitialDeviation / std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
    device::visit_dtype(weights.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::span<T> all = weights.as<T>();
        for (const cost::StateTensor& tensor : layout.tensors) {
            const auto values =
                all.subspan(tensor.offset, static_cast<std::size_t>(tensor.spec.elements()));
            if (tensor.spec.is_matrix()) {
                const double deviation =
                    writes_to_residual(tensor.name) ? residual_deviation : kInitialDeviation;
                fill_normal(context, values, deviation, seed, name_hash(tensor.name));
            } else if (ends_with(tensor.name, ".weight")) {
                std::fill(values.begin(), values.end(), T{1});
            }
        }
    });
}

}  // namespace isoflop::trainer
