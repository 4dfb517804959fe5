// A session's state as logical tensors: saved, loaded, gathered.
#include <fmt/format.h>

#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/trainer/session.hpp"

namespace isoflop::trainer {

using device::TensorView;
using sharding::StateSlice;

std::vector<checkpoint::NamedTensor> Session::named(TensorView StateSlice::*state) const {
    std::vector<checkpoint::NamedTensor> tensors;
    for (const StateSlice& slice : strategy_->disjoint_slices()) {
        for (const sharding::TensorPart& part : sharding::tensor_parts(plan_.state, slice)) {
            const model::TensorSpec& spec = part.tensor->spec;
            checkpoint::NamedTensor named;
            named.name = part.tensor->name;
            named.shape = {spec.shape[0]};
            if (spec.is_matrix()) named.shape.push_back(spec.shape[1]);
            named.data = (slice.*state).flat_range(part.offset, part.count);
            named.first_element = part.first;
            tensors.push_back(std::move(named));
        }
    }
    return tensors;
}

std::vector<checkpoint::NamedTensor> Session::weight_tensors() const {
    return named(&StateSlice::weights);
}
std::vector<checkpoint::NamedTensor> Session::first_moment_tensors() const {
    return named(&StateSlice::first_moment);
}
std::vector<checkpoint::NamedTensor> Session::second_moment_tensors() const {
    return named(&StateSlice::second_moment);
}

template <class Read>
void Session::fill_state(TensorView StateSlice::*state, const Read& read) {
    for (const StateSlice& slice : strategy_->slices()) {
        ops::fill(context_, 0.0, slice.*state);
        for (const sharding::TensorPart& part : sharding::tensor_parts(plan_.state, slice))
            read(part, (slice.*state).flat_range(part.offset, part.count));
    }
}

namespace {

/// Reads tensors called prefix + name from a checkpoint.
auto from_checkpoint(const checkpoint::CheckpointReader& reader, std::string_view prefix) {
    return [&reader, prefix](const sharding::TensorPart& part, const TensorView& to) {
        std::string name(prefix);
        name.append(part.tensor->name);
        const model::TensorSpec& spec = part.tensor->spec;
        std::vector<std::int64_t> shape{spec.shape[0]};
        if (spec.is_matrix()) shape.push_back(spec.shape[1]);
        reader.require(name, shape);
        device::visit_dtype(
            to.dtype(), [&](auto zero) { reader.read(name, part.first, to.as<decltype(zero)>()); });
    };
}

constexpr auto kLeaveZero = [](const sharding::TensorPart&, const TensorView&) {};

}  // namespace

void Session::load_weights(const checkpoint::CheckpointReader& reader) {
    fill_state(&StateSlice::weights, from_checkpoint(reader, ""));
    fill_state(&StateSlice::first_moment, kLeaveZero);
    fill_state(&StateSlice::second_moment, kLeaveZero);
    strategy_->weights_changed();
}

void Session::load_weights(const checkpoint::TensorReader& read) {
    fill_state(&StateSlice::weights, [&](const sharding::TensorPart& part, const TensorView& to) {
        read(part.tensor->name, part.first, to.as<float>());
    });
    fill_state(&StateSlice::first_moment, kLeaveZero);
    fill_state(&StateSlice::second_moment, kLeaveZero);
    strategy_->weights_changed();
}

void Session::load(const checkpoint::CheckpointReader& reader) {
    fill_state(&StateSlice::weights, from_checkpoint(reader, ""));
    fill_state(&StateSlice::first_moment, from_checkpoint(reader, checkpoint::kFirstMomentPrefix));
    fill_state(&StateSlice::second_moment,
               from_checkpoint(reader, checkpoint::kSecondMomentPrefix));
    strategy_->weights_changed();
}

Session::WholeWeights Session::whole_weights() {
    strategy_->synchronize();
    const cost::Execution& execution = plan_.config.execution;
    const DType storage = execution.storage_dtype();
    if (!communicator_ || execution.parallelism != cost::Parallelism::fsdp)
        return {device::Arena(0), memory_.flat_state("weights", storage)};
    WholeWeights whole{device::Arena(plan_.state.elements * size_in_bytes(storage)), {}};
    const auto elements = static_cast<std::int64_t>(plan_.state.elements);
    whole.view = TensorView(whole.gathered.data(), storage, {elements});
    for (const StateSlice& slice : strategy_->slices()) {
        const cost::StateUnit& unit = plan_.state.units[slice.unit];
        ops::copy(
            context_, slice.weights,
            whole.view.flat_range(static_cast<std::int64_t>(slice.first), slice.weights.size()));
        rank_groups()
            .shard
            ->all_gather(whole.view.flat_range(static_cast<std::int64_t>(unit.offset),
                                               static_cast<std::int64_t>(unit.elements)))
            .wait();
    }
    return whole;
}

void Session::verify_replicas() {
    if (!communicator_ || plan_.config.execution.parallelism == cost::Parallelism::fsdp) return;
    const WholeWeights whole = whole_weights();
    const auto* bytes = static_cast<const char*>(whole.view.data());
    const double checksum = crc32c({bytes, whole.view.bytes()});  // 32 bits, exact in a double
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
