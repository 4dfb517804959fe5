// A model in training on this rank: memory as planned, weights, optimizer, and the computation of
// one iteration. The loop around it (evaluation, checkpoints, reports) is in train_loop.hpp.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isoflop/attention/attention.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/comm/communicator.hpp"
#include "isoflop/comm/point_to_point.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/data/sampler.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/host_access.hpp"
#include "isoflop/device/planned_memory.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/optimizer/optimizer.hpp"
#include "isoflop/recipe/run_plan.hpp"
#include "isoflop/run_log/records.hpp"
#include "isoflop/sharding/data_parallel.hpp"
#include "isoflop/trainer/loss_scale.hpp"
#include "isoflop/transformer/transformer.hpp"

namespace isoflop::trainer {

/// What one iteration did.
struct IterationOutcome {
    double loss = 0;       ///< mean over the counted targets of all ranks; NaN without any
    double grad_norm = 0;  ///< of that mean, before clipping
    bool skipped = false;  ///< no update was made: gradients were not finite, or without_targets
    bool without_targets = false;  ///< every target of the iteration is ignored
    /// The gradients overflowed fp16 and the loss scale was halved; this does not mean that the run
    /// diverges.
    bool overflowed = false;
    std::optional<run_log::GradientRecord> gradients;
};

/// Makes the communicators of a run on several ranks. `staging`: scratch of the planned memory,
/// which outlives them.
using CommunicatorFactory = std::function<std::unique_ptr<comm::Communicator>(
    sharding::RankGroup group, std::span<std::byte> staging)>;

class Session {
public:
    /// Allocates the planned memory; weights are not set yet. `transport` connects the ranks of a
    /// run on several (with one copy of the state); every member function is then called on all.
    Session(recipe::RunPlan plan, device::ThreadPool& pool,
            std::unique_ptr<comm::PointToPoint> transport = nullptr);
    /// The same over the communicators that `connect` makes; an empty `connect` is one rank.
    /// `device`: the device that the plan is for; it must outlive the session. `optimizer`: the
    /// update that belongs to the state of the plan; nullptr takes make_optimizer's.
    Session(recipe::RunPlan plan, device::ThreadPool& pool, const CommunicatorFactory& connect,
            device::Device& device = device::host_device(),
            std::unique_ptr<optimizer::Optimizer> optimizer = nullptr);

    /// Random weights, for a new session: the moments are still the zeros of the arena and are not
    /// written, so that the first step need not wait for their pages.
    void initialize_from_scratch();
    /// Weights and moments after `updates` optimizer updates. Throws IoError when tensors are
    /// missing or misshapen.
    void load(const checkpoint::CheckpointReader& reader, std::int64_t updates);
    /// Sets the weights only, for a new run that starts from a trained model.
    void load_weights(const checkpoint::CheckpointReader& reader);
    void load_weights(const checkpoint::TensorReader& read);

    /// The data go on after `samples` sequences at `iteration`, whatever the batch of earlier
    /// iterations was; without this call iteration 0 begins with sample 0.
    void continue_data(std::int64_t iteration, std::int64_t samples);
    /// Sequences of all iterations before this one.
    [[nodiscard]] std::int64_t samples_before(std::int64_t iteration) const;

    /// Forward, backward and update of one iteration over `samples`; `with_gradients` adds gradient
    /// statistics. The result is that of all ranks together.
    IterationOutcome train_iteration(std::int64_t iteration, const data::BatchSampler& samples,
                                     bool with_gradients);

    /// Mean loss over windows [first, first + count) of `samples`, without gradients. Throws
    /// Stopped on all ranks when one is to stop; so does evaluate_samples.
    [[nodiscard]] transformer::LossSum evaluate_windows(const data::EvalSampler& samples,
                                                        std::uint64_t first, std::uint64_t count);
    /// Mean loss over training samples [first, first + count), without gradients.
    [[nodiscard]] transformer::LossSum evaluate_samples(const data::BatchSampler& samples,
                                                        std::uint64_t first, std::uint64_t count);

    /// Reads what this rank reads in train_iteration, evaluate_windows and evaluate_samples, and
    /// computes nothing. Throws IoError where those would; each rank alone, so that the ranks can
    /// save before one of them fails. A rank that is to stop returns early.
    void read_iteration(std::int64_t iteration, const data::BatchSampler& samples) const;
    void read_windows(const data::EvalSampler& samples, std::uint64_t first,
                      std::uint64_t count) const;
    void read_samples(const data::BatchSampler& samples, std::uint64_t first,
                      std::uint64_t count) const;

    /// Tensors as checkpoints store them, or the parts of them that this rank saves; views into
    /// live memory, or into copies of it where it is a GPU's. Weights are the fp32 master weights
    /// where there are such.
    [[nodiscard]] std::vector<checkpoint::NamedTensor> weight_tensors() const;
    /// Every state of the optimizer, one after another, with their prefixes.
    [[nodiscard]] std::vector<checkpoint::NamedTensor> optimizer_tensors() const;

    /// Writes a checkpoint, by all ranks together. Returns its folder on the first rank. When a
    /// rank cannot write, all throw IoError and older checkpoints stay.
    std::filesystem::path save(const std::filesystem::path& run_dir, std::int64_t step,
                               const nlohmann::ordered_json& state,
                               const checkpoint::CheckpointOptions& options);

    /// Weights that are NaN or infinite, as the last load found them on this rank.
    struct NonFinite {
        std::string tensor;
        std::int64_t count = 0;
    };
    [[nodiscard]] const std::vector<NonFinite>& non_finite_weights() const {
        return non_finite_weights_;
    }

    /// Number of optimizer steps: iterations without those skipped for gradients that were not
    /// finite.
    [[nodiscard]] std::int64_t updates() const { return updates_; }

    /// Factor of the losses before the backward pass, by which gradients are divided after it, so
    /// that small gradients keep their bits in fp16; 1 for other types.
    [[nodiscard]] double loss_scale() const { return loss_scale_.value(); }
    void set_loss_scale(double scale) { loss_scale_.set(scale); }
    /// Updates since the last overflow or growth of the loss scale, which grows after
    /// kGrowthInterval of them.
    [[nodiscard]] std::int64_t updates_at_loss_scale() const { return loss_scale_.good_updates(); }
    void set_updates_at_loss_scale(std::int64_t updates) { loss_scale_.set_good_updates(updates); }

    [[nodiscard]] const recipe::RunPlan& plan() const { return plan_; }
    /// The implementation of attention, if the backend has several ("forward: cuDNN 9.19.0; ...");
    /// otherwise empty.
    [[nodiscard]] std::string attention_run_by() const { return transformer_.attention_run_by(); }
    [[nodiscard]] device::Context& context() { return context_; }
    /// A context of the host, whatever the device of the run is.
    [[nodiscard]] device::Context& host_context() { return host_context_; }
    [[nodiscard]] device::PlannedMemory& memory() { return memory_; }
    /// Copies all weights to host memory, flat; gathers them where ranks hold parts.
    [[nodiscard]] device::HostTensor whole_weights();
    /// Waits for communication that overlaps with later work.
    void synchronize() { strategy_->synchronize(); }
    [[nodiscard]] const sharding::DataParallel& strategy() const { return *strategy_; }

    /// Compares checksums of the weights that every rank holds whole (ddp, zero1; fsdp has no
    /// copies). Throws Error (exit code 1) on every rank, naming a rank whose weights differ from
    /// the first's.
    void verify_replicas();

    /// The communicator of all ranks; nullptr on one rank.
    [[nodiscard]] comm::Communicator* communicator() { return communicator_.get(); }
    /// Sums over all communicators of this rank.
    [[nodiscard]] comm::CommunicationTotals communication_totals() const;
    /// True on every rank when `value` is true on one of them.
    [[nodiscard]] bool any_rank(bool value);

private:
    struct MicroBatchLoss {
        std::int64_t index = 0;  ///< within the global batch
        transformer::LossSum loss;
    };
    struct StartedMicroBatch {
        std::int64_t index = 0;
        transformer::DeferredLoss loss;
    };
    using FillBatch = std::function<void(std::uint64_t index, std::span<std::int32_t> inputs,
                                         std::span<std::int32_t> targets)>;

    /// Room for the ids of a micro-batch.
    [[nodiscard]] std::span<std::int32_t> host_ids(std::int64_t index, std::size_t count);
    /// Reads one micro-batch of the iteration's global batch into the room for ids.
    [[nodiscard]] transformer::Batch read_micro_batch(std::int64_t iteration,
                                                      std::int64_t micro_batch,
                                                      const data::BatchSampler& samples);
    /// Targets of all ranks that are not ignored. Reads the iteration's data for it only where the
    /// ignored target is a token of the vocabulary.
    [[nodiscard]] std::int64_t targets_of_iteration(std::int64_t iteration,
                                                    const data::BatchSampler& samples);
    /// The sum of the losses of all ranks, added in order of index.
    [[nodiscard]] transformer::LossSum sum_losses(const std::vector<MicroBatchLoss>& losses);
    /// The micro-batches of `count` samples that this rank computes, in the same number on every
    /// rank: one that another rank counts is repeated.
    struct EvaluationBatch {
        std::uint64_t index = 0;
        std::uint64_t first = 0;  ///< sample
        std::size_t rows = 0;
        bool counted = true;
    };
    [[nodiscard]] std::vector<EvaluationBatch> evaluation_batches(std::uint64_t count) const;
    [[nodiscard]] transformer::LossSum evaluate(std::uint64_t first, std::uint64_t count,
                                                const FillBatch& fill);
    void read_only(std::uint64_t first, std::uint64_t count, const FillBatch& fill) const;
    /// Index of the first sample of a micro-batch.
    [[nodiscard]] std::uint64_t first_sample(std::int64_t iteration,
                                             std::int64_t micro_batch) const;
    [[nodiscard]] transformer::LossSum evaluate_batch(std::uint64_t first, std::size_t rows,
                                                      const FillBatch& fill);
    void update(std::int64_t iteration, double grad_norm);
    void update_slices(const optimizer::Update& update);
    /// One kind of state of a slice: its values, and the parts of tensors in them. `flat` is empty
    /// where the slice has none.
    struct StateValues {
        device::TensorView flat;
        std::vector<sharding::TensorPart> parts;
    };
    using Select = std::function<StateValues(const sharding::StateSlice&)>;
    /// The weights that checkpoints store.
    [[nodiscard]] Select weights_of_record() const;
    /// The optimizer's state of this number.
    [[nodiscard]] Select optimizer_state(std::size_t index) const;
    /// Called after the weights of slices() have been set.
    void weights_set();
    void round_as_last_update();
    void gather_unit(std::size_t unit, const device::TensorView& to);
    void fetch_unit(std::size_t unit, const device::TensorView& to);
    [[nodiscard]] run_log::GradientRecord gradient_record(const std::vector<double>& unit_squares);
    void add_named(const Select& state, std::string_view prefix,
                   std::vector<checkpoint::NamedTensor>& tensors) const;
    void clear_state();  ///< padding stays zero
    /// Calls read(tensor part, view to fill) for every part of the slices of `state`.
    template <class Read>
    void fill_weights(const Read& read);
    template <class Read>
    void fill_state(const Select& state, const Read& read);

    [[nodiscard]] sharding::RankGroups rank_groups() const;

    recipe::RunPlan plan_;
    device::Context context_;
    device::Context host_context_;
    device::PlannedMemory memory_;
    std::array<std::vector<std::int32_t>, 2> staged_ids_;  ///< inputs and targets for a GPU
    LossScale loss_scale_;
    std::unique_ptr<comm::Communicator> communicator_;  ///< of all ranks
    std::unique_ptr<comm::Communicator> shard_;         ///< only with several copies of the state
    std::unique_ptr<comm::Communicator> copies_;        ///< the same
    std::unique_ptr<sharding::DataParallel> strategy_;
    std::unique_ptr<optimizer::Optimizer> optimizer_;
    std::int64_t updates_ = 0;
    std::int64_t sample_offset_ = 0;  ///< of iteration 0
    std::vector<NonFinite> non_finite_weights_;
    transformer::Transformer transformer_;
};

}  // namespace isoflop::trainer
