// Lists of layers as several classes of transformers describe them.
#pragma once

#include <string_view>
#include <vector>

#include "class_key_reader.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::model {

/// Which layers have a window where a file has a sliding_window but no layer_types.
enum class WindowsWithoutList { none, all, all_but_every_nth };

/// Layers of attention and a dense network, with a window where layer_types says
/// sliding_attention (or chunked_attention).
[[nodiscard]] std::vector<LayerKind> windows_by_list(const ClassKeys& keys,
                                                     const ModelConfig& config,
                                                     WindowsWithoutList otherwise,
                                                     std::int64_t period = 4);

/// One entry of layer_types, or of the list that a class has in its place.
struct LayerType {
    std::string_view name;
    LayerKind kind;
};

/// Layers as `types` names them; names that are not among `known` are refused by `key`.
[[nodiscard]] std::vector<LayerKind> layers_by_name(const std::vector<std::string>& types,
                                                    std::initializer_list<LayerType> known,
                                                    std::string_view key);

/// Layers as the rules of `moe` and of the window make them.
[[nodiscard]] std::vector<LayerKind> layers_by_rules(const ModelConfig& config);

/// A layer with full attention, and one with the recurrence in its place.
inline constexpr LayerKind kAttentionLayer{};
inline constexpr LayerKind kRecurrentLayer{.attention = false, .recurrence = true};

/// Layers of attention or of the recurrence as layer_types says; without it as `is_attention` says.
/// Feed-forward networks follow the rules of `moe`.
template <class IsAttention>
[[nodiscard]] std::vector<LayerKind> mixers_by_list(const ClassKeys& keys,
                                                    const ModelConfig& config,
                                                    const IsAttention& is_attention);

/// The names that transformers gives to the two kinds of mixers.
[[nodiscard]] std::vector<LayerKind> mixers_by_name(const std::vector<std::string>& types,
                                                    std::string_view key);

template <class IsAttention>
std::vector<LayerKind> mixers_by_list(const ClassKeys& keys, const ModelConfig& config,
                                      const IsAttention& is_attention) {
    std::vector<LayerKind> layers;
    if (const auto types = keys.layer_types(config.num_hidden_layers)) {
        layers = mixers_by_name(*types, "layer_types");
    } else {
        for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
            layers.push_back(is_attention(layer) ? kAttentionLayer : kRecurrentLayer);
    }
    const std::vector<LayerKind> rules = layers_by_rules(config);
    for (std::size_t layer = 0; layer < layers.size(); ++layer)
        layers[layer].ffn = rules[layer].ffn;
    return layers;
}

}  // namespace isoflop::model
