// fsdp: every rank keeps one part of each unit; whole units exist only while they are used.
#pragma once

#include <optional>

#include "isoflop/sharding/data_parallel.hpp"
#include "sharding/gradient_tree.hpp"
#include "sharding/optimizer_states.hpp"

namespace isoflop::sharding {

/// Micro-batches are dealt in turn: rank r of n computes r, r + n, ... Each is summed over ranks
/// after its backward pass, so the tree is a tree over ranks and then over micro-steps, in parts.
class Fsdp final : public DataParallel {
public:
    Fsdp(const DataParallelOptions& options, const cost::StateLayout& layout,
         const device::PlannedMemory& memory, device::Context& context, const RankGroups& groups);

    [[nodiscard]] TensorView acquire_weights(std::size_t unit) override;
    void release_weights(std::size_t unit) override;
    void prefetch_weights(std::size_t unit) override;
    [[nodiscard]] TensorView acquire_gradients(std::size_t unit) override;
    void gradients_ready(std::size_t unit) override;
    [[nodiscard]] std::int64_t global_micro_step(std::int64_t micro_step) const override;
    void begin_micro_step(std::int64_t micro_step) override;
    void finish_gradients() override;
    [[nodiscard]] std::vector<StateSlice> disjoint_slices() const override;
    void weights_changed() override;
    void synchronize() override;
    [[nodiscard]] optimizer::StateView gather(const StateSlice& slice, std::size_t state) override;

private:
    /// A buffer for one whole unit.
    struct Slot {
        TensorView memory;
        std::optional<std::size_t> unit;  ///< the unit in the slot, or being received
        comm::Pending pending;            ///< gather or reduction in progress
        int holders = 0;                  ///< acquire less release
        bool reducing = false;            ///< gradients are being reduced
        std::uint64_t last_use = 0;
    };

    void make_weight_slots(const device::PlannedMemory& memory);
    void make_gradient_slots(const device::PlannedMemory& memory);
    [[nodiscard]] Slot* find(std::vector<Slot>& slots, std::size_t unit);
    /// The slot that has been unused longest; nullptr when all are held.
    [[nodiscard]] Slot* free_slot();
    void gather_weights(Slot& slot, std::size_t unit);
    void forget_gathered();
    [[nodiscard]] Slot& free_gradient_slot();
    /// Waits for a reduction and adds this rank's part to its sum.
    void collect(Slot& slot);
    void collect_all();
    [[nodiscard]] std::int64_t elements(std::size_t unit) const;
    [[nodiscard]] std::int64_t part_elements(std::size_t unit) const;
    [[nodiscard]] TensorView own_part(const Slot& slot, std::size_t unit) const;

    cost::Execution execution_;
    const cost::StateLayout& layout_;
    const device::PlannedMemory& memory_;
    device::Context& context_;
    comm::Communicator& communicator_;  ///< within the shard
    comm::Communicator* copies_;        ///< nullptr when there is one
    std::vector<comm::Pending> copy_sums_;
    std::vector<Slot> weight_slots_;
    std::vector<Slot> gradient_slots_;
    GradientTree tree_;
    OptimizerStates optimizer_states_;
    std::uint64_t uses_ = 0;
};

}  // namespace isoflop::sharding
