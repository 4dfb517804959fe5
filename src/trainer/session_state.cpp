// A session's state as logical tensors: saved, loaded, gathered.
#include <fmt/format.h>

#include <cmath>

#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/device/arena.hpp"
#include "isoflop/device/host_access.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/trainer/initialization.hpp"
#include "isoflop/trainer/session.hpp"

namespace isoflop::trainer {

using device::TensorView;
using sharding::StateSlice;

Session::Select Session::weights_of_record() const {
    const bool master = plan_.config.execution.has_master_weights();
    return [this, master](const StateSlice& slice) -> StateValues {
        return {master ? slice.master_weights : slice.weights,
                sharding::tensor_parts(plan_.state, slice)};
    };
}

Session::Select Session::optimizer_state(std::size_t index) const {
    return [this, index](const StateSlice& slice) {
        const optimizer::StateView& state = slice.optimizer_state.at(index);
        StateValues values{state.values, {}};
        for (sharding::TensorPart part : sharding::tensor_parts(plan_.state, slice)) {
            if (!state.description->covers(part.tensor->spec)) continue;
            part.offset = state.place_of(slice.first + static_cast<std::uint64_t>(part.offset));
            values.parts.push_back(part);
        }
        return values;
    };
}

void Session::weights_set() {
    if (plan_.config.execution.has_master_weights()) {
        if (updates_ > 0 && plan_.config.keys.execution.stochastic_rounding) {
            round_as_last_update();
        } else {
            for (const StateSlice& slice : strategy_->slices())
                ops::copy(context_, slice.master_weights, slice.weights);
        }
    }
    strategy_->weights_changed();
}

/// An update with learning rate 0 rounds the master weights with the random numbers of the update
/// of the same step. The optimizer's state must be zero, and stays so.
void Session::round_as_last_update() {
    for (const StateSlice& slice : strategy_->slices()) ops::fill(context_, 0.0, slice.gradients);
    optimizer::Update options;
    options.learning_rate = 0;
    options.step = updates_;
    update_slices(options);
}

void Session::add_named(const Select& state, std::string_view prefix,
                        std::vector<checkpoint::NamedTensor>& tensors) const {
    for (const StateSlice& slice : strategy_->disjoint_slices()) {
        const auto [on_device, parts] = state(slice);
        if (on_device.empty()) continue;
        const device::HostTensor values = device::read_on_host(context_.device, on_device);
        for (const sharding::TensorPart& part : parts) {
            checkpoint::NamedTensor named;
            named.name = std::string(prefix) + part.tensor->name;
            named.shape = part.tensor->spec.extents();
            named.data = values.view.flat_range(part.offset, part.count);
            named.first_element = part.first;
            named.owner = values.owner;
            tensors.push_back(std::move(named));
        }
    }
}

std::vector<checkpoint::NamedTensor> Session::weight_tensors() const {
    std::vector<checkpoint::NamedTensor> tensors;
    add_named(weights_of_record(), "", tensors);
    return tensors;
}

std::vector<checkpoint::NamedTensor> Session::optimizer_tensors() const {
    std::vector<checkpoint::NamedTensor> tensors;
    const auto states = optimizer_->state().tensors;
    for (std::size_t i = 0; i < states.size(); ++i)
        add_named(optimizer_state(i), states[i].checkpoint_prefix, tensors);
    return tensors;
}

std::filesystem::path Session::save(const std::filesystem::path& run_dir, std::int64_t step,
                                    const nlohmann::ordered_json& state,
                                    const checkpoint::CheckpointOptions& options) {
    synchronize();
    const auto weights = weight_tensors();
    const auto optimizer_state = optimizer_tensors();
    if (!communicator_) {
        return checkpoint::write_checkpoint(run_dir, step, weights, optimizer_state, state,
                                            options);
    }
    const checkpoint::CheckpointRanks ranks{
        .shard = {.index = communicator_->rank(), .count = communicator_->size()},
        .any_failed = [this](bool failed) { return any_rank(failed); }};
    return checkpoint::write_checkpoint(ranks, run_dir, step, weights, optimizer_state, state,
                                        options);
}

template <class Read>
void Session::fill_state(const Select& state, const Read& read) {
    for (const StateSlice& slice : strategy_->slices()) {
        const auto [values, parts] = state(slice);
        if (values.empty()) continue;
        for (const sharding::TensorPart& part : parts) {
            device::write_from_host(context_.device, values.flat_range(part.offset, part.count),
                                    [&](const TensorView& to) { read(part, to); });
        }
    }
}

namespace {

std::int64_t count_non_finite(const TensorView& values) {
    std::int64_t count = 0;
    device::visit_dtype(values.dtype(), [&](auto zero) {
        for (const auto value : values.as<decltype(zero)>()) count += std::isfinite(value) ? 0 : 1;
    });
    return count;
}

}  // namespace

/// As fill_state of the weights, and notes those that are not finite.
template <class Read>
void Session::fill_weights(const Read& read) {
    non_finite_weights_.clear();
    fill_state(weights_of_record(), [&](const sharding::TensorPart& part, const TensorView& to) {
        read(part, to);
        const std::int64_t count = count_non_finite(to);
        if (count > 0) non_finite_weights_.push_back({part.tensor->name, count});
    });
}

void Session::clear_state() {
    for (const StateSlice& slice : strategy_->slices()) {
        std::vector<TensorView> all{slice.weights, slice.master_weights};
        for (const optimizer::StateView& state : slice.optimizer_state) all.push_back(state.values);
        for (const TensorView& state : all) {
            if (!state.empty()) ops::fill(context_, 0.0, state);
        }
    }
}

void Session::initialize_from_scratch() {
    const auto seed = static_cast<std::uint64_t>(plan_.config.keys.execution.seed);
    fill_state(weights_of_record(), [&](const sharding::TensorPart& part, const TensorView& to) {
        initialize_weights(host_context(), plan_.config.model, seed, part, to);
    });
    weights_set();
}

namespace {

/// Reads tensors called prefix + name from a checkpoint.
auto from_checkpoint(const checkpoint::CheckpointReader& reader, std::string_view prefix) {
    return [&reader, prefix](const sharding::TensorPart& part, const TensorView& to) {
        std::string name(prefix);
        name.append(part.tensor->name);
        reader.require(name, part.tensor->spec.extents());
        device::visit_dtype(
            to.dtype(), [&](auto zero) { reader.read(name, part.first, to.as<decltype(zero)>()); });
    };
}

}  // namespace

void Session::load_weights(const checkpoint::CheckpointReader& reader) {
    clear_state();
    fill_weights(from_checkpoint(reader, ""));
    weights_set();
}

void Session::load_weights(const checkpoint::TensorReader& read) {
    clear_state();
    fill_weights([&](const sharding::TensorPart& part, const TensorView& to) {
        read(part.tensor->name, part.first, to.as<float>());
    });
    weights_set();
}

void Session::load(const checkpoint::CheckpointReader& reader, std::int64_t updates) {
    updates_ = updates;
    clear_state();
    fill_weights(from_checkpoint(reader, ""));
    weights_set();
    const auto states = optimizer_->state().tensors;
    for (std::size_t i = 0; i < states.size(); ++i)
        fill_state(optimizer_state(i), from_checkpoint(reader, states[i].checkpoint_prefix));
}

device::HostTensor Session::whole_weights() {
    strategy_->synchronize();
    const cost::Execution& execution = plan_.config.execution;
    const DType storage = execution.storage_dtype();
    const bool divided = communicator_ && execution.parallelism == cost::Parallelism::fsdp;
    const DType host_type = size_in_bytes(storage) == 2 ? DType::float32 : storage;
    if (!divided && host_type == storage)
        return device::read_on_host(context_.device, memory_.flat_state(cost::BufferId::weights));
    const auto memory =
        std::make_shared<device::Arena>(plan_.state.elements * size_in_bytes(host_type));
    const TensorView whole(memory->data(), host_type,
                           {static_cast<std::int64_t>(plan_.state.elements)});
    for (std::size_t unit = 0; unit < plan_.state.units.size(); ++unit)
        fetch_unit(unit, sharding::unit_range(plan_.state, whole, unit));
    return {whole, memory};
}

/// Weights of a unit that ranks hold in parts, to a tensor of the same memory and type.
void Session::gather_unit(std::size_t unit, const TensorView& to) {
    comm::Communicator& shard = *rank_groups().shard;
    const StateSlice& slice = strategy_->slices().at(unit);
    const std::int64_t count = slice.weights.size();
    ops::copy(context_, slice.weights, to.flat_range(shard.rank() * count, count));
    shard.all_gather(to).wait();
}

/// Whole weights of a unit to host memory, of which 16-bit types become fp32.
void Session::fetch_unit(std::size_t unit, const TensorView& to) {
    device::Device& device = context_.device;
    const DType storage = plan_.config.execution.storage_dtype();
    const bool divided =
        communicator_ && plan_.config.execution.parallelism == cost::Parallelism::fsdp;
    const auto elements = static_cast<std::uint64_t>(to.size());
    const device::DeviceBuffer whole(device, divided ? elements * size_in_bytes(storage) : 0);
    TensorView weights(whole.data(), storage, {to.size()});
    if (divided) {
        gather_unit(unit, weights);
    } else {
        weights =
            sharding::unit_range(plan_.state, memory_.flat_state(cost::BufferId::weights), unit);
    }
    const device::DeviceBuffer widened(device, to.bytes());
    const TensorView values(widened.data(), to.dtype(), {to.size()});
    ops::copy(context_, weights, values);
    device.copy_out(to.data(), values.data(), values.bytes());
}

void Session::verify_replicas() {
    if (!communicator_ || plan_.config.execution.parallelism == cost::Parallelism::fsdp) return;
    strategy_->synchronize();
    const std::uint64_t sum = ops::checksum(context_, memory_.flat_state(cost::BufferId::weights));
    // Halves of 32 bits are exact in a double.
    const auto checksum = static_cast<double>((sum >> 32U) ^ (sum & 0xFFFF'FFFFU));
    const std::vector<double> all = communicator_->gather_values({&checksum, 1});
    for (std::size_t rank = 1; rank < all.size(); ++rank) {
        if (all[rank] == all.front()) continue;
        throw Error(ExitCode::check_failed,
                    fmt::format("the weights of rank {} differ from those of rank 0 (checksums "
                                "{} and {}); its memory or arithmetic is not to be trusted",
                                rank, checksum_text(static_cast<std::uint32_t>(all[rank])),
                                checksum_text(static_cast<std::uint32_t>(all.front()))));
    }
}

}  // namespace isoflop::trainer
