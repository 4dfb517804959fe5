#include "isoflop/cost/state_layout.hpp"

#include <algorithm>
#include <array>
#include <numeric>

#include "cost/unit_sizes.hpp"

namespace isoflop::cost {
namespace {

using model::TensorSpec;
using Names = std::array<std::string_view, 3>;

/// Tensors that one product reads together, in the order of its output.
constexpr std::array<Names, 4> kFusedTensors = {{
    {"self_attn.q_proj.weight", "self_attn.k_proj.weight", "self_attn.v_proj.weight"},
    {"self_attn.q_proj.bias", "self_attn.k_proj.bias", "self_attn.v_proj.bias"},
    {"mlp.gate_proj.weight", "mlp.up_proj.weight", ""},
    {"mlp.gate_proj.bias", "mlp.up_proj.bias", ""},
}};

/// The fused group that `name` belongs to, or nullptr.
const Names* fused_group(std::string_view name) {
    for (const Names& group : kFusedTensors) {
        for (const std::string_view member : group) {
            if (!member.empty() && member == name) return &group;
        }
    }
    return nullptr;
}

/// Index of the tensor called `name`, or tensors.size().
std::size_t index_of(const std::vector<TensorSpec>& tensors, std::string_view name) {
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        if (!name.empty() && tensors[i].name == name) return i;
    }
    return tensors.size();
}

std::uint64_t stored_elements(const TensorSpec& tensor) {
    return static_cast<std::uint64_t>(tensor.total_elements());
}

}  // namespace

std::int64_t shard_parts(std::int64_t world_size) {
    constexpr std::int64_t kReproducibleRanks = 8;
    return std::lcm(world_size, kReproducibleRanks);
}

UnitLayout place_unit(const std::vector<TensorSpec>& tensors, std::int64_t world_size) {
    UnitLayout unit;
    unit.placements.reserve(tensors.size());
    std::uint64_t end = 0;
    const auto place = [&](std::size_t index) {
        unit.placements.push_back({index, end});
        end += stored_elements(tensors[index]);
    };
    for (std::size_t i = 0; i < tensors.size(); ++i) {
        if (const Names* group = fused_group(tensors[i].name)) {
            // The whole group is placed in its own order at its first present member (a plain
            // feed-forward has no gate).
            std::array<std::size_t, 3> members{};
            std::size_t count = 0;
            for (const std::string_view member : *group) {
                const std::size_t index = index_of(tensors, member);
                if (index < tensors.size()) members[count++] = index;
            }
            if (members[0] != i) continue;
            for (std::size_t member = 0; member < count; ++member) place(members[member]);
        } else {
            place(i);
        }
        // Each expert's copy is padded on its own.
        if (tensors[i].copies > 1) {
            end -= stored_elements(tensors[i]);
            end += round_up(static_cast<std::uint64_t>(tensors[i].elements()), kTensorAlignment) *
                   static_cast<std::uint64_t>(tensors[i].copies);
        }
        end = round_up(end, kTensorAlignment);
    }
    unit.elements =
        round_up(end, static_cast<std::uint64_t>(shard_parts(world_size) * kTensorAlignment));
    return unit;
}

const StateTensor* StateLayout::find(std::size_t unit, std::string_view short_name) const {
    for (const StateTensor& tensor : tensors) {
        if (tensor.unit == unit && tensor.short_name == short_name) return &tensor;
    }
    return nullptr;
}

std::vector<TensorPart> tensor_parts(const StateLayout& layout, std::size_t unit,
                                     std::uint64_t first, std::int64_t count) {
    const auto range_begin = static_cast<std::int64_t>(first);
    const std::int64_t range_end = range_begin + count;
    std::vector<TensorPart> parts;
    for (const StateTensor& tensor : layout.tensors) {
        if (tensor.unit != unit) continue;
        const auto tensor_begin = static_cast<std::int64_t>(tensor.offset);
        const std::int64_t begin = std::max(range_begin, tensor_begin);
        const std::int64_t end = std::min(range_end, tensor_begin + tensor.spec.elements());
        if (begin < end)
            parts.push_back({&tensor, begin - tensor_begin, begin - range_begin, end - begin});
    }
    return parts;
}

StateLayout state_layout(const model::ParameterLayout& layout, std::int64_t world_size) {
    StateLayout state;
    const auto add_unit = [&](std::string_view kind, std::string_view prefix, std::int64_t layer,
                              const std::vector<TensorSpec>& tensors) {
        const UnitLayout unit = place_unit(tensors, world_size);
        for (const Placement& placement : unit.placements) {
            const TensorSpec& spec = tensors[placement.tensor];
            std::string name;
            if (layer >= 0) name.append(prefix).append(std::to_string(layer)).append(".");
            name.append(spec.name);
            state.tensors.push_back({std::move(name), spec.name, spec, state.units.size(),
                                     state.elements + placement.offset});
        }
        state.units.push_back({kind, layer, state.elements, unit.elements});
        state.elements += unit.elements;
    };
    add_unit("embedding", "", -1, layout.embedding);
    std::vector<std::pair<std::int64_t, const model::BlockLayout*>> layers;
    for (const model::BlockLayout& block : layout.blocks) {
        for (const std::int64_t layer : block.layers) layers.emplace_back(layer, &block);
    }
    std::sort(layers.begin(), layers.end());
    for (const auto& [layer, block] : layers) {
        add_unit(block->is_moe ? "moe_block" : "block", block->prefix, layer, block->tensors);
    }
    add_unit("head", "", -1, layout.head);
    return state;
}

}  // namespace isoflop::cost
