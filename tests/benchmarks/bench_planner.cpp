// Speed of what a search over many plans repeats: one plan, its layout, its memory, and reading a
// config.
#include <benchmark/benchmark.h>

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/planner/sweep.hpp"

namespace isoflop {
namespace {

std::filesystem::path source_path(const std::string& relative) {
    return std::filesystem::path(ISOFLOP_SOURCE_DIR) / relative;
}

model::ModelConfig shipped_model(const std::string& name) {
    return model::read_model_file(source_path("configs/models/" + name + ".jsonc")).config;
}

void parse_jsonc(benchmark::State& state) {
    std::ostringstream text;
    text << std::ifstream(source_path("configs/plan/hoffmann.jsonc")).rdbuf();
    for (auto _ : state)
        benchmark::DoNotOptimize(config::parse_jsonc(text.str(), "hoffmann.jsonc"));
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.str().size()));
}
BENCHMARK(parse_jsonc);

void parse_gpu_table(benchmark::State& state) {
    std::ostringstream text;
    text << std::ifstream(source_path("configs/gpus.jsonc")).rdbuf();
    for (auto _ : state) benchmark::DoNotOptimize(config::parse_jsonc(text.str(), "gpus.jsonc"));
    state.SetBytesProcessed(state.iterations() * static_cast<std::int64_t>(text.str().size()));
}
BENCHMARK(parse_gpu_table);

void read_plan_config(benchmark::State& state) {
    const auto path = source_path("configs/plan/hoffmann.jsonc");
    for (auto _ : state) benchmark::DoNotOptimize(recipe::read_plan_keys(path));
}
BENCHMARK(read_plan_config);

void parameter_layout(benchmark::State& state, const char* name) {
    const model::ModelConfig config = shipped_model(name);
    for (auto _ : state) benchmark::DoNotOptimize(model::parameter_layout(config).totals());
}
BENCHMARK_CAPTURE(parameter_layout, llama3_405b, "llama3_405b");
BENCHMARK_CAPTURE(parameter_layout, deepseek_v3, "deepseek_v3");

void memory_plan(benchmark::State& state, const char* name) {
    const model::ModelConfig config = shipped_model(name);
    const model::ParameterLayout layout = model::parameter_layout(config);
    cost::Execution execution;
    execution.sequence_length = 4096;
    execution.world_size = 64;
    execution.parallelism = cost::Parallelism::fsdp;
    for (auto _ : state)
        benchmark::DoNotOptimize(cost::memory_plan(config, layout, execution, cost::kAdamW));
}
BENCHMARK_CAPTURE(memory_plan, llama3_405b, "llama3_405b");
BENCHMARK_CAPTURE(memory_plan, deepseek_v3, "deepseek_v3");

void backward_plan(benchmark::State& state, planner::Detail detail) {
    const recipe::PlanKeys config =
        recipe::read_plan_keys(source_path("configs/plan/hoffmann.jsonc"));
    const hardware::GpuTable& gpus = hardware::GpuTable::builtin();
    for (auto _ : state) benchmark::DoNotOptimize(planner::backward_plan(config, gpus, detail));
}
BENCHMARK_CAPTURE(backward_plan, full, planner::Detail::full);
BENCHMARK_CAPTURE(backward_plan, summary, planner::Detail::summary);

void sweep(benchmark::State& state) {
    const recipe::PlanKeys config =
        recipe::read_plan_keys(source_path("configs/plan/hoffmann.jsonc"));
    const std::vector<planner::SweepAxis> axes{planner::parse_axis("num_gpus=1..10"),
                                               planner::parse_axis("available_hours=1..100")};
    for (auto _ : state) {
        double loss = 0;
        planner::sweep(config, axes, hardware::GpuTable::builtin(),
                       [&](const planner::SweepRow& row) { loss += row.predicted_loss; });
        benchmark::DoNotOptimize(loss);
    }
    state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(sweep)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace isoflop

BENCHMARK_MAIN();
