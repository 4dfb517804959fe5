// Internal state of the transformer while it runs one micro-batch, shared by forward.cpp and
// backward.cpp.
#pragma once

#include <memory>

#include "block_parameters.hpp"
#include "heads.hpp"
#include "isoflop/model/trainable.hpp"
#include "isoflop/ops/dropout.hpp"
#include "isoflop/ops/rope.hpp"
#include "isoflop/transformer/transformer.hpp"

namespace isoflop::transformer {

using cost::BufferId;

class Transformer::Implementation {
public:
    Implementation(TransformerOptions options, const cost::StateLayout& layout,
                   device::PlannedMemory& memory, device::Context& context,
                   sharding::Strategy& strategy);

    [[nodiscard]] std::string attention_run_by() const { return attention_->description(); }
    DeferredLoss run(const Batch& batch, bool train, double loss_scale);

private:
    enum class Extent { whole, without_last_product };

    /// Copies the batch to the device of the ops.
    void set_batch(const Batch& batch);
    /// Forward and, in training, backward. The sum of losses.
    device::DeferredValue compute(double loss_scale);
    /// The same, from a recording if there is one.
    device::DeferredValue compute_or_launch(double loss_scale);

    // forward.cpp
    void embed();
    void block_forward(std::int64_t layer, cost::Pass pass, Extent extent);
    void parallel_block(std::int64_t layer, const TensorView& unit, cost::Pass pass, Extent extent);
    void branch_norm_block(std::int64_t layer, const TensorView& unit, cost::Pass pass);
    void attention_branch(std::int64_t layer, const TensorView& unit, const TensorView& input,
                          const TensorView& branch, cost::Pass pass, Extent extent = Extent::whole);
    void norm_queries_and_keys(std::int64_t layer, const TensorView& unit);
    void ffn_branch(std::int64_t layer, const TensorView& unit, const TensorView& input,
                    const TensorView& branch, cost::Pass pass, Extent extent);
    void attend(std::int64_t layer, cost::Pass pass);
    device::DeferredValue loss(bool train, double loss_scale);
    void loss_chunk(std::int64_t first, std::int64_t rows, const ops::Linear& head, bool train,
                    double loss_scale);
    void finish_logits(const TensorView& logits);
    void finish_logits_backward(const TensorView& logits);
    [[nodiscard]] TensorView capped_logits(const TensorView& logits) const;

    // backward.cpp
    void final_norm_backward();
    void block_backward(std::int64_t layer);
    void ffn_backward(std::int64_t layer, const TensorView& unit, const TensorView& gradients);
    void attention_backward(std::int64_t layer, const TensorView& unit,
                            const TensorView& gradients);
    void attend_backward(std::int64_t layer);
    void attention_input_backward(std::int64_t layer, const TensorView& unit,
                                  const TensorView& gradients, const TensorView& d_qkv);
    [[nodiscard]] TensorView attention_branch_gradient(std::int64_t layer, const TensorView& unit,
                                                       const TensorView& gradients);
    [[nodiscard]] TensorView ffn_branch_gradient(std::int64_t layer, const TensorView& unit,
                                                 const TensorView& gradients);
    /// Through one norm, to the gradient of its input.
    void norm_backward(const NormSlots& slots, const TensorView& unit, const TensorView& gradients,
                       const TensorView& d_out, const TensorView& x, const TensorView& statistics,
                       bool accumulate, const TensorView& d_x);
    [[nodiscard]] TensorView branch_gradient(std::int64_t layer, ops::DropoutSite site);
    void embed_backward();

    // Shapes and buffers of the current micro-batch.
    /// Its tokens; before the first micro-batch, the tokens that the plan has room for.
    [[nodiscard]] std::int64_t tokens() const {
        if (batch_.tokens.empty()) return execution_.tokens();
        return static_cast<std::int64_t>(batch_.tokens.size());
    }
    [[nodiscard]] TensorView hidden(BufferId id, std::int64_t layer = 0) const;
    [[nodiscard]] TensorView wide(BufferId id, std::int64_t layer, std::int64_t width) const;
    [[nodiscard]] TensorView norm_statistics(BufferId id, std::int64_t layer) const;
    /// Input of block `layer`; of the final norm for layer == num_hidden_layers.
    [[nodiscard]] TensorView block_input(std::int64_t layer) const;
    [[nodiscard]] std::int64_t qkv_width() const {
        return config_.query_width() + 2 * config_.key_value_width();
    }
    [[nodiscard]] std::int64_t ffn_in_width() const {
        return (config_.is_gated() ? 2 : 1) * config_.intermediate_size;
    }
    [[nodiscard]] BufferId ffn_in_buffer() const {
        return config_.is_gated() ? BufferId::ffn_gate_up : BufferId::ffn_up;
    }
    [[nodiscard]] attention::Shape attention_shape(std::int64_t layer) const;
    [[nodiscard]] attention::ForwardArguments attention_arguments(std::int64_t layer) const;
    /// grad.attention.output -> grad.attention.qkv
    [[nodiscard]] attention::BackwardArguments attention_backward_arguments(
        std::int64_t layer) const;
    [[nodiscard]] TensorView per_score(BufferId id, std::int64_t layer) const;
    [[nodiscard]] bool is_manual() const {
        return execution_.attention_backend == cost::AttentionBackend::manual;
    }
    [[nodiscard]] bool is_pre_norm() const {
        return config_.norm_position == model::NormPosition::pre;
    }
    [[nodiscard]] bool is_sandwich() const {
        return config_.norm_position == model::NormPosition::sandwich;
    }
    /// norm(x + f(x)).
    [[nodiscard]] bool norms_sums() const {
        return config_.norm_position == model::NormPosition::post &&
               !model::norms_branches(config_);
    }
    /// Where a branch is kept whose output is normalized. The buffers of normed inputs hold it in
    /// blocks that have none.
    [[nodiscard]] BufferId attention_branch_buffer() const {
        return is_sandwich() ? BufferId::attention_branch : BufferId::attention_normed;
    }
    [[nodiscard]] BufferId ffn_branch_buffer() const {
        return is_sandwich() ? BufferId::ffn_branch : BufferId::ffn_normed;
    }
    [[nodiscard]] TensorView attention_branch_statistics(std::int64_t layer) const {
        return norm_statistics(is_sandwich() ? BufferId::attention_branch_norm_statistics
                                             : BufferId::attention_norm_statistics,
                               layer);
    }
    [[nodiscard]] TensorView ffn_branch_statistics(std::int64_t layer) const {
        return norm_statistics(
            is_sandwich() ? BufferId::ffn_branch_norm_statistics : BufferId::ffn_norm_statistics,
            layer);
    }
    /// What the FFN reads.
    [[nodiscard]] TensorView ffn_source(std::int64_t layer) const;
    [[nodiscard]] TensorView attention_source(std::int64_t layer) const;
    [[nodiscard]] std::int64_t rotated_heads() const {
        return config_.num_attention_heads + config_.num_key_value_heads;
    }
    /// nullptr where the layer has no rotary positions.
    [[nodiscard]] const ops::RopeTable* rope_of(std::int64_t layer) const;
    [[nodiscard]] double embedding_factor() const;
    void apply_residual_scale(const TensorView& branch);
    [[nodiscard]] QkNormTensors qk_norm_tensors(std::int64_t layer, const TensorView& unit) const;
    void upload_rope(ops::RopeTable& table, std::int64_t index);
    void apply_dropout(std::int64_t layer, ops::DropoutSite site, const TensorView& x);
    [[nodiscard]] std::size_t block_unit(std::int64_t layer) const {
        return static_cast<std::size_t>(layer) + 1;
    }
    [[nodiscard]] std::size_t head_unit() const {
        return static_cast<std::size_t>(config_.num_hidden_layers) + 1;
    }
    [[nodiscard]] bool is_tied() const { return !slots_.lm_head.exists(); }

    model::ModelConfig config_;
    cost::Execution execution_;
    std::int32_t ignore_index_;
    bool record_steps_;
    device::PlannedMemory& memory_;
    device::Context& context_;
    sharding::Strategy& strategy_;
    ModelSlots slots_;
    ops::RopeTable rope_;
    ops::RopeTable local_rope_;  ///< of window layers, where they have another
    std::unique_ptr<attention::Backend> attention_;
    Batch batch_;
    bool training_ = false;
    /// The values on which a recording depends besides the buffers.
    struct Recorded {
        std::int64_t tokens = 0;
        double loss_scale = 0;
        bool operator==(const Recorded&) const = default;
    };
    Recorded recorded_;
    std::unique_ptr<device::Device::Graph> graph_;
};

}  // namespace isoflop::transformer
