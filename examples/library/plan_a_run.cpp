// What 16 H100 buy in a week. Arguments override keys: plan_a_run num_gpus=64
#include <fmt/format.h>

#include <filesystem>
#include <string>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/recipe/plan_keys.hpp"

int main(int argc, char** argv) {
    std::vector<std::string> overrides{"num_gpus=16", "available_hours=168"};
    overrides.insert(overrides.end(), argv + 1, argv + argc);
    try {
        const auto file = std::filesystem::path(CONFIGS_DIR) / "plan" / "auto.jsonc";
        const auto keys = isoflop::recipe::read_plan_keys(file, overrides);
        const auto& gpus = isoflop::hardware::GpuTable::builtin();
        const auto plan = isoflop::planner::backward_plan(keys, gpus);
        fmt::print("{:.2f}B parameters, {:.1f}B tokens, {:.0f} hours\n",
                   static_cast<double>(plan.run.parameters.total) / 1e9, plan.tokens.n_tokens / 1e9,
                   plan.schedule.seconds / 3600);
        fmt::print("predicted loss {:.4f}\n", plan.loss.total);
        fmt::print("memory of a GPU: {}\n", plan.memory.fits() ? "fits" : "does not fit");
        for (const std::string& warning : plan.warnings) fmt::print("warning: {}\n", warning);
    } catch (const isoflop::Error& error) {
        fmt::print(stderr, "error: {}\n", error.what());
        return static_cast<int>(error.exit_code());
    }
}
