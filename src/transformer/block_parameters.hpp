// The tensors of each unit, found once by name and bound to a unit's flat memory when it is
// acquired.
#pragma once

#include <cstdint>
#include <string_view>

#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/ops/linear.hpp"
#include "isoflop/ops/norm.hpp"

namespace isoflop::transformer {

using device::TensorView;

/// Place and shape of a tensor (or of several that one product reads as one matrix) inside its
/// unit.
struct Slot {
    std::int64_t offset =
        -1;  ///< elements from the start of the unit; -1: the model has no such tensor
    std::int64_t rows = 0;
    std::int64_t columns = 0;  ///< 0 for vectors

    [[nodiscard]] bool exists() const { return offset >= 0; }
    /// View into a unit's flat weights or gradients; empty when the tensor does not exist.
    [[nodiscard]] TensorView in(const TensorView& unit) const;
};

struct NormSlots {
    Slot weight;
    Slot bias;
    [[nodiscard]] ops::NormParameters in(const TensorView& unit,
                                         const model::ModelConfig& config) const;
};

struct LinearSlots {
    std::string_view product;  ///< name in cost::FlopCount
    Slot weight;
    Slot bias;
    ops::WeightOrder order = ops::WeightOrder::out_in;
    [[nodiscard]] ops::Linear in(const TensorView& unit) const;
};

/// Of one block; equal for all blocks, since they share one layout.
struct BlockSlots {
    NormSlots attention_norm;
    NormSlots ffn_norm;
    NormSlots attention_branch_norm;  ///< of the output of attention, where it has one
    NormSlots ffn_branch_norm;
    LinearSlots qkv;
    LinearSlots attention_output;
    LinearSlots ffn_in;  ///< gate and up, or up alone
    LinearSlots ffn_out;
    Slot query_norm;
    Slot key_norm;
};

struct ModelSlots {
    Slot token_embedding;
    Slot position_embedding;
    BlockSlots block;
    NormSlots final_norm;
    Slot lm_head;  ///< in the head unit; does not exist when tied
    Slot lm_head_bias;
};

/// Throws ConfigError for architectures that the transformer does not run at this context.
[[nodiscard]] ModelSlots bind_slots(const model::ModelConfig& config,
                                    const cost::StateLayout& layout, std::int64_t sequence_length);

}  // namespace isoflop::transformer
