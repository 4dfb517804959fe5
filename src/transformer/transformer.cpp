// Construction, buffers and the outline of a micro-batch.
#include "isoflop/transformer/transformer.hpp"

#include <algorithm>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/device/host_access.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/reduction.hpp"
#include "step.hpp"

namespace isoflop::transformer {

Transformer::Implementation::Implementation(TransformerOptions options,
                                            const cost::StateLayout& layout,
                                            device::PlannedMemory& memory, device::Context& context,
                                            sharding::Strategy& strategy)
    : config_(std::move(options.config)),
      execution_(options.execution),
      ignore_index_(options.ignore_index),
      record_steps_(options.record_steps && config_.dropout <= 0),
      memory_(memory),
      context_(context),
      strategy_(strategy),
      slots_(bind_slots(config_, layout, execution_.sequence_length)),
      attention_(attention::make_backend(execution_.attention_backend, context.device)) {
    if (!is_manual()) {
        attention_->prepare(context, attention_shape(0), attention_arguments(0),
                            attention_backward_arguments(0));
    }
    if (config_.position_encoding != model::PositionEncoding::rope) return;
    rope_ = ops::RopeTable(config_, execution_.sequence_length);
    upload_rope(rope_, 0);
    if (!config_.local_rope_theta || config_.num_window_layers() == 0) return;
    local_rope_ = ops::RopeTable::local(config_, execution_.sequence_length);
    upload_rope(local_rope_, 1);
}

void Transformer::Implementation::upload_rope(ops::RopeTable& table, std::int64_t index) {
    if (!memory_.has(BufferId::rope_table)) return;
    const std::vector<float> values = table.device_values();
    const TensorView copy =
        memory_.tensor(BufferId::rope_table, index, {static_cast<std::int64_t>(values.size())});
    context_.device.copy_in(copy.data(), values.data(), values.size() * sizeof(float));
    table.set_device_copy(static_cast<const float*>(copy.data()));
}

const ops::RopeTable* Transformer::Implementation::rope_of(std::int64_t layer) const {
    if (config_.position_encoding != model::PositionEncoding::rope) return nullptr;
    if (!config_.layer_kind(layer).rotary) return nullptr;
    const bool local = local_rope_.positions() > 0 && config_.is_window_layer(layer);
    return local ? &local_rope_ : &rope_;
}

double Transformer::Implementation::embedding_factor() const {
    return embedding_factor_in(config_, execution_.storage_dtype());
}

void Transformer::Implementation::apply_residual_scale(const TensorView& branch) {
    if (config_.residual_scale != 1) ops::scale(context_, config_.residual_scale, branch);
}

TensorView Transformer::Implementation::attention_source(std::int64_t layer) const {
    if (config_.norm_position == model::NormPosition::post) return block_input(layer);
    return hidden(BufferId::attention_normed, layer);
}

TensorView Transformer::Implementation::ffn_source(std::int64_t layer) const {
    if (config_.norm_position == model::NormPosition::post)
        return hidden(BufferId::ffn_input, layer);
    const bool shares = config_.parallel_residual && config_.shared_norm;
    return hidden(shares ? BufferId::attention_normed : BufferId::ffn_normed, layer);
}

QkNormTensors Transformer::Implementation::qk_norm_tensors(std::int64_t layer,
                                                           const TensorView& unit) const {
    const std::int64_t heads = config_.num_attention_heads + config_.num_key_value_heads;
    const std::int64_t norms = config_.qk_norm == model::QkNorm::full_width ? 2 : heads;
    return {slots_.block.query_norm.in(unit), slots_.block.key_norm.in(unit),
            wide(BufferId::attention_qkv, layer, qkv_width()),
            wide(BufferId::attention_qk_before_norm, layer, heads * config_.head_dim),
            memory_.tensor(BufferId::attention_qk_norm_statistics, layer, {tokens(), norms})};
}

void Transformer::Implementation::set_batch(const Batch& batch) {
    batch_ = batch;
    ops::require_token_ids(batch.tokens, config_.vocab_size, nullptr);
    ops::require_token_ids(batch.targets, config_.vocab_size, &ignore_index_);
    const auto upload = [this](std::int64_t index, std::span<const std::int32_t> ids) {
        return device::bring_to_device(context_.device, ids, memory_.token_ids(index).data());
    };
    batch_.tokens = upload(0, batch.tokens);
    batch_.targets = upload(1, batch.targets);
}

DeferredLoss Transformer::Implementation::run(const Batch& batch, bool train, double loss_scale) {
    set_batch(batch);
    training_ = train;
    return {compute_or_launch(loss_scale),
            std::count_if(batch.targets.begin(), batch.targets.end(),
                          [this](std::int32_t id) { return id != ignore_index_; })};
}

device::DeferredValue Transformer::Implementation::compute_or_launch(double loss_scale) {
    device::Device& device = context_.device;
    if (!record_steps_ || !training_ || context_.recorder != nullptr) return compute(loss_scale);
    const Recorded wanted{tokens(), loss_scale};
    if (recorded_ != wanted) {
        // In the first run, libraries choose algorithms and load kernels, which cannot be recorded.
        graph_.reset();
        recorded_ = wanted;
        return compute(loss_scale);
    }
    if (graph_ == nullptr) {
        record_steps_ = device.begin_capture();
        if (!record_steps_) return compute(loss_scale);
        device.set_recording(true);
        (void)compute(loss_scale);
        device.set_recording(false);
        graph_ = device.end_capture();
    }
    graph_->launch();
    double* const sum = device.next_result();
    device.copy(sum, device.recorded_result(), sizeof(*sum));
    return {device, sum};
}

device::DeferredValue Transformer::Implementation::compute(double loss_scale) {
    embed();
    for (std::int64_t layer = 0; layer < config_.num_hidden_layers; ++layer) {
        block_forward(layer, cost::Pass::forward, Extent::whole);
    }
    const device::DeferredValue sum = loss(training_, loss_scale);
    if (!training_) return sum;
    final_norm_backward();
    for (std::int64_t layer = config_.num_hidden_layers - 1; layer >= 0; --layer)
        block_backward(layer);
    embed_backward();
    return sum;
}

TensorView Transformer::Implementation::hidden(BufferId id, std::int64_t layer) const {
    return memory_.tensor(id, layer, {tokens(), config_.hidden_size});
}

TensorView Transformer::Implementation::wide(BufferId id, std::int64_t layer,
                                             std::int64_t width) const {
    return memory_.tensor(id, layer, {tokens(), width});
}

TensorView Transformer::Implementation::norm_statistics(BufferId id, std::int64_t layer) const {
    if (config_.normalization == model::Normalization::rmsnorm)
        return memory_.tensor(id, layer, {tokens()});
    return memory_.tensor(id, layer, {2, tokens()});
}

TensorView Transformer::Implementation::block_input(std::int64_t layer) const {
    return layer < config_.num_hidden_layers ? hidden(BufferId::block_input, layer)
                                             : hidden(BufferId::final_norm_input);
}

attention::Shape Transformer::Implementation::attention_shape(std::int64_t layer) const {
    const std::int64_t length = execution_.sequence_length;
    return layer_attention(config_, layer, tokens() / length, length, length);
}

TensorView Transformer::Implementation::per_score(BufferId id, std::int64_t layer) const {
    const attention::Shape shape = attention_shape(layer);
    return memory_.tensor(id, layer,
                          {shape.batch, shape.heads, shape.query_length, shape.key_length});
}

void Transformer::Implementation::apply_dropout(std::int64_t layer, ops::DropoutSite site,
                                                const TensorView& x) {
    if (!training_ || config_.dropout <= 0) return;
    const ops::DropoutKey key{.seed = batch_.seed,
                              .step = batch_.step,
                              .first_sequence = batch_.first_sequence,
                              .layer = static_cast<std::uint32_t>(layer),
                              .site = site};
    ops::dropout(context_, key, config_.dropout, execution_.sequence_length, x);
}

Transformer::Transformer(TransformerOptions options, const cost::StateLayout& layout,
                         device::PlannedMemory& memory, device::Context& context,
                         sharding::Strategy& strategy)
    : implementation_(std::make_unique<Implementation>(std::move(options), layout, memory, context,
                                                       strategy)) {}

Transformer::~Transformer() = default;

LossSum Transformer::evaluate(const Batch& batch) {
    return implementation_->run(batch, false, 0.0).get();
}

std::string Transformer::attention_run_by() const {
    return implementation_->attention_run_by();
}

DeferredLoss Transformer::start_forward_backward(const Batch& batch, double loss_scale) {
    return implementation_->run(batch, true, loss_scale);
}

}  // namespace isoflop::transformer
