#include "isoflop/trainer/initialization.hpp"

#include <cmath>
#include <string_view>

#include "isoflop/base/fnv1a.hpp"
#include "isoflop/ops/random.hpp"
#include "isoflop/ops/reduction.hpp"

namespace isoflop::trainer {
namespace {

bool ends_with(std::string_view text, std::string_view suffix) {
    return text.size() >= suffix.size() && text.substr(text.size() - suffix.size()) == suffix;
}

bool writes_to_residual(std::string_view name) {
    return ends_with(name, "o_proj.weight") || ends_with(name, "down_proj.weight") ||
           ends_with(name, "c_proj.weight");
}

}  // namespace

void initialize_weights(device::Context& context, const model::ModelConfig& config,
                        std::uint64_t seed, const sharding::TensorPart& part,
                        const device::TensorView& values) {
    const std::string& name = part.tensor->name;
    if (!part.tensor->spec.is_matrix())
        return ops::fill(context, ends_with(name, ".weight") ? 1.0 : 0.0, values);
    const double residual_deviation =
        kInitialDeviation / std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
    const double deviation = writes_to_residual(name) ? residual_deviation : kInitialDeviation;
    ops::fill_normal(context, deviation, seed, fnv1a(name), part.first, values);
}

}  // namespace isoflop::trainer
