// No advised plan breaks a limit that its report states, whichever of GPUs, hours, tokens and loss
// were asked for: generated plans, each emitted as a plan config, read and planned again.
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <optional>
#include <random>

#include "isoflop/planner/emit_plan.hpp"
#include "support/plans.hpp"

namespace isoflop::planner {
namespace {

/// Rounding of products and quotients of doubles.
constexpr double kRounding = 1 + 1e-12;

struct Generator {
    std::mt19937_64 random{20261130};

    template <class List>
    const auto& one_of(const List& list) {
        return list[random() % std::size(list)];
    }
    /// Log-uniform between the bounds.
    double between(double low, double high) {
        std::uniform_real_distribution<double> logarithm(std::log(low), std::log(high));
        return std::exp(logarithm(random));
    }
    std::int64_t count(double low, double high) {
        return static_cast<std::int64_t>(between(low, high));
    }

    recipe::PlanKeys plan(const std::vector<test::NamedModel>& models) {
        recipe::PlanKeys keys = test::plan_config_for(one_of(models));
        recipe::TrainingGear& gear = keys.training_gear;
        gear.gpu_type = one_of(hardware::GpuTable::builtin().gpus()).id;
        gear.num_gpus = count(1, 2000);
        gear.available_hours = between(0.1, 5000);
        gear.dtype = one_of(std::array{DType::bfloat16, DType::bfloat16, DType::bfloat16,
                                       DType::float16, DType::float32, DType::float8});
        recipe::TrainingEfficiency& efficiency = keys.training_efficiency;
        efficiency.expected_mfu = between(0.02, 0.7);
        efficiency.flop_convention = one_of(
            std::array{cost::Convention::exact, cost::Convention::exact, cost::Convention::palm,
                       cost::Convention::megatron, cost::Convention::titan,
                       cost::Convention::kaplan, cost::Convention::six_nd});
        efficiency.batch_size = count(1, 64);
        efficiency.gradient_accumulation_steps = count(1, 512);
        efficiency.parallelism = static_cast<cost::Parallelism>(random() % 4);
        efficiency.recompute = static_cast<cost::Recompute>(random() % 3);
        efficiency.attention_backend = static_cast<cost::AttentionBackend>(random() % 3);
        keys.dataset_constraints.sequence_length = one_of(std::array{64, 128, 256});
        if (random() % 4 != 0) {
            keys.dataset_constraints.dataset_size = count(1e6, 1e13);
            keys.dataset_constraints.max_epochs = between(0.5, 60);
        }
        keys.scaling_law.base = one_of(scaling_law::laws()).id;
        if (random() % 2 == 0) solve_for_gpus_or_hours(keys);
        return keys;
    }

    /// Tokens or a loss in place of the GPUs or the hours.
    void solve_for_gpus_or_hours(recipe::PlanKeys& keys) {
        if (random() % 2 == 0)
            keys.training_gear.num_gpus = config::Solvable<std::int64_t>::solve();
        else
            keys.training_gear.available_hours = config::Solvable<double>::solve();
        if (random() % 2 == 0)
            keys.dataset_constraints.training_tokens = between(1e7, 1e13);
        else
            keys.scaling_law.target_loss = between(1.9, 4);
    }
};

void expect_within_limits(const BackwardPlan& plan) {
    EXPECT_TRUE(plan.memory.fits());
    EXPECT_LE(plan.tokens.n_tokens, plan.tokens.data.allowed_tokens);
    EXPECT_LE(plan.tokens.n_tokens * plan.run.exact_flops_per_token,
              plan.budget.compute_flops * kRounding);
    EXPECT_LE(plan.schedule.seconds, plan.budget.hours * 3600 * kRounding);
    const cost::Execution& execution = plan.run.config.execution;
    // Usual, or the smallest that so many GPUs can have.
    EXPECT_TRUE(
        !plan.batch.is_unusual() ||
        (execution.micro_batch_size * execution.grad_accum_steps == 1 && plan.batch.ratio() > 1))
        << plan.batch.batch_tokens << " tokens, usual are " << plan.batch.usual_tokens;
}

/// The advice says what its plan config plans.
void expect_same(const BackwardPlan& again, const BackwardPlan& advised) {
    EXPECT_EQ(again.run.parameters.total, advised.run.parameters.total);
    EXPECT_EQ(again.tokens.n_tokens, advised.tokens.n_tokens);
    EXPECT_EQ(again.loss.total, advised.loss.total);
    EXPECT_EQ(again.loss_with_repetition.total, advised.loss_with_repetition.total);
    EXPECT_EQ(again.memory.planned_bytes, advised.memory.planned_bytes);
    EXPECT_TRUE(recipe::same_execution(again.run.config.execution, advised.run.config.execution));
}

/// GPU seconds, the goal where a loss is given.
double gpu_seconds(const BackwardPlan& plan) {
    return plan.budget.num_gpus * plan.schedule.seconds;
}

/// Slower executions, such as recomputation, lower the MFU; none raises it.
void expect_honest_time(const Advice& advice, const BackwardPlan& given) {
    const double mfu = advice.plan->budget.mfu;
    EXPECT_LE(mfu * (1 + advice.slowdown), given.budget.mfu * kRounding);
    EXPECT_GT(mfu * (1 + advice.slowdown), given.budget.mfu * 0.998);  // four digits
    const double recomputation =
        recipe::recompute_slowdown(advice.plan->run.config.execution.recompute) -
        recipe::recompute_slowdown(given.run.config.execution.recompute);
    EXPECT_GE(advice.slowdown, recomputation - 1e-12);
}

/// Planned as it was emitted, the advice leaves nothing to advise: what is better is so by less
/// than the tolerance that the report states.
void expect_at_the_optimum(const BackwardPlan& again) {
    EXPECT_TRUE(again.optimum.reached);
    ASSERT_TRUE(again.advice);
    EXPECT_GE(again.advice->plan->loss_with_repetition.total,
              again.loss_with_repetition.total - kNegligibleLoss);
}

/// As above, for the cheapest model that reaches a loss: 1 % of the compute.
void expect_cheapest(const BackwardPlan& again, const BackwardPlan& given) {
    EXPECT_NEAR(again.loss_with_repetition.total, *given.solution.target_loss, 1e-9);
    ASSERT_TRUE(again.cheapest_advice);
    EXPECT_GE(gpu_seconds(*again.cheapest_advice->plan), gpu_seconds(again) * 0.99);
    if (given.memory.fits()) {
        EXPECT_LE(gpu_seconds(again), gpu_seconds(given) * 1.01);
    }
}

/// The row of a sweep is judged by the optimum of the plan.
void expect_same_optimum_in_a_sweep(const BackwardPlan& plan, const recipe::PlanKeys& keys) {
    const BackwardPlan row = test::plan_of(keys, Detail::row);
    EXPECT_EQ(row.optimum.best.n_params, plan.optimum.best.n_params);
    EXPECT_EQ(row.optimum.best.loss.total, plan.optimum.best.loss.total);
    EXPECT_EQ(row.optimum.data_bind, plan.optimum.data_bind);
    EXPECT_EQ(row.optimum.memory_binds, plan.optimum.memory_binds);
}

/// What the generated plans are to cover.
struct Tally {
    int advised = 0, none = 0, refused = 0, data = 0, memory = 0, repeated = 0, mixtures = 0,
        latent = 0, feasible = 0, solved_gpus = 0, solved_hours = 0, of_loss = 0, cheapest = 0,
        slower = 0;
    std::array<int, cost::kConventionCount> conventions{};

    void count(const BackwardPlan& plan) {
        const model::ModelConfig& model = plan.run.config.model;
        advised += 1;
        slower += plan.advice->slowdown > 0 ? 1 : 0;
        cheapest += plan.cheapest_advice ? 1 : 0;
        conventions.at(static_cast<std::size_t>(plan.budget.convention)) += 1;
        data += plan.optimum.data_bind ? 1 : 0;
        memory += plan.optimum.memory_binds ? 1 : 0;
        repeated += plan.advice->plan->tokens.epochs > 1 ? 1 : 0;
        mixtures += model.moe ? 1 : 0;
        latent += model.mla ? 1 : 0;
        feasible += plan.memory.fits() ? 1 : 0;
        const Solution& solution = plan.solution;
        solved_gpus += solution.is_given(Quantity::num_gpus) ? 0 : 1;
        solved_hours += solution.is_given(Quantity::available_hours) ? 0 : 1;
        of_loss += solution.is_given(Quantity::target_loss) ? 1 : 0;
    }
};

TEST(AdvisedPlans, KeepEveryLimitThatTheirReportStates) {
    Generator generator;
    const std::vector<test::NamedModel> models = test::all_models();
    Tally tally;
    for (int i = 0; tally.advised + tally.none < 2000; ++i) {
        ASSERT_LT(tally.refused, 10000);
        SCOPED_TRACE(i);
        const recipe::PlanKeys keys = generator.plan(models);
        std::optional<BackwardPlan> plan;
        try {
            plan = test::plan_of(keys);
        } catch (const ConfigError&) {
            // A precision that the GPU lacks, too few learned positions, a loss out of reach.
            ++tally.refused;
            continue;
        }
        const bool feasible = plan->memory.fits() || plan->memory.change;
        if (!plan->advice) {
            ++tally.none;
            EXPECT_FALSE(feasible);
            EXPECT_TRUE(plan->optimum.memory_binds || !plan->optimum.unplanned.empty());
            continue;
        }
        tally.count(*plan);
        expect_same_optimum_in_a_sweep(*plan, keys);
        expect_honest_time(*plan->advice, *plan);
        const bool of_loss = plan->solution.target_loss.has_value();
        if (of_loss && !plan->cheapest_advice) continue;
        const Advice& written = of_loss ? *plan->cheapest_advice : *plan->advice;
        expect_honest_time(written, *plan);
        const BackwardPlan again = test::plan_of(
            recipe::read_plan_keys(config::parse_jsonc(emit_advised_plan(*plan), "best.jsonc")));
        expect_same(again, *written.plan);
        expect_within_limits(again);
        if (of_loss) {
            expect_cheapest(again, *plan);
        } else {
            expect_at_the_optimum(again);
            // The compute of a solved plan is that of its tokens, but for rounding.
            if (plan->memory.fits()) {
                EXPECT_LE(again.loss_with_repetition.total,
                          plan->loss_with_repetition.total *
                              (plan->solution.is_of_budget() ? 1 : kRounding));
            }
        }
        if (::testing::Test::HasFailure()) FAIL() << emit_advised_plan(*plan);
    }
    EXPECT_GT(tally.data, 200);
    EXPECT_GT(tally.memory, 100);
    EXPECT_GT(tally.repeated, 200);
    EXPECT_GT(tally.mixtures, 100);
    EXPECT_GT(tally.latent, 30);
    EXPECT_GT(tally.feasible, 500);
    EXPECT_GT(tally.solved_gpus, 200);
    EXPECT_GT(tally.solved_hours, 200);
    EXPECT_GT(tally.of_loss, 150);
    EXPECT_GT(tally.cheapest, 100);
    EXPECT_GT(tally.slower, 100);
    for (std::size_t i = 0; i < cost::kConventionCount; ++i) {
        if (i != static_cast<std::size_t>(cost::Convention::executed)) {
            EXPECT_GT(tally.conventions.at(i), 150) << i;
        }
    }
}

}  // namespace
}  // namespace isoflop::planner
