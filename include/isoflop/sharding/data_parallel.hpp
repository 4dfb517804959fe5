// Training on several ranks, each with its own micro-batches (data parallelism): which
// micro-batches this rank computes, which part of the state it updates, and when gradients are
// complete.
//
//   ddp    every rank holds everything; gradients are all-reduced in buckets during the last
//          backward
//   zero1  gradients are reduce-scattered, each rank updates its part, weights are all-gathered
//          while the next forward runs (Rajbhandari 2020)
//   fsdp   weights, gradients and moments are parts; a unit is gathered for the time of its use.
//          With execution.shard_size, consecutive ranks share a copy and gradients are all-reduced
//          between the copies once per iteration
//
// One rank runs as ddp without communication.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "isoflop/comm/communicator.hpp"
#include "isoflop/cost/execution.hpp"
#include "isoflop/cost/optimizer_state.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/planned_memory.hpp"
#include "isoflop/optimizer/optimizer.hpp"
#include "isoflop/sharding/strategy.hpp"

namespace isoflop::sharding {

/// The part of one unit that this rank updates or saves. The views are equally long, but for those
/// of the optimizer's state, which are in the memory of the strategy; master weights are empty
/// where the weights are not of 16 bits.
struct StateSlice {
    std::size_t unit = 0;
    std::uint64_t first = 0;  ///< element of the flat state that the slice begins with
    TensorView weights;
    TensorView gradients;
    TensorView master_weights;
    std::vector<optimizer::StateView> optimizer_state = {};  ///< in the order of the description
};

/// Part `index` of `parts` equal ones of a slice.
[[nodiscard]] StateSlice part_of(const StateSlice& slice, std::int64_t index, std::int64_t parts);

using cost::TensorPart;
/// The tensors in a slice, without padding. `layout` must outlive the result.
[[nodiscard]] std::vector<TensorPart> tensor_parts(const cost::StateLayout& layout,
                                                   const StateSlice& slice);

class DataParallel : public Strategy {
public:
    /// Number of this rank's `micro_step`-th micro-batch within the iteration's global batch.
    [[nodiscard]] virtual std::int64_t global_micro_step(std::int64_t micro_step) const = 0;

    /// Before each forward and backward; micro-steps are 0 .. grad_accum_steps - 1 and then
    /// finish_gradients.
    virtual void begin_micro_step(std::int64_t micro_step) = 0;
    /// The gradients of slices() are sums over all micro-batches of the iteration after this.
    virtual void finish_gradients() = 0;

    /// In unit order.
    [[nodiscard]] const std::vector<StateSlice>& slices() const { return slices_; }
    /// A division of the whole state over ranks, for checkpoints: every element on one rank.
    [[nodiscard]] virtual std::vector<StateSlice> disjoint_slices() const { return slices_; }

    /// Called on every rank after the weights of slices() have been written: updates copies on
    /// other ranks.
    virtual void weights_changed() = 0;
    /// Waits for operations in progress.
    virtual void synchronize() {}

    /// A state of the optimizer for the whole unit of a slice, on every rank: in memory of the plan
    /// (an optimizer with whole_matrices has it planned), valid until the next call.
    [[nodiscard]] virtual optimizer::StateView gather(const StateSlice& slice,
                                                      std::size_t state) = 0;

protected:
    std::vector<StateSlice> slices_;
};

/// Which ranks a communicator connects.
enum class RankGroup {
    all,
    shard,   ///< those that share this rank's copy of the state
    copies,  ///< those that hold the same part of other copies
};

/// The communicators of a rank; `shard` and `copies` are `all` and nullptr unless fsdp keeps
/// several copies.
struct RankGroups {
    comm::Communicator* all = nullptr;  ///< nullptr for one rank
    comm::Communicator* shard = nullptr;
    comm::Communicator* copies = nullptr;
};

struct DataParallelOptions {
    cost::Execution execution;
    const cost::OptimizerState* optimizer = &cost::kAdamW;
    std::uint64_t ddp_bucket_bytes = 25ULL << 20U;
};

/// Strategy of execution.parallelism over the buffers of the memory plan. `layout`, `memory`,
/// `context` and the communicators must outlive it.
[[nodiscard]] std::unique_ptr<DataParallel> make_data_parallel(const DataParallelOptions& options,
                                                               const cost::StateLayout& layout,
                                                               const device::PlannedMemory& memory,
                                                               device::Context& context,
                                                               const RankGroups& groups);

}  // namespace isoflop::sharding
