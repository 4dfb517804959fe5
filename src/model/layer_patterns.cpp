#include "layer_patterns.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"

namespace isoflop::model {

std::vector<LayerKind> windows_by_list(const ClassKeys& keys, const ModelConfig& config,
                                       WindowsWithoutList otherwise, std::int64_t period) {
    const std::int64_t count = config.num_hidden_layers;
    if (const auto types = keys.layer_types(count)) {
        const LayerKind full{};
        const LayerKind window{.window = config.sliding_window.has_value()};
        return layers_by_name(*types,
                              {{"full_attention", full},
                               {"sliding_attention", window},
                               {"chunked_attention", window}},
                              "layer_types");
    }
    std::vector<LayerKind> layers(static_cast<std::size_t>(std::max<std::int64_t>(count, 0)));
    if (!config.sliding_window || otherwise == WindowsWithoutList::none) return layers;
    for (std::size_t layer = 0; layer < layers.size(); ++layer) {
        layers[layer].window = otherwise == WindowsWithoutList::all ||
                               (static_cast<std::int64_t>(layer) + 1) % period != 0;
    }
    return layers;
}

std::vector<LayerKind> layers_by_name(const std::vector<std::string>& types,
                                      std::initializer_list<LayerType> known,
                                      std::string_view key) {
    std::vector<LayerKind> layers;
    for (const std::string& type : types) {
        const auto* const found = std::find_if(
            known.begin(), known.end(), [&](const LayerType& entry) { return entry.name == type; });
        if (found == known.end()) {
            std::vector<std::string_view> names;
            for (const LayerType& entry : known) names.push_back(entry.name);
            throw ModelKeyError(std::string(key),
                                fmt::format("{}[{}] must be one of {}; found \"{}\"", key,
                                            layers.size(), join(names), printable(type)));
        }
        layers.push_back(found->kind);
    }
    return layers;
}

std::vector<LayerKind> layers_by_rules(const ModelConfig& config) {
    ModelConfig rules = config;
    rules.layers.clear();
    std::vector<LayerKind> layers;
    for (std::int64_t layer = 0; layer < rules.num_hidden_layers; ++layer)
        layers.push_back(rules.layer_kind(layer));
    return layers;
}

std::vector<LayerKind> mixers_by_name(const std::vector<std::string>& types, std::string_view key) {
    return layers_by_name(types,
                          {{"full_attention", kAttentionLayer},
                           {"attention", kAttentionLayer},
                           {"linear_attention", kRecurrentLayer},
                           {"mamba", kRecurrentLayer},
                           {"conv", kRecurrentLayer}},
                          key);
}

}  // namespace isoflop::model
