#include "isoflop/trainer/session.hpp"

#include <algorithm>
#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/ops/adamw.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/trainer/initialization.hpp"
#include "isoflop/trainer/schedule.hpp"

namespace isoflop::trainer {

using device::TensorView;

RunPlan plan_run(TrainConfig config) {
    RunPlan plan;
    cost::Execution& execution = config.execution;
    const attention::Shape shape{.batch = execution.micro_batch_size,
                                 .query_length = execution.sequence_length,
                                 .key_length = execution.sequence_length,
                                 .heads = config.model.num_attention_heads,
                                 .kv_heads = config.model.num_key_value_heads,
                                 .head_dim = config.model.head_dim,
                                 .causal = true,
                                 .scale = 1.0};
    plan.attention =
        attention::resolve(execution.attention_backend, execution.device, shape,
                           execution.storage_dtype(), config.keys.execution.disable_backends);
    execution.attention_backend = plan.attention.used;
    plan.layout = model::parameter_layout(config.model);
    plan.parameters = plan.layout.totals();
    plan.state = cost::state_layout(plan.layout, execution.world_size);
    plan.memory = cost::memory_plan(config.model, plan.layout, execution);
    const auto flops = [&](cost::Convention convention) {
        return cost::training_flops_per_token(config.model, plan.parameters, execution, convention);
    };
    plan.palm_flops_per_token = flops(cost::Convention::palm);
    plan.exact_flops_per_token = flops(cost::Convention::exact);
    plan.executed_flops_per_token = flops(cost::Convention::executed);
    const auto groups = cost::flops_by_group(cost::forward_products(
        config.model, 1, execution.sequence_length, cost::AttentionMask::full));
    const auto per_layer = [&](cost::FlopGroup group) {
        return static_cast<double>(groups[static_cast<std::size_t>(group)]) /
               static_cast<double>(execution.sequence_length * config.model.num_hidden_layers);
    };
    plan.attention_flops_per_layer = per_layer(cost::FlopGroup::attention_projections) +
                                     per_layer(cost::FlopGroup::attention_core);
    plan.ffn_flops_per_layer = per_layer(cost::FlopGroup::ffn);
    plan.config = std::move(config);
    return plan;
}

namespace {

transformer::TransformerOptions transformer_options(const RunPlan& plan) {
    return {plan.config.model, plan.config.execution,
            static_cast<std::int32_t>(plan.config.keys.data.ignore_index)};
}

}  // namespace

Session::Session(RunPlan plan, device::ThreadPool& pool)
    : plan_(std::move(plan)),
      context_(pool),
      memory_(plan_.memory, plan_.config.execution),
      weights_(memory_.flat_state("weights", plan_.config.execution.storage_dtype())),
      gradients_(memory_.flat_state("gradients", plan_.config.execution.storage_dtype())),
      first_moment_(memory_.flat_state("first_moment", plan_.config.execution.statistics_dtype())),
      second_moment_(
          memory_.flat_state("second_moment", plan_.config.execution.statistics_dtype())),
      strategy_(plan_.state, weights_, gradients_),
      transformer_(transformer_options(plan_), plan_.state, memory_, context_, strategy_) {}

void Session::initialize_from_scratch() {
    initialize_weights(context_, plan_.config.model, plan_.state,
                       static_cast<std::uint64_t>(plan_.config.keys.execution.seed), weights_);
}

void Session::micro_step(std::int64_t iteration, std::int64_t micro_step,
                         const data::BatchSampler& samples, transformer::LossSum& total) {
    const TrainConfig& config = plan_.config;
    const std::int64_t B = config.execution.micro_batch_size;
    const std::int64_t S = config.execution.sequence_length;
    const auto T = static_cast<std::size_t>(B * S);
    const std::span<std::int32_t> inputs(memory_.token_ids(0), T);
    const std::span<std::int32_t> targets(memory_.token_ids(1), T);
    const std::int64_t first_sequence = micro_step * B;
    const std::int64_t per_iteration = config.global_micro_steps * B;
    for (std::int64_t b = 0; b < B; ++b) {
        const auto offset = static_cast<std::size_t>(b * S);
        const auto length = static_cast<std::size_t>(S);
        samples.fill(static_cast<std::uint64_t>(iteration * per_iteration + first_sequence + b),
                     inputs.subspan(offset, length), targets.subspan(offset, length));
    }
    const transformer::Batch batch{.tokens = inputs,
                                   .targets = targets,
                                   .seed = static_cast<std::uint64_t>(config.keys.execution.seed),
                                   .step = static_cast<std::uint64_t>(iteration),
                                   .first_sequence = static_cast<std::uint64_t>(first_sequence)};
    // Windows of training data have a target at every position, so the mean is over all tokens of
    // the iteration.
    const double scale = 1.0 / static_cast<double>(config.tokens_per_iteration);
    const transformer::LossSum loss = transformer_.forward_backward(batch, scale);
    total.sum += loss.sum;
    total.targets += loss.targets;
}

IterationOutcome Session::train_iteration(std::int64_t iteration, const data::BatchSampler& samples,
                                          bool with_gradients) {
    ops::fill(context_, 0.0, gradients_);
    transformer::LossSum total;
    for (std::int64_t step = 0; step < plan_.config.micro_steps; ++step)
        micro_step(iteration, step, samples, total);
    IterationOutcome outcome;
    outcome.loss = total.mean();
    outcome.grad_norm = std::sqrt(ops::sum_of_squares(context_, gradients_));
    if (with_gradients) outcome.gradients = gradient_record(outcome.grad_norm);
    outcome.skipped = !std::isfinite(outcome.grad_norm);
    if (!outcome.skipped) update(iteration, outcome.grad_norm);
    return outcome;
}

void Session::update(std::int64_t iteration, double grad_norm) {
    const OptimizerKeys& keys = plan_.config.keys.optimizer;
    ops::AdamWOptions options;
    options.learning_rate = learning_rate(plan_.config, iteration);
    options.beta1 = keys.beta1;
    options.beta2 = keys.beta2;
    options.eps = keys.adam_eps;
    options.weight_decay = keys.weight_decay;
    options.step = ++updates_;
    if (keys.grad_clip > 0 && grad_norm > keys.grad_clip)
        options.gradient_scale = keys.grad_clip / grad_norm;
    std::vector<ops::AdamWSegment> segments;
    segments.reserve(plan_.state.tensors.size());
    for (const cost::StateTensor& tensor : plan_.state.tensors) {
        segments.push_back({static_cast<std::int64_t>(tensor.offset), tensor.spec.elements(),
                            tensor.spec.weight_decay()});
    }
    ops::adamw(context_, options, segments, weights_, gradients_, first_moment_, second_moment_);
}

namespace {

TensorView elements_of(const cost::StateTensor& tensor, const TensorView& flat) {
    return flat.flat_range(static_cast<std::int64_t>(tensor.offset), tensor.spec.elements());
}

}  // namespace

GradientRecord Session::gradient_record(double norm) {
    GradientRecord record;
    record.global_norm = norm;
    ops::TensorStatistics all;
    std::int64_t layers = 0;
    for (const cost::StateUnit& unit : plan_.state.units) {
        double squares = 0;
        for (const cost::StateTensor& tensor : plan_.state.tensors) {
            if (tensor.offset < unit.offset || tensor.offset >= unit.offset + unit.elements)
                continue;
            const auto part = ops::statistics(context_, elements_of(tensor, gradients_));
            squares += part.sum_of_squares;
            all = ops::combine(all, part);
        }
        if (unit.layer < 0) continue;
        const double layer_norm = std::sqrt(squares);
        record.mean_layer_norm += layer_norm;
        record.max_layer_norm =
            layers == 0 ? layer_norm : std::max(record.max_layer_norm, layer_norm);
        record.min_layer_norm =
            layers == 0 ? layer_norm : std::min(record.min_layer_norm, layer_norm);
        ++layers;
    }
    if (layers > 0) record.mean_layer_norm /= static_cast<double>(layers);
    record.grad_mean = all.mean();
    record.grad_std = all.standard_deviation();
    record.grad_min = all.minimum;
    record.grad_max = all.maximum;
    return record;
}

namespace {

/// Runs `fill(index, inputs, targets)` for windows in micro-batches and sums the losses.
template <class Fill>
transformer::LossSum evaluate_range(transformer::Transformer& transformer,
                                    device::PlannedMemory& memory, const cost::Execution& execution,
                                    std::uint64_t first, std::uint64_t count, Fill&& fill) {
    const auto S = static_cast<std::size_t>(execution.sequence_length);
    const auto B = static_cast<std::uint64_t>(execution.micro_batch_size);
    transformer::LossSum total;
    for (std::uint64_t done = 0; done < count; done += B) {
        const auto rows = static_cast<std::size_t>(std::min(B, count - done));
        const std::span<std::int32_t> inputs(memory.token_ids(0), rows * S);
        const std::span<std::int32_t> targets(memory.token_ids(1), rows * S);
        for (std::size_t row = 0; row < rows; ++row) {
            fill(first + done + row, inputs.subspan(row * S, S), targets.subspan(row * S, S));
        }
        const transformer::LossSum loss =
            transformer.evaluate({.tokens = inputs, .targets = targets});
        total.sum += loss.sum;
        total.targets += loss.targets;
    }
    return total;
}

}  // namespace

transformer::LossSum Session::evaluate_windows(const data::EvalSampler& samples,
                                               std::uint64_t first, std::uint64_t count) {
    const auto ignore = static_cast<std::int32_t>(plan_.config.keys.data.ignore_index);
    return evaluate_range(
        transformer_, memory_, plan_.config.execution, first, count,
        [&](std::uint64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) {
            samples.fill(index, inputs, targets, ignore);
        });
}

transformer::LossSum Session::evaluate_samples(const data::BatchSampler& samples,
                                               std::uint64_t first, std::uint64_t count) {
    return evaluate_range(
        transformer_, memory_, plan_.config.execution, first, count,
        [&](std::uint64_t index, std::span<std::int32_t> inputs, std::span<std::int32_t> targets) {
            samples.fill(index, inputs, targets);
        });
}

std::vector<checkpoint::NamedTensor> Session::named(const TensorView& flat) const {
    std::vector<checkpoint::NamedTensor> tensors;
    tensors.reserve(plan_.state.tensors.size());
    for (const cost::StateTensor& tensor : plan_.state.tensors) {
        checkpoint::NamedTensor named;
        named.name = tensor.name;
        named.shape = {tensor.spec.shape[0]};
        if (tensor.spec.is_matrix()) named.shape.push_back(tensor.spec.shape[1]);
        named.data = elements_of(tensor, flat);
        tensors.push_back(std::move(named));
    }
    return tensors;
}

std::vector<checkpoint::NamedTensor> Session::weight_tensors() const {
    return named(weights_);
}
std::vector<checkpoint::NamedTensor> Session::first_moment_tensors() const {
    return named(first_moment_);
}
std::vector<checkpoint::NamedTensor> Session::second_moment_tensors() const {
    return named(second_moment_);
}

void Session::read_state(const checkpoint::CheckpointReader& reader, std::string_view prefix,
                         const TensorView& flat) const {
    for (const checkpoint::NamedTensor& tensor : named(flat)) {
        std::string name(prefix);
        name.append(tensor.name);
        reader.require(name, tensor.shape);
        device::visit_dtype(flat.dtype(), [&](auto zero) {
            reader.read(name, 0, tensor.data.as<decltype(zero)>());
        });
    }
}

void Session::load_weights(const checkpoint::CheckpointReader& reader) {
    ops::fill(context_, 0.0, weights_);
    ops::fill(context_, 0.0, first_moment_);
    ops::fill(context_, 0.0, second_moment_);
    read_state(reader, "", weights_);
}

void Session::load_weights(const checkpoint::TensorReader& read) {
    ops::fill(context_, 0.0, weights_);
    ops::fill(context_, 0.0, first_moment_);
    ops::fill(context_, 0.0, second_moment_);
    for (const checkpoint::NamedTensor& tensor : named(weights_))
        read(tensor.name, 0, tensor.data.as<float>());
}

void Session::load(const checkpoint::CheckpointReader& reader) {
    load_weights(reader);
    read_state(reader, checkpoint::kFirstMomentPrefix, first_moment_);
    read_state(reader, checkpoint::kSecondMomentPrefix, second_moment_);
}

}  // namespace isoflop::trainer
