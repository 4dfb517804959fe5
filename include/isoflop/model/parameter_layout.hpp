// Every tensor of a model: name, shape, role. The one place where parameters are counted: the
// planner sums this list, the trainer allocates it, checkpoints are written from it.
//
// Identical layers share one BlockLayout, so that the layout of a 126-layer model costs no more
// than that of one layer, and a plan takes microseconds.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/model/model_config.hpp"

namespace isoflop::model {

/// The component of a tensor, for reports and for counting rules.
enum class Component {
    token_embedding,
    position_embedding,
    attention,   ///< projections, their biases, QK norms, latent norms
    recurrence,  ///< projections, convolutions and states of linear attention and state spaces
    ffn,         ///< dense feed-forward
    router,
    routed_experts,
    shared_experts,
    norm,
    lm_head,  ///< only when untied; a tied head is the token embedding
};
inline constexpr std::size_t kComponentCount = 10;

struct TensorSpec {
    std::string_view name;  ///< relative to its block; "{e}" stands for the expert index
    std::array<std::int64_t, 2>
        shape{};  ///< as stored in Hugging Face checkpoints; {n, 0} is a vector of n
    Component component = Component::norm;
    bool is_matmul = false;   ///< enters a matrix product (not: lookups, norms, biases)
    std::int64_t copies = 1;  ///< number of experts with this tensor, else 1
    bool stacked = false;     ///< the copies are one tensor in checkpoints, {copies, shape}
    /// Length of the middle axis of a three-dimensional weight, {shape[0], depth, shape[1]}, as
    /// convolutions have; 0: none.
    std::int64_t depth = 0;

    [[nodiscard]] constexpr bool is_matrix() const { return shape[1] != 0; }
    /// The shape that the tensor has in checkpoints.
    [[nodiscard]] std::vector<std::int64_t> extents() const {
        std::vector<std::int64_t> extents;
        if (stacked) extents.push_back(copies);
        extents.push_back(shape[0]);
        if (depth != 0) extents.push_back(depth);
        if (is_matrix()) extents.push_back(shape[1]);
        return extents;
    }
    /// AdamW decays matrices only (embeddings included), never norms and biases.
    [[nodiscard]] bool weight_decay() const { return is_matrix(); }
    [[nodiscard]] std::int64_t elements() const {
        return is_matrix() ? shape[0] * std::max<std::int64_t>(depth, 1) * shape[1] : shape[0];
    }
    [[nodiscard]] std::int64_t total_elements() const { return elements() * copies; }
};

/// A run of identical layers.
struct BlockLayout {
    std::string_view prefix;  ///< "model.layers." ; a tensor is prefix + layer + "." + name
    bool is_moe = false;
    LayerKind kind{};                  ///< of the first of them; window and rotary may differ
    std::vector<std::int64_t> layers;  ///< which layers have this layout, ascending
    std::vector<TensorSpec> tensors;

    [[nodiscard]] std::int64_t count() const { return static_cast<std::int64_t>(layers.size()); }
};

struct ParameterTotals {
    std::int64_t total = 0;
    std::int64_t active = 0;  ///< of those, used by one token: k of E routed experts; all else
    std::int64_t non_embedding =
        0;  ///< without token and position embeddings and without an untied head (Kaplan 2020)
    std::int64_t active_non_embedding = 0;
    std::int64_t matmul =
        0;  ///< active weights that enter matrix products, LM head included (tied or not)
    std::array<std::int64_t, kComponentCount> by_component{};  ///< all parameters, sums to `total`
};

/// FSDP units and communication buckets follow this structure: embedding, each block, head.
struct ParameterLayout {
    std::vector<TensorSpec> embedding;  ///< token (and position) embedding, embedding norm
    std::vector<BlockLayout> blocks;
    std::vector<TensorSpec> head;  ///< final norm, untied LM head
    bool tied_head = false;
    std::int64_t num_experts = 0;
    std::int64_t num_experts_per_token = 0;

    [[nodiscard]] ParameterTotals totals() const;
    /// Visits every tensor with its full checkpoint name, in model order (embedding, layers
    /// ascending, head). Each expert's tensor is visited on its own, unless they are stacked: there
    /// `elements()` is the size of the one visited, of stacked ones of one expert.
    void for_each(
        const std::function<void(const std::string& name, const TensorSpec& tensor)>& visit) const;
};

/// Requires a consistent config (find_inconsistency returns "").
[[nodiscard]] ParameterLayout parameter_layout(const ModelConfig& config);

}  // namespace isoflop::model

namespace isoflop {
template <>
inline constexpr auto enum_names<model::Component> = std::to_array<EnumName<model::Component>>(
    {{model::Component::token_embedding, "token_embedding"},
     {model::Component::position_embedding, "position_embedding"},
     {model::Component::attention, "attention"},
     {model::Component::recurrence, "recurrence"},
     {model::Component::ffn, "ffn"},
     {model::Component::router, "router"},
     {model::Component::routed_experts, "routed_experts"},
     {model::Component::shared_experts, "shared_experts"},
     {model::Component::norm, "norm"},
     {model::Component::lm_head, "lm_head"}});
}  // namespace isoflop
