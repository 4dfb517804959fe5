#include "gpu_benchmark.hpp"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <fstream>
#include <iostream>
#include <random>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/base/version.hpp"
#include "isoflop/device/cpu_info.hpp"
#include "isoflop/ops/random.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::bench {
namespace {

using nlohmann::ordered_json;
using Clock = std::chrono::steady_clock;

constexpr int kNoGpu = 2;

struct BatchLimits {
    double seconds;  ///< that a batch lasts at least
    int batches;
    double warm_up_seconds;
};

BatchLimits limits_of(Effort effort) {
    switch (effort) {
        case Effort::full: return {.seconds = 0.03, .batches = 9, .warm_up_seconds = 0.1};
        case Effort::quick: return {.seconds = 0.01, .batches = 5, .warm_up_seconds = 0.02};
        case Effort::smallest: break;
    }
    return {.seconds = 0, .batches = 1, .warm_up_seconds = 0};
}

constexpr double kMostCalls = 10'000;  ///< in a batch

double median(std::vector<double> values) {
    const auto middle = values.begin() + std::ssize(values) / 2;
    std::nth_element(values.begin(), middle, values.end());
    return *middle;
}

ordered_json sensors_json(const std::optional<device::DeviceSensors>& sensors) {
    if (!sensors) return nullptr;
    return {{"watts", sensors->watts},
            {"sm_megahertz", sensors->sm_megahertz},
            {"memory_megahertz", sensors->memory_megahertz}};
}

}  // namespace

// ---- The device

Bench::Bench(const Options& options, bool allow_tf32)
    : options_(options),
      pool_(device::default_thread_count()),
      gpu_(device::open_gpu({.ordinal = options.ordinal,
                             .deterministic = options.deterministic,
                             .allow_tf32 = allow_tf32,
                             .gemm_cache = options.gemm_cache})),
      context_(pool_, *gpu_),
      table_row_(hardware::GpuTable::builtin().find(gpu_->info().name)) {}

std::optional<double> Bench::peak_flops(DType dtype) const {
    if (table_row_ == nullptr) return std::nullopt;
    return table_row_->dense_peak_flops.at(static_cast<std::size_t>(dtype));
}

Timing Bench::time(const std::function<void()>& work) {
    const auto batch_seconds = [&](std::int64_t calls) {
        const Clock::time_point start = Clock::now();
        for (std::int64_t i = 0; i < calls; ++i) work();
        gpu_->synchronize();
        return std::chrono::duration<double>(Clock::now() - start).count();
    };
    const BatchLimits limits = limits_of(options_.effort);
    Timing timing;
    double spent = 0;
    double shortest = 1e30;  // of single calls: the first ones load kernels and choose algorithms
    for (int i = 0; i < 3 || spent < limits.warm_up_seconds; ++i) {
        const double seconds = batch_seconds(1);
        spent += seconds;
        shortest = std::min(shortest, seconds);
        if (smallest()) break;
    }
    timing.calls = static_cast<std::int64_t>(
        std::clamp(std::ceil(limits.seconds / std::max(shortest, 1e-7)), 1.0, kMostCalls));
    std::vector<double> seconds;
    for (int i = 0; i < limits.batches; ++i)
        seconds.push_back(batch_seconds(timing.calls) / static_cast<double>(timing.calls));
    timing.seconds = median(seconds);
    timing.fastest = *std::min_element(seconds.begin(), seconds.end());
    // One more, which is not timed, to look at power and clocks in the middle of.
    for (std::int64_t i = 0; i < timing.calls; ++i) work();
    timing.sensors = gpu_->sensors();
    gpu_->synchronize();
    return timing;
}

double Bench::copy_bandwidth() {
    if (!copy_bandwidth_) {
        const std::uint64_t bytes = pick<std::uint64_t>(512U << 20U, 128U << 20U, 4096);
        const device::DeviceBuffer from(*gpu_, bytes);
        const device::DeviceBuffer to(*gpu_, bytes);
        const Timing timing = time([&] { gpu_->copy(to.data(), from.data(), bytes); });
        copy_bandwidth_ = 2 * static_cast<double>(bytes) / timing.seconds;
    }
    return *copy_bandwidth_;
}

void Bench::require_memory(std::uint64_t bytes) {
    const std::uint64_t free = gpu_->memory_use().usable_bytes;
    if (bytes <= free) return;
    throw Skipped(fmt::format("needs {}, {} are free", human_bytes(static_cast<double>(bytes)),
                              human_bytes(static_cast<double>(free))));
}

ordered_json Bench::describe() {
    const device::DeviceInfo& info = gpu_->info();
    ordered_json json = {
        {"name", info.name},
        {"compute_capability", fmt::format("{}.{}", info.capability_major, info.capability_minor)},
        {"multiprocessors", info.multiprocessors},
        {"memory_bytes", info.total_bytes},
        {"runtime", info.runtime},
        {"libraries", info.libraries},
        {"sensors", sensors_json(gpu_->sensors())},
        {"table_name", nullptr},
        {"data_sheet_bandwidth", nullptr},
        {"data_sheet_flops", ordered_json::object()}};
    if (table_row_ != nullptr) {
        json["table_name"] = table_row_->id;
        json["data_sheet_bandwidth"] = table_row_->memory_bandwidth_bytes_per_s;
        for (const DType dtype : {DType::bfloat16, DType::tf32}) {
            const std::optional<double> peak = peak_flops(dtype);
            json["data_sheet_flops"][std::string(short_name(dtype))] =
                peak ? ordered_json(*peak) : ordered_json(nullptr);
        }
    }
    return json;
}

// ---- Tensors

device::TensorView Tensors::zeros(DType dtype, std::initializer_list<std::int64_t> shape) {
    const device::TensorView sizes(nullptr, dtype, shape);
    buffers_.emplace_back(bench_.gpu(), sizes.bytes());
    return {buffers_.back().data(), dtype, shape};
}

device::TensorView Tensors::normal(DType dtype, std::initializer_list<std::int64_t> shape,
                                   double deviation) {
    const device::TensorView tensor = zeros(dtype, shape);
    ops::fill_normal(bench_.context(), deviation, 1, buffers_.size(), 0, tensor);
    return tensor;
}

std::span<const std::int32_t> Tensors::ids(std::int64_t count, std::int64_t limit) {
    std::mt19937 random(1);
    std::uniform_int_distribution<std::int32_t> any(0, static_cast<std::int32_t>(limit - 1));
    std::vector<std::int32_t> values(static_cast<std::size_t>(count));
    for (std::int32_t& value : values) value = any(random);
    buffers_.emplace_back(bench_.gpu(), values.size() * sizeof(std::int32_t));
    bench_.gpu().copy_in(buffers_.back().data(), values.data(), buffers_.back().size());
    return {reinterpret_cast<const std::int32_t*>(buffers_.back().data()), values.size()};
}

// ---- Results

void add_timing(ordered_json& row, std::string_view prefix, const Timing& timing) {
    const auto key = [&](std::string_view name) { return fmt::format("{}{}", prefix, name); };
    row[key("ms")] = timing.seconds * 1e3;
    row[key("fastest_ms")] = timing.fastest * 1e3;
    row[key("watts")] = timing.sensors ? ordered_json(timing.sensors->watts) : ordered_json();
    row[key("sm_megahertz")] =
        timing.sensors ? ordered_json(timing.sensors->sm_megahertz) : ordered_json();
}

ordered_json ratio(double value, std::optional<double> of) {
    return of && *of > 0 ? ordered_json(value / *of) : ordered_json(nullptr);
}

namespace {

/// Rows, and why others are missing.
struct Results {
    ordered_json rows = ordered_json::array();
    ordered_json skipped = ordered_json::array();
    ordered_json failed = ordered_json::array();
};

void run_case(Bench& bench, const Case& each, Results& results) {
    const auto without = [&](ordered_json& list, const std::string& reason) {
        list.push_back({{"name", each.name}, {"reason", reason}});
        std::cerr << "  " << reason << '\n';
    };
    try {
        ordered_json row = {{"name", each.name}};
        row.update(each.run(bench));
        results.rows.push_back(std::move(row));
    } catch (const Skipped& skipped) {
        without(results.skipped, skipped.what());
    } catch (const Error& error) {
        without(error.exit_code() == ExitCode::out_of_memory ? results.skipped : results.failed,
                error.what());
    } catch (const std::exception& error) {
        without(results.failed, error.what());
    }
}

std::string cell(const ordered_json& row, const Column& column) {
    const auto field = row.find(column.field);
    if (field == row.end() || field->is_null()) return "-";
    if (field->is_number()) return fmt::format("{:.{}f}", field->get<double>(), column.decimals);
    return field->is_string() ? field->get<std::string>() : field->dump();
}

void print_table(const Program& program, const Results& results, const ordered_json& device) {
    fmt::print("{}: {}, {}, {}\n", program.name, device["name"].get<std::string>(),
               device["runtime"].get<std::string>(), device["libraries"].get<std::string>());
    std::vector<text::Column> titles = {{"case", text::Align::left}};
    for (const Column& column : program.columns) titles.push_back({column.title});
    text::Table table(std::move(titles));
    for (const ordered_json& row : results.rows) {
        std::vector<std::string> cells = {row["name"].get<std::string>()};
        for (const Column& column : program.columns) cells.push_back(cell(row, column));
        table.row(std::move(cells));
    }
    fmt::print("{}", table.str());
    for (const auto* list : {&results.skipped, &results.failed}) {
        for (const ordered_json& entry : *list) {
            fmt::print("{} {}: {}\n", list == &results.failed ? "FAILED" : "skipped",
                       entry["name"].get<std::string>(), entry["reason"].get<std::string>());
        }
    }
}

ordered_json document_of(const Options& options, const Program& program, Bench& bench,
                         const ordered_json& device, const Results& results) {
    constexpr std::array kEfforts = {"full", "quick", "smallest"};
    return {{"benchmark", program.name},
            {"effort", kEfforts.at(static_cast<std::size_t>(options.effort))},
            {"deterministic", options.deterministic},
            {"autotuned", !options.gemm_cache.empty()},
            {"version", version()},
            {"commit", commit()},
            {"compiler", compiler()},
            {"device", device},
            {"copy_bandwidth", bench.copy_bandwidth()},
            {"rows", results.rows},
            {"skipped", results.skipped},
            {"failed", results.failed}};
}

void save_document(const std::filesystem::path& path, const ordered_json& document) {
    std::ofstream file(path, std::ios::binary);
    file << document.dump(1) << '\n';
    file.close();
    if (!file) throw IoError(fmt::format("{}: could not be written", path.string()));
}

/// Runs every case that begins before the time limit; the others are skipped with the reason.
Results run_within_limit(Bench& bench, const Program& program, const std::vector<Case>& cases) {
    const Clock::time_point start = Clock::now();
    const std::optional<double> limit = bench.options().seconds;
    Results results;
    for (const Case& each : cases) {
        if (limit && std::chrono::duration<double>(Clock::now() - start).count() > *limit) {
            results.skipped.push_back(
                {{"name", each.name}, {"reason", fmt::format("not begun within {} s", *limit)}});
            continue;
        }
        std::cerr << program.name << ": " << each.name << '\n';
        run_case(bench, each, results);
    }
    return results;
}

int run_cases(const Options& options, const Program& program, const std::vector<Case>& cases) {
    Bench bench(options, program.allow_tf32);
    const ordered_json device = bench.describe();
    const Results results = run_within_limit(bench, program, cases);
    if (options.json || !options.save.empty()) {
        const ordered_json document = document_of(options, program, bench, device, results);
        if (!options.save.empty()) save_document(options.save, document);
        if (options.json) fmt::print("{}\n", document.dump(1));
    }
    if (!options.json) print_table(program, results, device);
    return results.failed.empty() ? 0 : 1;
}

void declare(CLI::App& app, Options& options, bool& quick, bool& smallest) {
    app.add_flag("--json", options.json, "Print JSON instead of a table");
    app.add_flag("--list", options.list, "Print the names of the cases and end");
    app.add_flag("--quick", quick, "Fewer cases or smaller sizes, and fewer repetitions");
    app.add_flag("--smallest", smallest, "Tiny sizes, once: whether it runs; no measurement");
    app.add_option("--only", options.only, "Only cases whose name has this part");
    app.add_option("--gpu", options.ordinal, "Number of the GPU");
    app.add_flag("--deterministic,!--no-deterministic", options.deterministic,
                 "Same bits in every run (the default), or whatever is fastest");
    app.add_option("--autotune", options.gemm_cache,
                   "File of measured algorithms of products, as gemm_autotune keeps it");
    app.add_option("--configs", options.configs, "Folder of the training configs");
    app.add_option("--save", options.save, "File that the results are also written to, as JSON");
    app.add_option("--seconds", options.seconds, "Time after which no further case begins");
}

}  // namespace

int run_program(int argc, char** argv, const Program& program, const std::vector<Case>& cases) {
    Options options;
    options.configs = ISOFLOP_SOURCE_DIR "/configs/train";
    bool quick = false;
    bool smallest = false;
    CLI::App app(program.help, "bench_" + program.name);
    declare(app, options, quick, smallest);
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& error) {
        return app.exit(error) == 0 ? 0 : 1;
    }
    options.effort = smallest ? Effort::smallest : quick ? Effort::quick : Effort::full;
    std::vector<Case> chosen;
    for (const Case& each : cases)
        if (each.name.find(options.only) != std::string::npos) chosen.push_back(each);
    if (options.list) {
        for (const Case& each : chosen) fmt::print("{}\n", each.name);
        return 0;
    }
    if (const device::DeviceCount count = device::count_gpus(); count.devices == 0) {
        std::cerr << "bench_" << program.name << ": nothing measured: " << count.reason << '\n';
        return kNoGpu;
    }
    try {
        return run_cases(options, program, chosen);
    } catch (const std::exception& error) {
        std::cerr << "bench_" << program.name << ": " << error.what() << '\n';
        return 1;
    }
}

// ---- Configurations

recipe::TrainKeys train_keys(const Bench& bench, std::string_view name) {
    std::vector<std::string> overrides = {"device=cuda", "dtype=bfloat16"};
    if (bench.smallest()) {
        for (const char* const tiny : {"n_layer=1", "n_embd=64", "n_head=2", "head_dim=32",
                                       "intermediate_size=96", "vocab_size=512", "block_size=32"}) {
            overrides.emplace_back(tiny);
        }
        if (name == "llama_1b") overrides.emplace_back("n_kv_head=1");
    }
    recipe::TrainKeys keys =
        recipe::read_train_keys(bench.options().configs / fmt::format("{}.jsonc", name), overrides);
    keys.batch.total_batch_tokens.reset();
    keys.batch.gradient_accumulation_steps = 1;
    keys.batch.max_tokens.reset();
    keys.batch.max_iters = 100'000;
    keys.execution.deterministic = bench.options().deterministic;
    return keys;
}

}  // namespace isoflop::bench
