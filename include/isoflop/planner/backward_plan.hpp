// The backward plan: from GPUs, hours, data and an architecture to parameters N, tokens D, compute
// C, memory per GPU and predicted loss; and the best N and D for this compute, which the fixed
// architecture hides. GPUs or hours may be solved for instead, from tokens or a loss (solve.hpp).
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/cost/communication.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/planner/batch_size.hpp"
#include "isoflop/planner/cheapest.hpp"
#include "isoflop/planner/run_cost.hpp"
#include "isoflop/planner/shape_family.hpp"
#include "isoflop/planner/solve.hpp"
#include "isoflop/recipe/attention_resolution.hpp"
#include "isoflop/recipe/memory_fit.hpp"
#include "isoflop/recipe/plan_keys.hpp"
#include "isoflop/scaling_law/repeated_data.hpp"

namespace isoflop::planner {

/// Counted FLOPs = num_gpus * peak * MFU * seconds; C is the same work counted exactly.
struct ComputeBudget {
    std::string gpu_id;
    std::string gpu_source;   ///< table the figures come from
    bool plan_only = false;   ///< the trainer does not run on it
    bool is_builtin = false;  ///< its row is that of the built-in table
    double num_gpus = 0;
    double hours = 0;
    double mfu = 0;
    cost::Convention convention = cost::Convention::exact;  ///< how `mfu` counts the model's FLOPs
    DType dtype = DType::bfloat16;
    double peak_flops_per_gpu = 0;
    bool peak_from_table = true;
    double counted_flops = 0;  ///< by `convention`
    double compute_flops = 0;  ///< C, exact: equal to counted_flops under the exact convention
};

/// D = C / training FLOPs per token, limited by the data; or the tokens that are asked for.
struct TokenBudget {
    double compute_limited = 0;          ///< tokens the compute could train on
    std::optional<double> data_limited;  ///< dataset_size * max_epochs
    double n_tokens = 0;                 ///< the smaller of the two
    double epochs = 0;                   ///< over dataset_size; 0 when the dataset is unlimited
    bool constrained = false;            ///< the data end before the compute
    double unused_compute_flops = 0;
    scaling_law::DataSupply data = {};
    double effective = 0;  ///< n_tokens, repeated ones at the value that they have
};

/// Recomputes C from N and D, and explains the difference to 6 N D by its parts (FLOPs per token).
struct Verification {
    double recomputed_compute_flops = 0;
    double relative_error = 0;
    double six_nd_flops = 0;
    double exact_flops = 0;
    double input_embedding =
        0;  ///< - 6 x embedding tables, which enter no matrix product (unless tied to the head)
    double vectors = 0;    ///< - 6 x norms and biases
    double attention = 0;  ///< + scores and values, which have no parameters
    double difference() const { return exact_flops - six_nd_flops; }
};

struct Schedule {
    double tokens_per_step = 0;
    double sequences_per_step = 0;
    double steps = 0;
    double seconds = 0;
    double seconds_per_step = 0;
    double tokens_per_second = 0;
    double tokens_per_second_per_gpu = 0;
};

/// How the plan compares with the best use of its compute.
struct OptimumComparison {
    scaling_law::Optimum six_nd;  ///< closed form under C = 6 N D; no limit of the data
    /// Numeric, along the shape family, FLOPs counted by the convention of the MFU; the same.
    std::optional<FamilyOptimum> exact;
    /// Within the data; set when `exact` needs more unique tokens than there are.
    std::optional<FamilyOptimum> within_data;
    /// The optimum uses all allowed tokens, and compute alone would use more.
    bool data_bind = false;
    /// The optimum fits the GPUs in no execution.
    bool memory_binds = false;
    /// No real architecture within the limits is better than the plan, but for kNegligibleLoss.
    bool reached = false;
    /// Why the optimum could not be planned as a real architecture, where that is not the memory;
    /// else empty.
    std::string unplanned = {};
    /// What the plan is compared with: the optimum within the data, and within the memory where
    /// that binds. Repeated tokens have the value that they have.
    scaling_law::Optimum best;
    double tokens_per_parameter = 0;
    double optimal_tokens_per_parameter = 0;  ///< of `best`
    double loss_gap = 0;  ///< loss of the plan, repetition valued, - loss of `best`, nats
};

struct BackwardPlan;

/// The model of the family that is best within compute, data and memory, as a plan of its own.
struct Advice {
    recipe::PlanKeys keys;                     ///< complete: a plan config of these is `plan`
    std::shared_ptr<const BackwardPlan> plan;  ///< in Detail::summary; fits, with a usual batch
    /// Estimated extra step time of its execution against the given one, fraction; the MFU of
    /// `keys` is lower by as much.
    double slowdown = 0;
};

struct BackwardPlan {
    /// What the plan has in common with the run of a training config, from the same function.
    recipe::RunPlan run;
    ComputeBudget budget;
    TokenBudget tokens;
    scaling_law::Law law;
    scaling_law::LossTerms loss;                  ///< repeated tokens taken for new ones
    scaling_law::LossTerms loss_with_repetition;  ///< the loss predicted
    double forward_flops_per_token = 0;
    Verification verification;
    recipe::MemoryFit memory;
    Schedule schedule;
    BatchAdvice batch;
    OptimumComparison optimum;
    std::optional<Advice> advice =
        {};             ///< nullopt in a summary, or when no model of the family fits
    Solution solution;  ///< which of GPUs, hours, tokens and loss were solved for
    std::optional<CheapestModel> cheapest = {};  ///< of a full plan with a target loss
    /// As a real architecture that fits; nullopt when none does.
    std::optional<Advice> cheapest_advice = {};
    RunCost cost;  ///< of the schedule's time on all GPUs
    std::vector<std::string> warnings;
};

/// Extent of the plan; a sweep over many points needs less.
enum class Detail {
    full,
    row,       ///< without advice, traffic and what would fit; the optimum is that of `full`
    fast_row,  ///< of that, where memory binds, not the best model within it
    summary,   ///< of that, of the optimum the closed form only
};

/// Throws ConfigError for unknown GPUs or laws, precisions a GPU lacks and inconsistent
/// architectures.
[[nodiscard]] BackwardPlan backward_plan(const recipe::PlanKeys& config,
                                         const hardware::GpuTable& gpus,
                                         Detail detail = Detail::full);

/// Law named by the config, with its constants overridden where given.
[[nodiscard]] scaling_law::Law chosen_law(const recipe::ScalingLawChoice& choice);

}  // namespace isoflop::planner
