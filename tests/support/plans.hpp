// Plans to test with: of the shipped configs, with overrides, and of any architecture.
#pragma once

#include <string>
#include <vector>

#include "isoflop/planner/backward_plan.hpp"
#include "support/shipped_configs.hpp"

namespace isoflop::test {

inline recipe::PlanKeys plan_config(std::string_view name,
                                    const std::vector<std::string>& overrides = {}) {
    return recipe::read_plan_keys(source_path("configs/plan/" + std::string(name) + ".jsonc"),
                                  overrides);
}

inline planner::BackwardPlan plan_of(const recipe::PlanKeys& config,
                                     planner::Detail detail = planner::Detail::full) {
    return planner::backward_plan(config, hardware::GpuTable::builtin(), detail);
}

inline planner::BackwardPlan plan_of(std::string_view name,
                                     const std::vector<std::string>& overrides = {}) {
    return plan_of(plan_config(name, overrides));
}

/// A day on eight H100s with this architecture and a context that all of them serve.
inline recipe::PlanKeys plan_config_for(const NamedModel& named) {
    recipe::PlanKeys config;
    config.architecture = named.keys;
    config.training_gear.gpu_type = "H100";
    config.training_gear.num_gpus = 8;
    config.training_gear.available_hours = 24;
    config.training_efficiency.expected_mfu = 0.4;
    config.dataset_constraints.sequence_length = 128;
    return config;
}

/// What a call is refused with; empty when it is not.
template <class Call>
std::string refusal(const Call& call) {
    try {
        (void)call();
    } catch (const ConfigError& error) {
        return error.what();
    }
    return {};
}

}  // namespace isoflop::test
