#include "isoflop/trainer/initialization.hpp"

#include <algorithm>
#include <array>
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
    constexpr std::array<std::string_view, 9> outputs = {
        "o_proj.weight",          "down_proj.weight",     "c_proj.weight", "attention.dense.weight",
        "self_attn.dense.weight", "dense_4h_to_h.weight", "fc2.weight",    "out_proj.weight",
        "fc_out.weight"};
    return std::any_of(outputs.begin(), outputs.end(),
                       [&](std::string_view output) { return ends_with(name, output); });
}

}  // namespace

void initialize_weights(device::Context& context, const model::ModelConfig& config,
                        std::uint64_t seed, const sharding::TensorPart& part,
                        const device::TensorView& values) {
    const std::string& name = part.tensor->name;
    if (!part.tensor->spec.is_matrix())
        return ops::fill(context, ends_with(name, ".weight") && !config.norms_add_one ? 1.0 : 0.0,
                         values);
    const double residual_deviation =
        kInitialDeviation / std::sqrt(2.0 * static_cast<double>(config.num_hidden_layers));
    const double deviation = writes_to_residual(name) ? residual_deviation : kInitialDeviation;
    ops::fill_normal(context, deviation, seed, fnv1a(name), part.first, values);
}

}  // namespace isoflop::trainer
