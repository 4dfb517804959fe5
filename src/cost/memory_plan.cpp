// Model state, activations, loss and communication buffers of one rank, laid out in one arena:
// persistent buffers first, then those of a micro-batch, then an overlay that the transient phases
// share.
#include "isoflop/cost/memory_plan.hpp"

#include <algorithm>
#include <bit>
#include <cmath>

#include "cost/activations.hpp"
#include "cost/unit_sizes.hpp"
#include "isoflop/cost/device_overhead.hpp"
#include "isoflop/cost/state_coverage.hpp"

namespace isoflop::cost {
namespace {

using model::ModelConfig;
using model::ParameterLayout;

class PlanBuilder {
public:
    PlanBuilder(const ModelConfig& config, const ParameterLayout& layout,
                const Execution& execution, const OptimizerState& optimizer)
        : config_(config),
          execution_(execution),
          optimizer_(optimizer),
          units_(padded_units(layout, execution.world_size)),
          tied_head_(layout.tied_head) {
        plan_.buffers.reserve(64);
    }

    MemoryPlan build() {
        add_model_state();
        add_communication();
        add_inputs_and_activations();
        add_loss();
        add_scratch();
        add_context();
        place();
        return std::move(plan_);
    }

private:
    void add(BufferId id, Lifetime lifetime, std::uint64_t bytes, std::int64_t count = 1) {
        if (bytes == 0 || count == 0) return;
        plan_.buffers.push_back({id, lifetime, round_up(bytes, kBufferAlignment), count});
    }
    /// The same for a number of elements.
    void add_elements(BufferId id, Lifetime lifetime, std::uint64_t elements,
                      std::int64_t count = 1) {
        add(id, lifetime, elements * bytes_of(id), count);
    }
    [[nodiscard]] std::uint64_t bytes_of(BufferId id) const {
        return element_bytes(buffer_kind(id).elements, execution_);
    }

    [[nodiscard]] bool sharded(Parallelism from) const { return execution_.parallelism >= from; }

    /// One kind of state for every unit, `copies` times; sharded state holds this rank's part of
    /// each.
    void add_state(BufferId id, bool shard, std::int64_t copies = 1) {
        for (const Unit& unit : units_)
            add_elements(id, Lifetime::persistent, held_elements(unit, shard), unit.count * copies);
    }
    void add_optimizer_state(bool shard) {
        for (const OptimizerTensor& tensor : optimizer_.tensors) {
            for (const Unit& unit : units_) {
                const std::uint64_t bytes =
                    held_elements(unit, shard, tensor) * element_bytes(tensor.elements, execution_);
                if (bytes == 0) continue;
                plan_.buffers.push_back({.id = BufferId::optimizer_state,
                                         .lifetime = Lifetime::persistent,
                                         .bytes_each = round_up(bytes, kBufferAlignment),
                                         .count = unit.count,
                                         .optimizer_tensor = &tensor});
            }
        }
    }
    [[nodiscard]] std::int64_t sharers(bool shard) const {
        if (!shard) return 1;
        return sharded(Parallelism::fsdp) ? execution_.shard_ranks() : execution_.world_size;
    }
    [[nodiscard]] std::uint64_t held_elements(const Unit& unit, bool shard) const {
        return unit.elements / static_cast<std::uint64_t>(sharers(shard));
    }
    /// Of the weights that the state covers; where ranks hold different numbers of them, the most.
    [[nodiscard]] std::uint64_t held_elements(const Unit& unit, bool shard,
                                              const OptimizerTensor& tensor) const {
        if (tensor.kept_for == nullptr) return held_elements(unit, shard);
        const UnitLayout places = place_unit(*unit.tensors, execution_.world_size);
        return covered_ranges(tensor, *unit.tensors, places)
            .largest_part({0, unit.elements}, sharers(shard));
    }

    void add_model_state() {
        const bool shard_optimizer = sharded(Parallelism::zero1);
        const bool shard_gradients = sharded(Parallelism::zero2);
        add_state(BufferId::weights, sharded(Parallelism::fsdp));
        if (execution_.has_master_weights()) add_state(BufferId::master_weights, shard_optimizer);
        add_state(BufferId::gradients, shard_gradients);
        add_state(BufferId::pending_gradients, shard_gradients, pending_gradient_sums(execution_));
        add_optimizer_state(shard_optimizer);
    }

    /// Whole units in flight. Weights: the unit in use and the prefetched one, or all when they are
    /// kept. Gradients: the unit being computed and the one being reduced. A tied head holds the
    /// embedding beside them.
    void add_communication() {
        if (execution_.world_size <= 1) return;
        const std::uint64_t largest = largest_unit(units_);
        const std::int64_t in_flight = tied_head_ ? 3 : 2;
        if (sharded(Parallelism::fsdp)) {
            if (execution_.reshard_after_forward) {
                add_elements(BufferId::gathered_weights, Lifetime::step, largest, in_flight);
            } else {
                for (const Unit& unit : units_) {
                    add_elements(BufferId::gathered_weights, Lifetime::step, unit.elements,
                                 unit.count);
                }
            }
        }
        if (optimizer_.whole_matrices && sharded(Parallelism::zero1))
            add_elements(BufferId::gathered_state, Lifetime::step, largest);
        if (sharded(Parallelism::zero2))
            add_elements(BufferId::unreduced_gradients, Lifetime::step, largest, in_flight);
        if (execution_.device == DeviceKind::cpu) {
            // Sums within a shard and between copies of it may be in progress at the same time.
            const bool copies = sharded(Parallelism::fsdp) && execution_.replicas() > 1;
            add(BufferId::staging, Lifetime::step,
                std::min(kStagingBytes, largest * bytes_of(BufferId::gradients)), copies ? 2 : 1);
        }
    }

    void add_layers(const model::LayerKind& kind, std::int64_t layers) {
        for (Buffer buffer : layer_activations(config_, execution_, kind)) {
            buffer.count = layers;
            plan_.buffers.push_back(buffer);
        }
    }

    /// Kinds of layers with the same activations, in the order of the plan: dense ones first.
    [[nodiscard]] std::vector<std::pair<model::LayerKind, std::int64_t>> kinds() const {
        std::vector<std::pair<model::LayerKind, std::int64_t>> kinds;
        for (const model::LayerGroup& group : config_.layer_groups()) {
            const auto same = std::find_if(kinds.begin(), kinds.end(), [&](const auto& entry) {
                return entry.first.has_tensors_of(group.kind);
            });
            if (same == kinds.end()) {
                kinds.emplace_back(group.kind, group.count());
            } else {
                same->second += group.count();
            }
        }
        std::stable_partition(kinds.begin(), kinds.end(), [](const auto& entry) {
            return entry.first.ffn != model::FfnKind::mixture;
        });
        return kinds;
    }

    void add_inputs_and_activations() {
        const auto tokens = static_cast<std::uint64_t>(execution_.tokens());
        const std::uint64_t row = tokens * static_cast<std::uint64_t>(config_.hidden_size);
        // Inputs and targets.
        add_elements(BufferId::token_ids, Lifetime::step, tokens, 2);
        if (execution_.device == DeviceKind::cuda &&
            config_.position_encoding == model::PositionEncoding::rope) {
            // Cosine and sine of every position and frequency.
            const bool has_local = config_.local_rope_theta && config_.num_window_layers() > 0;
            add_elements(
                BufferId::rope_table, Lifetime::persistent,
                static_cast<std::uint64_t>(execution_.sequence_length * config_.rotary_dim()),
                has_local ? 2 : 1);
        }
        for (const auto& [kind, layers] : kinds()) add_layers(kind, layers);
        add_elements(BufferId::final_norm_input, Lifetime::step, row);
        add_elements(BufferId::final_norm_output, Lifetime::step, row);
        const std::uint64_t statistics =
            config_.normalization == model::Normalization::rmsnorm ? 1 : 2;
        add_elements(BufferId::final_norm_statistics, Lifetime::step, tokens * statistics);
        // The gradient of the residual stream: written by the loss, carried through every block to
        // the embedding.
        add_elements(BufferId::grad_residual, Lifetime::step, row);
    }

    /// Logits of one chunk become their own gradient in place.
    void add_loss() {
        const auto tokens = static_cast<std::uint64_t>(execution_.tokens());
        const auto chunk =
            static_cast<std::uint64_t>(loss_chunk_tokens(execution_, config_.vocab_size));
        add_elements(BufferId::logits, Lifetime::loss,
                     chunk * static_cast<std::uint64_t>(config_.vocab_size));
        if (config_.final_logit_soft_cap) {
            add_elements(BufferId::logits_capped, Lifetime::loss,
                         chunk * static_cast<std::uint64_t>(config_.vocab_size));
        }
        add_elements(BufferId::losses, Lifetime::loss, tokens);
    }

    /// Working set and scratch of the largest kind of block.
    void add_scratch() {
        std::vector<Buffer> largest;
        for (const auto& [kind, layers] : kinds()) {
            std::vector<Buffer> buffers = working_activations(config_, execution_, kind);
            const std::vector<Buffer> scratch = block_scratch(config_, execution_, kind);
            buffers.insert(buffers.end(), scratch.begin(), scratch.end());
            // Of two of one size the mixture is kept.
            if (largest.empty() || sum(buffers) >= sum(largest)) largest = std::move(buffers);
        }
        plan_.buffers.insert(plan_.buffers.end(), largest.begin(), largest.end());
    }

    [[nodiscard]] static std::uint64_t sum(const std::vector<Buffer>& buffers) {
        std::uint64_t bytes = 0;
        for (const Buffer& buffer : buffers) bytes += buffer.bytes();
        return bytes;
    }

    void add_context() {
        if (execution_.device == DeviceKind::cpu) return;
        plan_.context_bytes = device_overhead(execution_).total_bytes();
        add(BufferId::device_context, Lifetime::outside_arena, plan_.context_bytes);
    }

    [[nodiscard]] std::uint64_t place_after(Lifetime lifetime, std::uint64_t start) {
        std::uint64_t end = start;
        for (Buffer& buffer : plan_.buffers) {
            if (buffer.lifetime != lifetime) continue;
            buffer.offset = end;
            end += buffer.bytes();
        }
        return end;
    }

    void raise_peak(Phase phase, std::uint64_t end) {
        if (end <= plan_.arena_bytes) return;
        plan_.arena_bytes = end;
        plan_.peak_phase = phase;
    }

    void place() {
        const std::uint64_t step = place_after(Lifetime::persistent, 0);
        const std::uint64_t overlay = place_after(Lifetime::step, step);
        plan_.arena_bytes = overlay;
        raise_peak(Phase::loss, place_after(Lifetime::loss, overlay));
        const std::uint64_t working = place_after(Lifetime::working, overlay);
        raise_peak(Phase::forward, place_after(Lifetime::forward_block, working));
        const std::uint64_t backward = place_after(Lifetime::backward_block, working);
        raise_peak(Phase::backward_ffn, place_after(Lifetime::backward_ffn, backward));
        raise_peak(Phase::backward_attention, place_after(Lifetime::backward_attention, backward));
    }

    const ModelConfig& config_;
    const Execution& execution_;
    const OptimizerState& optimizer_;
    std::vector<Unit> units_;
    bool tied_head_;
    MemoryPlan plan_;
};

}  // namespace

std::array<std::uint64_t, kMemoryCategoryCount> MemoryPlan::peak_by_category() const {
    std::array<std::uint64_t, kMemoryCategoryCount> bytes{};
    for (const Buffer& buffer : buffers) {
        if (!is_live(buffer.lifetime, peak_phase)) continue;
        bytes[static_cast<std::size_t>(buffer.category())] += buffer.bytes();
    }
    return bytes;
}

const Buffer* MemoryPlan::find(BufferId id) const {
    for (const Buffer& buffer : buffers) {
        if (buffer.id == id) return &buffer;
    }
    return nullptr;
}

MemoryPlan memory_plan(const ModelConfig& config, const ParameterLayout& layout,
                       const Execution& execution, const OptimizerState& optimizer) {
    return PlanBuilder(config, layout, execution, optimizer).build();
}

std::int64_t pending_gradient_sums(const Execution& execution) {
    if (!execution.reproducible) return 0;
    return static_cast<std::int64_t>(
        std::bit_width(static_cast<std::uint64_t>(execution.grad_accum_steps - 1)));
}

std::int64_t loss_chunk_tokens(const Execution& execution, std::int64_t vocab_size) {
    const std::int64_t tokens = std::max<std::int64_t>(execution.tokens(), 1);
    if (execution.loss_chunk)
        return *execution.loss_chunk == 0 ? tokens : std::min(*execution.loss_chunk, tokens);
    const std::uint64_t limit =
        execution.device == DeviceKind::cpu ? kLossChunkBytesCpu : kLossChunkBytesCuda;
    const std::uint64_t row =
        static_cast<std::uint64_t>(vocab_size) * size_in_bytes(execution.storage_dtype());
    const auto largest =
        std::clamp<std::int64_t>(static_cast<std::int64_t>(limit / row), 1, tokens);
    const std::int64_t chunks = (tokens + largest - 1) / largest;
    return (tokens + chunks - 1) / chunks;
}

MegatronEstimate megatron_estimate(const ModelConfig& config,
                                   const model::ParameterTotals& parameters,
                                   const Execution& execution) {
    // Symbols of the paper: s sequence, b micro-batch, h hidden, a heads. Fused attention drops the
    // 5 a s / h term.
    const auto s = static_cast<double>(execution.sequence_length);
    const auto b = static_cast<double>(execution.micro_batch_size);
    const auto h = static_cast<double>(config.hidden_size);
    const auto a = static_cast<double>(config.num_attention_heads);
    const auto layers = static_cast<double>(config.num_hidden_layers);
    const bool stores_scores = execution.attention_backend == AttentionBackend::manual &&
                               execution.recompute == Recompute::none;
    const double per_layer = execution.recompute == Recompute::block
                                 ? 2.0
                                 : 34.0 + (stores_scores ? 5.0 * a * s / h : 0.0);
    const auto ranks = static_cast<double>(execution.world_size);
    double bytes_per_parameter = 18.0;
    switch (execution.parallelism) {
        case Parallelism::ddp: break;
        case Parallelism::zero1: bytes_per_parameter = 6.0 + 12.0 / ranks; break;
        case Parallelism::zero2: bytes_per_parameter = 2.0 + 16.0 / ranks; break;
        case Parallelism::fsdp: bytes_per_parameter = 18.0 / ranks; break;
    }
    MegatronEstimate estimate;
    estimate.model_state_bytes =
        static_cast<std::uint64_t>(bytes_per_parameter * static_cast<double>(parameters.total));
    estimate.activation_bytes = static_cast<std::uint64_t>(s * b * h * (per_layer * layers + 4.0));
    estimate.logits_bytes =
        static_cast<std::uint64_t>(4.0 * s * b * static_cast<double>(config.vocab_size));
    return estimate;
}

bool memory_is_countable(const ModelConfig& config, const Execution& execution) {
    const auto tokens = static_cast<double>(execution.micro_batch_size) *
                        static_cast<double>(execution.sequence_length);
    const auto layers = static_cast<double>(config.num_hidden_layers);
    double width =
        16.0 * static_cast<double>(config.hidden_size) +
        8.0 * static_cast<double>(config.query_width() + config.attention_output_width()) +
        6.0 * static_cast<double>(config.intermediate_size) +
        static_cast<double>(config.num_attention_heads) *
            (2.0 * static_cast<double>(execution.sequence_length) + 4.0);
    if (config.mla) {
        width += 2.0 * static_cast<double>(config.mla->q_lora_rank.value_or(0) +
                                           config.mla->kv_lora_rank);
    }
    if (config.moe) {
        width += static_cast<double>(config.moe->num_experts) +
                 static_cast<double>(config.moe->num_experts_per_token) *
                     (4.0 * static_cast<double>(config.hidden_size) +
                      6.0 * static_cast<double>(config.moe->intermediate_size)) +
                 6.0 * static_cast<double>(config.moe->shared_width());
    }
    if (config.recurrence) {
        width += 16.0 * static_cast<double>(config.recurrence->inner_width()) +
                 8.0 * static_cast<double>(config.recurrence->key_width()) +
                 static_cast<double>(config.recurrence->inner_width()) *
                     static_cast<double>(config.recurrence->state_size);
    }
    const double bytes =
        4.0 * tokens * (width * (layers + 2.0) + static_cast<double>(config.vocab_size));
    return bytes < std::ldexp(1.0, 62);
}

}  // namespace isoflop::cost
