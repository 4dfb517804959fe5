// How a step is executed: the choices that change its FLOPs and memory but not the model.
#pragma once

#include <cstdint>
#include <optional>

#include "isoflop/base/dtype.hpp"
#include "isoflop/base/enum_names.hpp"

namespace isoflop::cost {

enum class AttentionBackend {
    flash_attn_2,  ///< query-outer tiles, online softmax, recomputed backward (Dao 2023); saves lse
    sdpa,          ///< library or own fused attention; saves lse
    manual,        ///< batched products around a softmax; saves the S x S probabilities
};

enum class Recompute {
    none,       ///< every activation that backward needs is saved
    attention,  ///< scores, probabilities and attention output are recomputed from q, k, v
    block,      ///< only the input of each block is saved; its forward runs again in backward
};

/// Data parallel strategies by what each rank shards (Rajbhandari 2020, ZeRO).
enum class Parallelism {
    ddp,    ///< nothing
    zero1,  ///< optimizer states (master weights and moments)
    zero2,  ///< and gradients
    fsdp,   ///< and weights (ZeRO-3)
};

enum class DeviceKind { cuda, cpu };

/// One rank's share of one micro-batch.
struct Execution {
    std::int64_t micro_batch_size = 1;  ///< sequences
    std::int64_t sequence_length = 0;   ///< tokens
    std::int64_t world_size = 1;        ///< data parallel ranks
    std::int64_t grad_accum_steps = 1;  ///< micro-batches per rank and optimizer step
    DType dtype =
        DType::bfloat16;  ///< of weights and activations; 8- and 4-bit products keep 16-bit storage
    std::optional<DType> gradient_dtype = {};  ///< default: the type of the weights
    AttentionBackend attention_backend = AttentionBackend::flash_attn_2;
    Recompute recompute = Recompute::none;
    Parallelism parallelism = Parallelism::ddp;
    DeviceKind device = DeviceKind::cuda;
    /// Gradients of micro-batches are summed in a binary tree over their number in the global
    /// batch, so that any power of two of ranks gives the same bits. Partial sums have separate
    /// buffers.
    bool reproducible = false;
    /// On a GPU: no sums whose order changes from run to run.
    bool deterministic = true;
    /// manual attention: query heads of one sequence whose score gradients are in memory together,
    /// in whole groups that share a key/value head; 0: all heads of the micro-batch.
    std::int64_t manual_head_chunk = 0;
    /// fsdp: ranks that share one copy of the state, a divisor of world_size; 0: all. With fewer,
    /// gradients are then all-reduced between the copies (hybrid sharding).
    std::int64_t shard_size = 0;
    /// fsdp: gathered weights are dropped after forward and gathered again for backward.
    bool reshard_after_forward = true;
    /// Tokens per chunk of the LM head and loss; 0: all at once; nullopt: chosen by
    /// `loss_chunk_tokens`.
    std::optional<std::int64_t> loss_chunk = {};

    [[nodiscard]] std::int64_t tokens() const { return micro_batch_size * sequence_length; }
    /// Heads that manual_head_chunk means for a model; 0: all at once.
    [[nodiscard]] std::int64_t chunk_heads(std::int64_t heads, std::int64_t kv_heads) const {
        const std::int64_t group = heads / kv_heads;
        const std::int64_t rounded = (manual_head_chunk + group - 1) / group * group;
        return rounded < heads ? rounded : heads;
    }
    /// Number of ranks over which fsdp divides the state.
    [[nodiscard]] std::int64_t shard_ranks() const {
        return shard_size == 0 ? world_size : shard_size;
    }
    /// Copies of the state under fsdp.
    [[nodiscard]] std::int64_t replicas() const { return world_size / shard_ranks(); }
    /// Storage type of weights and activations: fp32 and tf32 runs as float32, all else in 16 bits
    /// (tests may use float64).
    [[nodiscard]] DType storage_dtype() const {
        switch (dtype) {
            case DType::float32:
            case DType::tf32: return DType::float32;
            case DType::float64: return DType::float64;
            case DType::float16: return DType::float16;
            default: return DType::bfloat16;
        }
    }
    /// Norm statistics, lse, moments and row sums: fp32 beside 16-bit and fp32 storage.
    [[nodiscard]] DType statistics_dtype() const {
        return storage_dtype() == DType::float64 ? DType::float64 : DType::float32;
    }
    /// 16-bit weights are updated through fp32 master copies.
    [[nodiscard]] bool has_master_weights() const { return size_in_bytes(storage_dtype()) == 2; }
};

}  // namespace isoflop::cost

namespace isoflop {
template <>
inline constexpr auto enum_names<cost::AttentionBackend> =
    std::to_array<EnumName<cost::AttentionBackend>>({{cost::AttentionBackend::flash_attn_2,
                                                      "flash_attn_2"},
                                                     {cost::AttentionBackend::sdpa, "sdpa"},
                                                     {cost::AttentionBackend::manual, "manual"}});
template <>
inline constexpr auto enum_names<cost::Recompute> =
    std::to_array<EnumName<cost::Recompute>>({{cost::Recompute::none, "none"},
                                              {cost::Recompute::attention, "attention"},
                                              {cost::Recompute::block, "block"}});
template <>
inline constexpr auto enum_names<cost::Parallelism> =
    std::to_array<EnumName<cost::Parallelism>>({{cost::Parallelism::ddp, "ddp"},
                                                {cost::Parallelism::zero1, "zero1"},
                                                {cost::Parallelism::zero2, "zero2"},
                                                {cost::Parallelism::fsdp, "fsdp"},
                                                {cost::Parallelism::fsdp, "zero3"}});
}  // namespace isoflop
