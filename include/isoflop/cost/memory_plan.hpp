// Every buffer of one training step on one rank, with its size, lifetime and place in one arena.
// The trainer puts every tensor of a step into that arena, so planned and allocated tensors are
// equal to the byte. The device context and library workspaces are estimates, and are named so.
// Kernels keep small scratch of their own beside the arena (packed panels and attention tiles,
// under a few MiB per thread).
//
// Recipe ("isoflop", the default): 16-bit runs keep bf16 or fp16 weights and gradients, fp32 master
// weights and two fp32 moments: 2 + 2 + 4 + 8 = 16 bytes per parameter; fp32 runs keep fp32
// weights, gradients and moments: also 16. Model state is laid out by unit as in state_layout.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/cost/buffer_id.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/cost/optimizer_state.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::cost {

/// Bytes; alignment of every buffer in the arena.
inline constexpr std::uint64_t kBufferAlignment = 256;
/// Largest logits buffer that the automatic loss chunk allows, bytes. Small chunks keep memory low,
/// but each reads the LM head and reads and writes its gradient once: 32 MiB made whole steps 8 %
/// slower than 128 MiB on a CPU (vocabulary 50304, 384 wide).
inline constexpr std::uint64_t kLossChunkBytesCuda = 256ULL << 20U;
inline constexpr std::uint64_t kLossChunkBytesCpu = 128ULL << 20U;

/// Bytes; scratch of CPU ranks for the parts of a sum that arrive from other ranks.
inline constexpr std::uint64_t kStagingBytes = 16ULL << 20U;

/// When a buffer is live. Transient buffers of different phases share addresses; the phases and
/// their live buffers:
///   forward    working, forward_block
///   loss       loss
///   backward   working, backward_block, and backward_ffn or backward_attention
enum class Lifetime {
    persistent,  ///< the whole run
    step,        ///< forward to backward of one micro-batch
    working,     ///< activations of the one block being run, when recomputation does not save them
    forward_block,
    loss,
    backward_block,
    backward_ffn,
    backward_attention,
    outside_arena,  ///< context estimate
};

enum class Phase { forward, loss, backward_ffn, backward_attention };

[[nodiscard]] constexpr bool is_live(Lifetime lifetime, Phase phase) {
    const bool backward = phase == Phase::backward_ffn || phase == Phase::backward_attention;
    switch (lifetime) {
        case Lifetime::persistent:
        case Lifetime::step:
        case Lifetime::outside_arena: return true;
        case Lifetime::working: return phase != Phase::loss;
        case Lifetime::forward_block: return phase == Phase::forward;
        case Lifetime::loss: return phase == Phase::loss;
        case Lifetime::backward_block: return backward;
        case Lifetime::backward_ffn: return phase == Phase::backward_ffn;
        case Lifetime::backward_attention: return phase == Phase::backward_attention;
    }
    return true;
}

/// `count` equal buffers in a row (one per layer, or per unit).
struct Buffer {
    BufferId id{};
    Lifetime lifetime = Lifetime::step;
    std::uint64_t bytes_each = 0;  ///< multiple of kBufferAlignment inside the arena
    std::int64_t count = 1;
    std::uint64_t offset = 0;  ///< of the first, from the start of the arena

    const OptimizerTensor* optimizer_tensor = nullptr;  ///< of BufferId::optimizer_state

    [[nodiscard]] std::string_view name() const {
        return optimizer_tensor != nullptr ? optimizer_tensor->name : buffer_kind(id).name;
    }
    [[nodiscard]] ElementKind elements() const {
        return optimizer_tensor != nullptr ? optimizer_tensor->elements : buffer_kind(id).elements;
    }
    [[nodiscard]] MemoryCategory category() const { return buffer_kind(id).category; }
    [[nodiscard]] std::uint64_t bytes() const {
        return bytes_each * static_cast<std::uint64_t>(count);
    }
};

struct MemoryPlan {
    std::vector<Buffer> buffers;
    std::uint64_t arena_bytes = 0;    ///< persistent + step + largest transient phase
    std::uint64_t context_bytes = 0;  ///< estimate

    [[nodiscard]] std::uint64_t total_bytes() const { return arena_bytes + context_bytes; }
    /// Bytes of each category at the peak: only buffers that are live in the phase of the peak.
    /// Sums to total_bytes().
    [[nodiscard]] std::array<std::uint64_t, kMemoryCategoryCount> peak_by_category() const;
    Phase peak_phase = Phase::backward_ffn;
    /// nullptr when the plan has no such buffer.
    [[nodiscard]] const Buffer* find(BufferId id) const;
};

/// Plan for one rank under the `isoflop` recipe.
[[nodiscard]] MemoryPlan memory_plan(const model::ModelConfig& config,
                                     const model::ParameterLayout& layout,
                                     const Execution& execution, const OptimizerState& optimizer);

/// Saved activations of one layer of a kind, buffer by buffer.
[[nodiscard]] std::vector<Buffer> layer_activations(const model::ModelConfig& config,
                                                    const Execution& execution,
                                                    const model::LayerKind& kind);

/// Partial sums of gradients that a reproducible run keeps: a binary tree over m micro-batches has
/// so many unfinished sums at most (the bits of m - 1).
[[nodiscard]] std::int64_t pending_gradient_sums(const Execution& execution);

/// Tokens per chunk of LM head and loss: execution.loss_chunk, or all tokens in the fewest equal
/// parts whose logits keep within the device's limit.
[[nodiscard]] std::int64_t loss_chunk_tokens(const Execution& execution, std::int64_t vocab_size);

/// Named estimate for Megatron-LM: 18 bytes per parameter, activations of Korthikanti 2022 (arXiv
/// 2205.05198), table 2, without tensor or pipeline parallelism.
struct MegatronEstimate {
    std::uint64_t model_state_bytes = 0;
    std::uint64_t activation_bytes = 0;
    std::uint64_t logits_bytes = 0;
    [[nodiscard]] std::uint64_t total_bytes() const {
        return model_state_bytes + activation_bytes + logits_bytes;
    }
};
[[nodiscard]] MegatronEstimate megatron_estimate(const model::ModelConfig& config,
                                                 const model::ParameterTotals& parameters,
                                                 const Execution& execution);

/// True when every size of the plan fits in 63 bits.
[[nodiscard]] bool memory_is_countable(const model::ModelConfig& config,
                                       const Execution& execution);

}  // namespace isoflop::cost
