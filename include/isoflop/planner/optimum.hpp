// The best use of a budget: within the compute, the data and the memory of its GPUs.
//
// The models compared are those of the shape family (shape_family.hpp), rounded to real
// architectures, and the given architecture. Each is planned as any plan is: its tokens are what
// compute and data allow, its batch is near the usual one (batch_size.hpp), and it is executed in
// the cheapest way that fits (recipe/memory_fit.hpp), never with less sharding or recomputation
// than was given. An execution that is slower than the given one, as recomputation is, has an MFU
// that is lower by as much. The search (src/planner/advice_search.hpp) ends where no neighbouring
// shape is better by more than kNegligibleLoss; the given architecture is advised where it is not
// worse by more.
#pragma once

#include "isoflop/planner/backward_plan.hpp"

namespace isoflop::planner {

/// N as the law of the plan counts it.
[[nodiscard]] double parameters_of_law(const BackwardPlan& plan);

/// Closed form always; along the family where the detail is not Detail::summary.
[[nodiscard]] OptimumComparison compare_with_optimum(const BackwardPlan& plan, Detail detail);

/// Sets `plan.advice`, for the keys that made the plan; and in plan.optimum whether memory binds,
/// and then what the plan is compared with.
void advise(BackwardPlan& plan, const recipe::PlanKeys& keys, const hardware::GpuTable& gpus);

/// The optimum, as a real architecture, fits the GPUs in no execution.
[[nodiscard]] bool exceeds_memory(const BackwardPlan& plan);

/// The real architecture that reaches the target loss of the plan with the least compute, and fits.
[[nodiscard]] std::optional<Advice> cheapest_advice(const BackwardPlan& plan,
                                                    const recipe::PlanKeys& keys,
                                                    const hardware::GpuTable& gpus);

/// Whether the model of the family at `scale` fits the GPUs of the plan in some execution; true
/// where its sizes are none of a model.
[[nodiscard]] bool fits_some_execution(const BackwardPlan& plan, double scale);

/// What binds, in words: "data bind, not compute: 21.18B unique tokens would be best".
[[nodiscard]] std::string limit_text(const BackwardPlan& plan);

/// The keys of an architecture of the same family with the sizes of `member`. Every size is
/// written; what follows from a model_type or preset stays.
[[nodiscard]] model::ModelKeys resized(const model::ModelKeys& given,
                                       const model::ModelConfig& member);

}  // namespace isoflop::planner
