// A model in training on this rank: memory as planned, weights, optimizer, and one iteration at a
// time. The loop around it (when to evaluate, save, report) is in train_loop.hpp.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isoflop/attention/attention.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/cost/state_layout.hpp"
#include "isoflop/data/sampler.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/planned_memory.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/sharding/single_device.hpp"
#include "isoflop/trainer/records.hpp"
#include "isoflop/trainer/train_config.hpp"
#include "isoflop/transformer/transformer.hpp"

namespace isoflop::trainer {

/// The plan of a run, known before anything is allocated.
struct RunPlan {
    TrainConfig config;
    attention::Resolution attention;  ///< config.execution.attention_backend is what it resolved to
    model::ParameterLayout layout;
    model::ParameterTotals parameters;
    cost::StateLayout state;
    cost::MemoryPlan memory;
    double palm_flops_per_token = 0;  ///< training; numerator of MFU
    double exact_flops_per_token = 0;
    double executed_flops_per_token = 0;   ///< numerator of HFU
    double attention_flops_per_layer = 0;  ///< forward, per token: projections and core
    double ffn_flops_per_layer = 0;        ///< forward, per token
};

/// Resolves the attention backend and computes everything above. Throws ConfigError.
[[nodiscard]] RunPlan plan_run(TrainConfig config);

/// One iteration's outcome.
struct IterationOutcome {
    double loss = 0;
    double grad_norm = 0;  ///< before clipping
    bool skipped = false;  ///< gradients were not finite
    std::optional<GradientRecord> gradients;
};

class Session {
public:
    /// Allocates the planned memory; weights are not set yet.
    Session(RunPlan plan, device::ThreadPool& pool);

    /// Random weights, for a session that has done nothing yet: its moments are still zero, as
    /// the arena came, and stay untouched so that the first step need not wait for their pages.
    void initialize_from_scratch();
    /// Weights, moments and the number of finished iterations. Throws IoError when tensors are
    /// missing or misshapen.
    void load(const checkpoint::CheckpointReader& reader);
    /// Weights only, for a new run that starts from a trained model.
    void load_weights(const checkpoint::CheckpointReader& reader);
    void load_weights(const checkpoint::TensorReader& read);

    /// Forward, backward and update of one iteration over `samples`; `with_gradients` adds gradient
    /// statistics.
    IterationOutcome train_iteration(std::int64_t iteration, const data::BatchSampler& samples,
                                     bool with_gradients);

    /// Mean loss over windows [first, first + count) of `samples`, without gradients.
    [[nodiscard]] transformer::LossSum evaluate_windows(const data::EvalSampler& samples,
                                                        std::uint64_t first, std::uint64_t count);
    /// The same over training samples [first, first + count).
    [[nodiscard]] transformer::LossSum evaluate_samples(const data::BatchSampler& samples,
                                                        std::uint64_t first, std::uint64_t count);

    /// Tensors as checkpoints store them; views into live memory.
    [[nodiscard]] std::vector<checkpoint::NamedTensor> weight_tensors() const;
    [[nodiscard]] std::vector<checkpoint::NamedTensor> first_moment_tensors() const;
    [[nodiscard]] std::vector<checkpoint::NamedTensor> second_moment_tensors() const;

    /// Optimizer steps made: iterations less those skipped for gradients that were not finite.
    [[nodiscard]] std::int64_t updates() const { return updates_; }
    void set_updates(std::int64_t updates) { updates_ = updates; }

    [[nodiscard]] const RunPlan& plan() const { return plan_; }
    [[nodiscard]] device::Context& context() { return context_; }
    [[nodiscard]] device::PlannedMemory& memory() { return memory_; }
    [[nodiscard]] const device::TensorView& weights() const { return weights_; }
    [[nodiscard]] const device::TensorView& gradients() const { return gradients_; }

private:
    void micro_step(std::int64_t iteration, std::int64_t micro_step,
                    const data::BatchSampler& samples, transformer::LossSum& total);
    void update(std::int64_t iteration, double grad_norm);
    [[nodiscard]] GradientRecord gradient_record(double norm);
    [[nodiscard]] std::vector<checkpoint::NamedTensor> named(const device::TensorView& flat) const;
    void read_state(const checkpoint::CheckpointReader& reader, std::string_view prefix,
                    const device::TensorView& flat) const;

    RunPlan plan_;
    device::Context context_;
    device::PlannedMemory memory_;
    device::TensorView weights_;
    device::TensorView gradients_;
    device::TensorView first_moment_;
    device::TensorView second_moment_;
    std::int64_t updates_ = 0;
    sharding::SingleDevice strategy_;
    transformer::Transformer transformer_;
};

}  // namespace isoflop::trainer
