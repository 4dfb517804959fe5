#include "isoflop/cost/communication.hpp"

#include <cmath>

#include "cost/unit_sizes.hpp"
#include "isoflop/cost/state_layout.hpp"

namespace isoflop::cost {
std::vector<Unit> padded_units(const model::ParameterLayout& layout, std::int64_t world_size) {
    std::vector<Unit> units;
    units.reserve(layout.blocks.size() + 2);
    units.push_back(
        {"embedding", place_unit(layout.embedding, world_size).elements, 1, &layout.embedding});
    for (const model::BlockLayout& block : layout.blocks) {
        units.push_back({block.is_moe ? "moe_block" : "block",
                         place_unit(block.tensors, world_size).elements, block.count(),
                         &block.tensors});
    }
    units.push_back({"head", place_unit(layout.head, world_size).elements, 1, &layout.head});
    return units;
}

std::uint64_t padded_parameters(const model::ParameterLayout& layout, std::int64_t world_size) {
    std::uint64_t elements = 0;
    for (const Unit& unit : padded_units(layout, world_size)) {
        elements += unit.elements * static_cast<std::uint64_t>(unit.count);
    }
    return elements;
}

namespace {

/// Elements that fsdp gathers in one micro-batch.
struct Gathered {
    std::uint64_t forward = 0;
    std::uint64_t backward = 0;
};

/// Forward uses every unit, a tied head the embedding once more. Backward begins with the head and
/// the last block, which are still gathered, and does not read the embedding.
Gathered fsdp_gathers(const model::ParameterLayout& layout, std::int64_t world_size) {
    Gathered gathered;
    std::int64_t last_layer = -1;
    std::uint64_t last_block = 0;
    for (const model::BlockLayout& block : layout.blocks) {
        const std::uint64_t elements = place_unit(block.tensors, world_size).elements;
        gathered.backward += elements * static_cast<std::uint64_t>(block.count());
        if (block.count() > 0 && block.layers.back() > last_layer) {
            last_layer = block.layers.back();
            last_block = elements;
        }
    }
    const std::uint64_t embedding = place_unit(layout.embedding, world_size).elements;
    gathered.forward = gathered.backward + embedding * (layout.tied_head ? 2 : 1) +
                       place_unit(layout.head, world_size).elements;
    gathered.backward -= last_block;
    return gathered;
}

std::vector<Collective> fsdp_communication(const model::ParameterLayout& layout,
                                           const Execution& execution) {
    const auto sharers = static_cast<std::uint64_t>(execution.shard_ranks());
    const auto replicas = static_cast<std::uint64_t>(execution.replicas());
    const auto micro_batches = static_cast<std::uint64_t>(execution.grad_accum_steps);
    const std::uint64_t weight = size_in_bytes(execution.storage_dtype());
    const std::uint64_t gradient =
        size_in_bytes(execution.gradient_dtype.value_or(execution.storage_dtype()));
    const std::uint64_t elements = padded_parameters(layout, execution.world_size);
    const auto sent = [&](std::uint64_t count) { return count / sharers * (sharers - 1); };

    std::vector<Collective> collectives;
    if (execution.reshard_after_forward) {
        const Gathered gathered = fsdp_gathers(layout, execution.world_size);
        collectives = {
            {"all_gather weights (forward)", sent(gathered.forward) * weight * micro_batches},
            {"all_gather weights (backward)", sent(gathered.backward) * weight * micro_batches}};
    } else {  // kept until the update
        collectives = {{"all_gather weights (forward)", sent(elements) * weight}};
    }
    collectives.push_back({"reduce_scatter gradients", sent(elements) * gradient * micro_batches});
    if (replicas > 1) {
        collectives.push_back({"all_reduce gradients (copies)",
                               2 * (elements / sharers) / replicas * (replicas - 1) * gradient});
    }
    return collectives;
}

}  // namespace

std::vector<Collective> communication_per_step(const model::ParameterLayout& layout,
                                               const Execution& execution) {
    const auto ranks = static_cast<std::uint64_t>(execution.world_size);
    if (ranks <= 1) return {};
    const std::uint64_t elements = padded_parameters(layout, execution.world_size);
    const DType storage = execution.storage_dtype();
    // One shard per rank and hop: (n-1) hops of elements / n.
    const std::uint64_t shard_hops = elements / ranks * (ranks - 1);
    const std::uint64_t weights = shard_hops * size_in_bytes(storage);
    const std::uint64_t gradients =
        shard_hops * size_in_bytes(execution.gradient_dtype.value_or(storage));
    const auto micro_batches = static_cast<std::uint64_t>(execution.grad_accum_steps);
    switch (execution.parallelism) {
        case Parallelism::ddp: return {{"all_reduce gradients", 2 * gradients}};
        case Parallelism::zero1:
            return {{"reduce_scatter gradients", gradients}, {"all_gather weights", weights}};
        case Parallelism::zero2:
            // Gradients are kept sharded, so each micro-batch is reduced as it is produced.
            return {{"reduce_scatter gradients", gradients * micro_batches},
                    {"all_gather weights", weights}};
        case Parallelism::fsdp: return fsdp_communication(layout, execution);
    }
    return {};
}

bool traffic_is_countable(const model::ParameterLayout& layout, const Execution& execution) {
    // fsdp moves most: weights twice and gradients once in every micro-batch, in 4 bytes at most
    // (float64: 8).
    const double bytes = 3.0 * 8.0 *
                         static_cast<double>(padded_parameters(layout, execution.world_size)) *
                         static_cast<double>(execution.grad_accum_steps);
    return bytes < std::ldexp(1.0, 63);
}

std::uint64_t total_bytes_sent(const std::vector<Collective>& collectives) {
    std::uint64_t total = 0;
    for (const Collective& collective : collectives) total += collective.bytes_sent;
    return total;
}

}  // namespace isoflop::cost
