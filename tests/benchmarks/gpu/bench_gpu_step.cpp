// Whole training steps of gpt2_124m and llama_1b (configs/train) on the built-in corpus, per
// attention backend and batch size: tokens/s, MFU as the trainer counts it (exact model FLOPs
// against the data sheet's dense peak), and device memory, used and planned. One micro-batch per
// iteration, so each has its share of the optimizer: real runs accumulate several and are faster.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>

#include "gpu_benchmark.hpp"
#include "isoflop/attention_lab/attention_choice.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/trainer/session.hpp"

namespace isoflop::bench {
namespace {

using nlohmann::ordered_json;
using recipe::AttentionChoice;
using Clock = std::chrono::steady_clock;

/// Throws Skipped when the backend is not the one asked for.
recipe::RunPlan make_plan(const Bench& bench, std::string_view model, AttentionChoice backend,
                          std::int64_t batch) {
    recipe::TrainKeys keys = train_keys(bench, model);
    keys.execution.attention_backend = backend;
    keys.batch.batch_size = bench.smallest() ? std::min<std::int64_t>(batch, 2) : batch;
    recipe::RunPlan plan = attention_lab::plan_with_attention(machine::recipe_here(keys));
    if (plan.attention.used != recipe::backend_of(backend)) throw Skipped(plan.attention.reason);
    return plan;
}

/// The sizes of the model, for other programs to time the same one.
ordered_json sizes_of(const model::ModelConfig& model) {
    return {{"preset", model.preset},
            {"n_layer", model.num_hidden_layers},
            {"n_head", model.num_attention_heads},
            {"n_kv_head", model.num_key_value_heads},
            {"n_embd", model.hidden_size},
            {"intermediate_size", model.intermediate_size},
            {"vocab_size", model.vocab_size},
            {"tied", model.tie_word_embeddings}};
}

/// Seconds of iterations after the first ones, in which graphs are recorded and algorithms chosen.
std::vector<double> time_iterations(Bench& bench, trainer::Session& session,
                                    const data::BatchSampler& samples) {
    const int warm_up = bench.pick(5, 3, 1);
    const int timed = bench.pick(20, 8, 1);
    std::vector<double> seconds;
    for (int i = 0; i < warm_up + timed; ++i) {
        const Clock::time_point start = Clock::now();
        (void)session.train_iteration(i, samples, false);
        bench.gpu().synchronize();
        if (i >= warm_up)
            seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
    }
    std::sort(seconds.begin(), seconds.end());
    return seconds;
}

ordered_json measure(Bench& bench, std::string_view model, AttentionChoice backend,
                     std::int64_t batch) {
    const recipe::RunPlan plan = make_plan(bench, model, backend, batch);
    bench.require_memory(plan.memory.arena_bytes);
    data::TokenDataset dataset = data::TokenDataset::open("builtin", data::Split::train);
    dataset.set_model_vocab_size(plan.config.model.vocab_size);
    const std::int64_t length = plan.config.execution.sequence_length;
    const data::BatchSampler samples(dataset, length, 1);

    const std::uint64_t before = bench.gpu().memory_use().used_bytes;
    trainer::Session session(plan, bench.pool(), {}, bench.gpu());
    session.initialize_from_scratch();
    const std::vector<double> seconds = time_iterations(bench, session, samples);
    const auto sensors = bench.gpu().sensors();  // power is an average over the time before
    const device::DeviceMemoryUse memory = bench.gpu().memory_use();

    const Timing timing{.seconds = seconds[seconds.size() / 2],
                        .fastest = seconds.front(),
                        .calls = std::ssize(seconds),
                        .sensors = sensors};
    const double rate = static_cast<double>(plan.config.tokens_per_iteration) / timing.seconds;
    const DType dtype = plan.config.execution.dtype;
    ordered_json row = {
        {"model", model},
        {"backend", to_string(backend)},
        {"batch", plan.config.execution.micro_batch_size},
        {"sequence_length", length},
        {"parameters", plan.parameters.total},
        {"sizes", sizes_of(plan.config.model)},
        {"dtype", short_name(dtype)},
        {"tokens_per_second", rate},
        {"mfu", ratio(rate * plan.model_flops_per_token, bench.peak_flops(dtype))},
        {"hfu", ratio(rate * plan.executed_flops_per_token, bench.peak_flops(dtype))},
        {"planned_arena_bytes", plan.memory.arena_bytes},
        {"planned_bytes", plan.memory.total_bytes()},
        {"session_bytes", memory.used_bytes - std::min(before, memory.used_bytes)},
        {"device_used_bytes", memory.used_bytes},
        {"planned_gib", static_cast<double>(plan.memory.total_bytes()) / (1U << 30U)},
        {"used_gib", static_cast<double>(memory.used_bytes) / (1U << 30U)}};
    add_timing(row, "", timing);
    return row;
}

void add_cases(std::vector<Case>& cases, std::string_view model,
               std::initializer_list<std::int64_t> batches) {
    for (const auto backend :
         {AttentionChoice::flash_attn_2, AttentionChoice::sdpa, AttentionChoice::manual}) {
        for (const std::int64_t batch : batches) {
            cases.push_back({fmt::format("{}/{}/{}", model, to_string(backend), batch),
                             [=](Bench& bench) { return measure(bench, model, backend, batch); }});
        }
    }
}

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    add_cases(cases, "gpt2_124m", {4, 8, 16, 32, 64});
    add_cases(cases, "llama_1b", {1, 2, 4, 8});
    return cases;
}

}  // namespace

int run_step(int argc, char** argv) {
    return run_program(argc, argv,
                       {.name = "gpu_step",
                        .help = "Tokens/s, MFU and memory of whole training steps",
                        .columns = {{"ms", "ms", 1},
                                    {"tokens_per_second", "tokens/s", 0},
                                    {"mfu", "MFU", 3},
                                    {"hfu", "HFU", 3},
                                    {"used_gib", "used GiB", 2},
                                    {"planned_gib", "planned", 2},
                                    {"watts", "W", 0},
                                    {"sm_megahertz", "SM MHz", 0}}},
                       all_cases());
}

}  // namespace isoflop::bench
