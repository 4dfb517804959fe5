// ddp and zero1: weights and gradients are whole on every rank.
#pragma once

#include "isoflop/sharding/data_parallel.hpp"
#include "sharding/gradient_tree.hpp"
#include "sharding/optimizer_states.hpp"

namespace isoflop::sharding {

/// The common part; `sharers` ranks divide the optimizer's state. Rank r computes the micro-batches
/// [r m, (r+1) m), so that the tree over micro-batches is a tree over the micro-batches of each
/// rank and then a tree over ranks.
class Replicated : public DataParallel {
public:
    Replicated(const DataParallelOptions& options, const cost::StateLayout& layout,
               const device::PlannedMemory& memory, device::Context& context,
               comm::Communicator* communicator, std::int64_t sharers);

    [[nodiscard]] TensorView acquire_weights(std::size_t unit) override;
    void release_weights(std::size_t /*unit*/) override {}
    [[nodiscard]] TensorView acquire_gradients(std::size_t unit) override;
    void gradients_ready(std::size_t unit) override;
    [[nodiscard]] std::int64_t global_micro_step(std::int64_t micro_step) const override;
    void begin_micro_step(std::int64_t micro_step) override;
    void finish_gradients() override;

protected:
    /// The sum over this rank's micro-batches is complete for the unit.
    virtual void reduce(std::size_t unit) = 0;

    cost::Execution execution_;
    const cost::StateLayout& layout_;
    const device::PlannedMemory& memory_;
    device::Context& context_;
    comm::Communicator* communicator_;
    TensorView weights_;
    GradientTree tree_;
    TensorView gradients_;
    OptimizerStates optimizer_states_;
    TensorView master_weights_;  ///< empty where weights are not of 16 bits
    std::vector<comm::Pending> reductions_;
};

class Ddp final : public Replicated {
public:
    Ddp(const DataParallelOptions& options, const cost::StateLayout& layout,
        const device::PlannedMemory& memory, device::Context& context,
        comm::Communicator* communicator);
    [[nodiscard]] std::vector<StateSlice> disjoint_slices() const override;
    void weights_changed() override {}
    [[nodiscard]] optimizer::StateView gather(const StateSlice& slice, std::size_t state) override {
        return slice.optimizer_state.at(state);
    }

private:
    void reduce(std::size_t unit) override;

    std::uint64_t bucket_bytes_;
    std::size_t bucket_end_ = 0;  ///< one past the last unit of the bucket being filled
};

class Zero1 final : public Replicated {
public:
    Zero1(const DataParallelOptions& options, const cost::StateLayout& layout,
          const device::PlannedMemory& memory, device::Context& context,
          comm::Communicator* communicator);
    [[nodiscard]] TensorView acquire_weights(std::size_t unit) override;
    void weights_changed() override;
    void synchronize() override;
    [[nodiscard]] optimizer::StateView gather(const StateSlice& slice, std::size_t state) override;

private:
    void reduce(std::size_t unit) override;

    std::vector<comm::Pending> gathers_;  ///< by unit
};

}  // namespace isoflop::sharding
