#include "isoflop/trainer/session.hpp"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <stdexcept>

#include "gradient_norm.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/comm/threaded_communicator.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/device/host_access.hpp"
#include "isoflop/trainer/run_optimizer.hpp"
#include "isoflop/trainer/schedule.hpp"

namespace isoflop::trainer {

using sharding::RankGroup;

namespace {

transformer::TransformerOptions transformer_options(const recipe::RunPlan& plan) {
    const cost::Execution& execution = plan.config.execution;
    return {plan.config.model, execution,
            static_cast<std::int32_t>(plan.config.keys.data.ignore_index),
            plan.config.keys.execution.cuda_graphs && execution.world_size == 1 &&
                !execution.reproducible};
}

/// A factory may be copied and a transport may not, so the copies share it.
CommunicatorFactory over(std::unique_ptr<comm::PointToPoint> transport) {
    if (!transport) return {};
    auto shared = std::make_shared<std::unique_ptr<comm::PointToPoint>>(std::move(transport));
    return [shared](RankGroup, std::span<std::byte> staging) {
        return std::make_unique<comm::ThreadedCommunicator>(std::move(*shared), staging);
    };
}

/// nullptr where the run has no such group. Sums between copies have scratch of their own, as those
/// within a shard go on beside them.
std::unique_ptr<comm::Communicator> connect_group(const CommunicatorFactory& connect,
                                                  RankGroup group,
                                                  const device::PlannedMemory& memory,
                                                  const cost::Execution& execution) {
    const bool several_copies =
        execution.parallelism == cost::Parallelism::fsdp && execution.replicas() > 1;
    if (!connect || (group != RankGroup::all && !several_copies)) return nullptr;
    if (!memory.has(cost::BufferId::staging)) return connect(group, {});
    const std::span<std::byte> staging = memory.bytes_of(cost::BufferId::staging);
    const std::size_t each = staging.size() / (several_copies ? 2 : 1);
    return connect(group, group == RankGroup::copies ? staging.subspan(each) : staging.first(each));
}

sharding::DataParallelOptions data_parallel_options(const recipe::RunPlan& plan) {
    constexpr double kMiB = 1 << 20;
    return {plan.config.execution, plan.config.optimizer,
            static_cast<std::uint64_t>(plan.config.keys.execution.ddp_bucket_mb * kMiB)};
}

}  // namespace

Session::Session(recipe::RunPlan plan, device::ThreadPool& pool,
                 std::unique_ptr<comm::PointToPoint> transport)
    : Session(std::move(plan), pool, over(std::move(transport))) {}

Session::Session(recipe::RunPlan plan, device::ThreadPool& pool, const CommunicatorFactory& connect,
                 device::Device& device, std::unique_ptr<optimizer::Optimizer> optimizer)
    : plan_(std::move(plan)),
      context_(pool, device),
      host_context_(pool),
      memory_(plan_.memory, plan_.config.execution, device),
      loss_scale_(plan_.config.execution.storage_dtype()),
      communicator_(connect_group(connect, RankGroup::all, memory_, plan_.config.execution)),
      shard_(connect_group(connect, RankGroup::shard, memory_, plan_.config.execution)),
      copies_(connect_group(connect, RankGroup::copies, memory_, plan_.config.execution)),
      strategy_(sharding::make_data_parallel(data_parallel_options(plan_), plan_.state, memory_,
                                             context_, rank_groups())),
      optimizer_(optimizer ? std::move(optimizer) : make_optimizer(plan_.config)),
      transformer_(transformer_options(plan_), plan_.state, memory_, context_, *strategy_) {
    if (&optimizer_->state() != plan_.config.optimizer)
        throw std::logic_error("session: the plan is for the state of another optimizer");
}

sharding::RankGroups Session::rank_groups() const {
    return {communicator_.get(), shard_ ? shard_.get() : communicator_.get(), copies_.get()};
}

comm::CommunicationTotals Session::communication_totals() const {
    comm::CommunicationTotals totals;
    for (const auto* group : {&communicator_, &shard_, &copies_}) {
        if (*group) totals += (*group)->totals();
    }
    return totals;
}

std::span<std::int32_t> Session::host_ids(std::int64_t index, std::size_t count) {
    return device::prepare_on_host(context_.device, memory_.token_ids(index).data(), count,
                                   staged_ids_.at(static_cast<std::size_t>(index)));
}

std::int64_t Session::samples_before(std::int64_t iteration) const {
    const recipe::Recipe& config = plan_.config;
    return sample_offset_ +
           iteration * config.global_micro_steps * config.execution.micro_batch_size;
}

void Session::continue_data(std::int64_t iteration, std::int64_t samples) {
    sample_offset_ += samples - samples_before(iteration);
}

std::uint64_t Session::first_sample(std::int64_t iteration, std::int64_t micro_batch) const {
    return static_cast<std::uint64_t>(samples_before(iteration) +
                                      micro_batch * plan_.config.execution.micro_batch_size);
}

transformer::Batch Session::read_micro_batch(std::int64_t iteration, std::int64_t micro_batch,
                                             const data::BatchSampler& samples) {
    const recipe::Recipe& config = plan_.config;
    const std::int64_t B = config.execution.micro_batch_size;
    const std::int64_t S = config.execution.sequence_length;
    const auto T = static_cast<std::size_t>(B * S);
    const std::span<std::int32_t> inputs = host_ids(0, T);
    const std::span<std::int32_t> targets = host_ids(1, T);
    const std::uint64_t first = first_sample(iteration, micro_batch);
    for (std::int64_t b = 0; b < B; ++b) {
        const auto offset = static_cast<std::size_t>(b * S);
        const auto length = static_cast<std::size_t>(S);
        samples.fill(first + static_cast<std::uint64_t>(b), inputs.subspan(offset, length),
                     targets.subspan(offset, length));
    }
    return {.tokens = inputs,
            .targets = targets,
            .seed = static_cast<std::uint64_t>(config.keys.execution.seed),
            .step = static_cast<std::uint64_t>(iteration),
            .first_sequence = static_cast<std::uint64_t>(micro_batch * B)};
}

std::int64_t Session::targets_of_iteration(std::int64_t iteration,
                                           const data::BatchSampler& samples) {
    const recipe::Recipe& config = plan_.config;
    const std::int64_t ignore_index = config.keys.data.ignore_index;
    // Windows of training data have a target at every position, and a token of the data cannot be
    // one that the vocabulary lacks.
    if (ignore_index < 0 || ignore_index >= config.model.vocab_size)
        return config.tokens_per_iteration;
    double targets = 0;
    for (std::int64_t step = 0; step < config.micro_steps; ++step) {
        const std::span<const std::int32_t> ids =
            read_micro_batch(iteration, strategy_->global_micro_step(step), samples).targets;
        targets += static_cast<double>(std::count_if(
            ids.begin(), ids.end(), [&](std::int32_t id) { return id != ignore_index; }));
    }
    if (communicator_) {
        const std::vector<double> all = communicator_->gather_values({&targets, 1});
        targets = std::accumulate(all.begin(), all.end(), 0.0);
    }
    return static_cast<std::int64_t>(targets);
}

transformer::LossSum Session::sum_losses(const std::vector<MicroBatchLoss>& losses) {
    std::vector<double> values;
    for (const MicroBatchLoss& each : losses) {
        values.insert(values.end(), {static_cast<double>(each.index), each.loss.sum,
                                     static_cast<double>(each.loss.targets)});
    }
    if (communicator_) values = communicator_->gather_values(values);
    std::vector<MicroBatchLoss> all;
    for (std::size_t i = 0; i < values.size(); i += 3) {
        all.push_back({static_cast<std::int64_t>(values[i]),
                       {values[i + 1], static_cast<std::int64_t>(values[i + 2])}});
    }
    std::sort(all.begin(), all.end(),
              [](const MicroBatchLoss& a, const MicroBatchLoss& b) { return a.index < b.index; });
    transformer::LossSum total;
    for (const MicroBatchLoss& each : all) {
        total.sum += each.loss.sum;
        total.targets += each.loss.targets;
    }
    return total;
}

IterationOutcome Session::train_iteration(std::int64_t iteration, const data::BatchSampler& samples,
                                          bool with_gradients) {
    // One mean over the counted targets of all micro-batches of all ranks, for loss and gradient.
    const std::int64_t targets = targets_of_iteration(iteration, samples);
    const double loss_factor =
        targets == 0 ? 0 : loss_scale_.value() / static_cast<double>(targets);
    // Losses are read at the end, so that a GPU always has the next micro-batch waiting; but before
    // the device needs their places again.
    constexpr std::size_t kMostUnread = device::Device::kResultSlots / 2;
    std::vector<StartedMicroBatch> started;
    std::vector<MicroBatchLoss> losses;
    const auto read = [&] {
        for (const StartedMicroBatch& each : started)
            losses.push_back({each.index, each.loss.get()});
        started.clear();
    };
    for (std::int64_t step = 0; step < plan_.config.micro_steps; ++step) {
        const device::ProfileRange range(context_.device, "micro-batch");
        strategy_->begin_micro_step(step);
        const std::int64_t index = strategy_->global_micro_step(step);
        const transformer::Batch batch = read_micro_batch(iteration, index, samples);
        started.push_back({index, transformer_.start_forward_backward(batch, loss_factor)});
        if (started.size() == kMostUnread) read();
    }
    strategy_->finish_gradients();
    read();
    IterationOutcome outcome;
    outcome.loss = sum_losses(losses).mean();
    std::vector<double> squares =
        squares_by_unit(context_, *strategy_, plan_.state, rank_groups().shard);
    const double scale = loss_scale_.value();
    for (double& each : squares) each /= scale * scale;
    outcome.grad_norm = std::sqrt(std::accumulate(squares.begin(), squares.end(), 0.0));
    if (with_gradients) outcome.gradients = gradient_record(squares);
    const bool finite = std::isfinite(outcome.grad_norm);
    outcome.without_targets = targets == 0;
    outcome.skipped = !finite || outcome.without_targets;
    if (!finite) {
        outcome.overflowed = loss_scale_.overflow();
    } else if (!outcome.without_targets) {
        update(iteration, outcome.grad_norm);
        loss_scale_.updated();
    }
    return outcome;
}

void Session::update(std::int64_t iteration, double grad_norm) {
    const device::ProfileRange range(context_.device, "optimizer");
    const recipe::OptimizerKeys& keys = plan_.config.keys.optimizer;
    optimizer::Update options;
    options.learning_rate = learning_rate(plan_.config, iteration);
    options.step = ++updates_;
    options.gradient_scale = 1 / loss_scale_.value();
    if (keys.grad_clip > 0 && grad_norm > keys.grad_clip)
        options.gradient_scale *= keys.grad_clip / grad_norm;
    update_slices(options);
    strategy_->weights_changed();
}

void Session::update_slices(const optimizer::Update& update) {
    const bool whole = optimizer_->state().whole_matrices;
    for (const sharding::StateSlice& slice : strategy_->slices()) {
        optimizer::Slice mine{.unit = slice.unit,
                              .first_element = slice.first,
                              .weights = slice.weights,
                              .gradients = slice.gradients,
                              .master_weights = slice.master_weights,
                              .state = slice.optimizer_state,
                              .parts = sharding::tensor_parts(plan_.state, slice),
                              .gather = {}};
        if (whole)
            mine.gather = [this, &slice](std::size_t state) {
                return strategy_->gather(slice, state);
            };
        optimizer_->update(context_, update, mine);
    }
}

run_log::GradientRecord Session::gradient_record(const std::vector<double>& unit_squares) {
    run_log::GradientRecord record;
    double squares = 0;
    std::int64_t layers = 0;
    for (std::size_t unit = 0; unit < unit_squares.size(); ++unit) {
        squares += unit_squares[unit];
        if (plan_.state.units[unit].layer < 0) continue;
        const double layer_norm = std::sqrt(unit_squares[unit]);
        record.mean_layer_norm += layer_norm;
        record.max_layer_norm =
            layers == 0 ? layer_norm : std::max(record.max_layer_norm, layer_norm);
        record.min_layer_norm =
            layers == 0 ? layer_norm : std::min(record.min_layer_norm, layer_norm);
        ++layers;
    }
    record.global_norm = std::sqrt(squares);
    if (layers > 0) record.mean_layer_norm /= static_cast<double>(layers);
    const ops::TensorStatistics all =
        gradient_statistics(context_, *strategy_, plan_.state, rank_groups().shard);
    const double scale = loss_scale_.value();
    record.grad_mean = all.mean() / scale;
    record.grad_std = all.standard_deviation() / scale;
    record.grad_min = all.minimum / scale;
    record.grad_max = all.maximum / scale;
    return record;
}

bool Session::any_rank(bool value) {
    if (!communicator_) return value;
    const double mine = value ? 1 : 0;
    const std::vector<double> all = communicator_->gather_values({&mine, 1});
    return std::any_of(all.begin(), all.end(), [](double each) { return each != 0; });
}

}  // namespace isoflop::trainer
