// Assembles a layout from its family's parts, and sums it.
#include "isoflop/model/parameter_layout.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>

#include "layout_parts.hpp"

namespace isoflop::model {
namespace {

bool is_gpt_family(TensorNaming naming) {
    switch (naming) {
        case TensorNaming::gpt2:
        case TensorNaming::mpt:
        case TensorNaming::gpt_neox:
        case TensorNaming::gpt_bigcode:
        case TensorNaming::falcon:
        case TensorNaming::bloom: return true;
        default: return false;
    }
}

std::vector<std::int64_t> first_layers(std::int64_t count) {
    std::vector<std::int64_t> layers(static_cast<std::size_t>(count));
    std::iota(layers.begin(), layers.end(), std::int64_t{0});
    return layers;
}

/// One layout for each set of tensors, in the order in which they first occur.
void add_blocks(const ModelConfig& config, ParameterLayout& layout) {
    for (LayerGroup& group : config.layer_groups()) {
        const auto same = std::find_if(
            layout.blocks.begin(), layout.blocks.end(),
            [&](const BlockLayout& block) { return block.kind.has_tensors_of(group.kind); });
        if (same == layout.blocks.end()) {
            layout.blocks.push_back(parts::llama_block(config, group.kind));
            layout.blocks.back().layers = std::move(group.layers);
            continue;
        }
        const auto middle =
            same->layers.insert(same->layers.end(), group.layers.begin(), group.layers.end());
        std::inplace_merge(same->layers.begin(), middle, same->layers.end());
    }
}

/// Adds tensors that occur in `layers` layers to the totals.
void accumulate(ParameterTotals& totals, const std::vector<TensorSpec>& tensors,
                std::int64_t layers, std::int64_t experts_per_token) {
    for (const TensorSpec& tensor : tensors) {
        const std::int64_t all = tensor.total_elements() * layers;
        const bool routed = tensor.component == Component::routed_experts;
        const std::int64_t active = routed ? tensor.elements() * experts_per_token * layers : all;
        totals.total += all;
        totals.active += active;
        if (tensor.is_matmul) totals.matmul += active;
        totals.by_component[static_cast<std::size_t>(tensor.component)] += all;
    }
}

std::string replace_expert(std::string_view name, std::int64_t expert) {
    constexpr std::string_view kPlaceholder = "{e}";
    const std::size_t place = name.find(kPlaceholder);
    if (place == std::string_view::npos) return std::string(name);
    return fmt::format("{}{}{}", name.substr(0, place), expert,
                       name.substr(place + kPlaceholder.size()));
}

}  // namespace

ParameterTotals ParameterLayout::totals() const {
    ParameterTotals totals;
    accumulate(totals, embedding, 1, num_experts_per_token);
    for (const BlockLayout& block : blocks) {
        accumulate(totals, block.tensors, block.count(), num_experts_per_token);
    }
    accumulate(totals, head, 1, num_experts_per_token);

    const auto of = [&](Component component) {
        return totals.by_component[static_cast<std::size_t>(component)];
    };
    const std::int64_t outside =
        of(Component::token_embedding) + of(Component::position_embedding) + of(Component::lm_head);
    totals.non_embedding = totals.total - outside;
    totals.active_non_embedding = totals.active - outside;
    // A tied head is still a product with the token embedding.
    if (tied_head) totals.matmul += embedding.front().elements();
    return totals;
}

void ParameterLayout::for_each(
    const std::function<void(const std::string& name, const TensorSpec& tensor)>& visit) const {
    for (const TensorSpec& tensor : embedding) {
        for (std::int64_t copy = 0; copy < tensor.copies; ++copy)
            visit(replace_expert(tensor.name, copy), tensor);
    }

    std::size_t layer_count = 0;
    for (const BlockLayout& block : blocks) layer_count += block.layers.size();
    std::vector<const BlockLayout*> block_of(layer_count);
    for (const BlockLayout& block : blocks) {
        for (const std::int64_t layer : block.layers) {
            block_of[static_cast<std::size_t>(layer)] = &block;
        }
    }
    for (std::size_t layer = 0; layer < layer_count; ++layer) {
        for (const TensorSpec& tensor : block_of[layer]->tensors) {
            const std::int64_t tensors = tensor.stacked ? 1 : tensor.copies;
            for (std::int64_t copy = 0; copy < tensors; ++copy) {
                visit(fmt::format("{}{}.{}", block_of[layer]->prefix, layer,
                                  replace_expert(tensor.name, copy)),
                      tensor);
            }
        }
    }
    for (const TensorSpec& tensor : head) visit(std::string(tensor.name), tensor);
}

ParameterLayout parameter_layout(const ModelConfig& config) {
    ParameterLayout layout;
    layout.tied_head = config.tie_word_embeddings;
    if (is_gpt_family(config.naming)) {
        parts::build_gpt_ends(config, layout);
        layout.blocks.push_back(parts::gpt_block(config));
        layout.blocks.back().layers = first_layers(config.num_hidden_layers);
        return layout;
    }
    parts::build_llama_ends(config, layout);
    add_blocks(config, layout);
    if (config.moe) {
        layout.num_experts = config.moe->num_experts;
        layout.num_experts_per_token = config.moe->num_experts_per_token;
    }
    return layout;
}

}  // namespace isoflop::model
