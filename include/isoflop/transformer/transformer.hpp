// A decoder-only transformer as a straight line of ops: forward through the layers, the loss,
// backward through the layers. No autograd; the forward pass saves the buffers that the memory plan
// lists, under the names used here.
//
//   pre-norm   x = x + attention(norm(x)); x = x + ffn(norm(x))
//   post-norm  x = norm(x + attention(x)); x = norm(x + ffn(x))
//
// Parameter gradients accumulate over micro-batches, scaled so that their sum is the gradient of
// the mean loss. The model does not know the ranks: a sharding::Strategy supplies weights and
// gradients of a unit.
#pragma once

#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>

#include "isoflop/attention/attention.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/planned_memory.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/sharding/strategy.hpp"

namespace isoflop::transformer {

/// B sequences of sequence_length tokens in host memory; B may be smaller than the planned
/// micro-batch.
struct Batch {
    std::span<const std::int32_t> tokens;
    std::span<const std::int32_t> targets;  ///< the ignored index without a target
    std::uint64_t seed = 0;                 ///< of dropout
    std::uint64_t step = 0;
    std::uint64_t first_sequence = 0;  ///< index within the step of the first sequence
};

/// Losses of a batch: their sum and the number of targets.
struct LossSum {
    double sum = 0;
    std::int64_t targets = 0;
    /// NaN without targets.
    [[nodiscard]] double mean() const {
        return targets > 0 ? sum / static_cast<double>(targets)
                           : std::numeric_limits<double>::quiet_NaN();
    }
};

/// Losses that a GPU may still be computing.
struct DeferredLoss {
    device::DeferredValue sum;
    std::int64_t targets = 0;
    /// Waits for them.
    [[nodiscard]] LossSum get() const { return {sum.get(), targets}; }
};

struct TransformerOptions {
    model::ModelConfig config;
    cost::Execution execution;
    std::int32_t ignore_index = -100;
    /// Allows the device to record the training of a micro-batch and to launch the recording from
    /// then on. For one rank and gradients with a fixed place.
    bool record_steps = false;
};

class Transformer {
public:
    /// All references must outlive the transformer. `memory` holds the plan of the same config and
    /// execution.
    Transformer(TransformerOptions options, const cost::StateLayout& layout,
                device::PlannedMemory& memory, device::Context& context,
                sharding::Strategy& strategy);
    ~Transformer();

    /// Loss without gradients and without dropout.
    [[nodiscard]] LossSum evaluate(const Batch& batch);
    /// Loss; adds loss_scale times the gradient of the summed loss to the strategy's gradients.
    LossSum forward_backward(const Batch& batch, double loss_scale) {
        return start_forward_backward(batch, loss_scale).get();
    }
    /// The same without waiting for a GPU.
    [[nodiscard]] DeferredLoss start_forward_backward(const Batch& batch, double loss_scale);

    /// The implementation of attention, if the backend has several; otherwise empty.
    [[nodiscard]] std::string attention_run_by() const;

    class Implementation;  ///< internal

private:
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace isoflop::transformer
