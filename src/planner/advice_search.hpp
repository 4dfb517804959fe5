// The search for the real architecture that serves a goal best within the limits of a plan.
// Internal to the planner.
//
// A round takes one architecture. Its candidates are the roundings of the continuous optimum of its
// shape family, its own neighbours (one layer, head or step of a width), and, where memory is
// short, the largest members that fit with each kind of recomputation. The best of them, planned
// with its own batch and execution, is the architecture of the next round, until none is better by
// more than the negligible difference of the goal. A plan config of the result goes through the
// same last round when it is planned: it is at its optimum.
//
// An execution that is slower than the given one lowers the MFU, and with it what the time pays
// for.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "isoflop/planner/backward_plan.hpp"

namespace isoflop::planner {

/// A plan of a member of the family, or why there is none.
struct Attempt {
    std::optional<Advice> advice = {};
    std::string obstacle = {};  ///< empty where the memory is
};

enum class Goal {
    least_loss,     ///< with GPUs and hours of the plan
    least_compute,  ///< for its target loss
};

class AdviceSearch {
public:
    /// `plan`, made by `keys`, and the table must outlive the search.
    AdviceSearch(const BackwardPlan& plan, recipe::PlanKeys keys, const hardware::GpuTable& gpus,
                 Goal goal);

    /// With the usual batch, executed in the cheapest way that fits.
    [[nodiscard]] Attempt planned(const model::ModelConfig& member) const;

    /// The better one; the first where it is near its optimum or the second is not clearly better.
    [[nodiscard]] std::optional<Advice> better(std::optional<Advice> first,
                                               std::optional<Advice> second) const;

    /// After all rounds. Without an advice they begin with the architecture of the plan.
    [[nodiscard]] std::optional<Advice> improved(std::optional<Advice> best) const;

private:
    struct Target {
        double scale = 1;
        double value = 0;  ///< of the goal, continuous
    };
    [[nodiscard]] double margin() const;
    /// As good as the continuous optimum of its own family, in an execution that is not slower. A
    /// law knows N and D: proportions are not given up for what they could do beyond that.
    [[nodiscard]] bool is_near_target(const Advice& advice) const;
    [[nodiscard]] double value_of(const Advice& advice) const;
    [[nodiscard]] double estimate(const model::ModelConfig& member, double slowdown) const;
    [[nodiscard]] std::optional<double> least_slowdown(const model::ModelConfig& member) const;
    [[nodiscard]] std::optional<Target> target(const model::ModelConfig& config,
                                               double slowdown) const;
    [[nodiscard]] double largest_scale(const model::ModelConfig& config, double most,
                                       cost::Recompute recompute) const;
    [[nodiscard]] std::vector<model::ModelConfig> candidates(const model::ModelConfig& config,
                                                             double slowdown) const;
    void add_what_fits(std::vector<model::ModelConfig>& members, const model::ModelConfig& config,
                       double slowdown) const;
    [[nodiscard]] std::optional<Advice> best_of(const std::vector<model::ModelConfig>& members,
                                                const std::optional<Advice>& current) const;
    [[nodiscard]] Advice replanned(recipe::PlanKeys keys) const;
    [[nodiscard]] std::optional<Advice> try_plan(const model::ModelConfig& member) const;

    const BackwardPlan& plan_;
    recipe::PlanKeys keys_;
    const hardware::GpuTable& gpus_;
    Goal goal_;
};

/// The real architecture of the family of `config` nearest to `scale`.
[[nodiscard]] model::ModelConfig member_at(const model::ModelConfig& config, double scale);

/// The member fits the GPUs of the plan in the execution with this recomputation that needs the
/// least memory.
[[nodiscard]] bool fits_frugally(const BackwardPlan& plan, const model::ModelConfig& member,
                                 cost::Recompute recompute = cost::Recompute::block);

}  // namespace isoflop::planner
