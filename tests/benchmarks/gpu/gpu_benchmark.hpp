// What the GPU benchmarks have in common: command line, device, timing, tensors, and results as a
// table or as JSON (for bench_gpu.py).
//
// A time is the median over batches of calls that are enqueued one after another and waited for
// together, so that neither the launch nor the wait is in it; each batch lasts long enough
// (BatchLimits) that the clock of the host is exact. Calls find in the caches what the one before
// left there, which is little with the sizes used here.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/device/context.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/machine/this_machine.hpp"
#include "isoflop/recipe/recipe.hpp"

namespace isoflop::bench {

/// smallest: tiny sizes, each call timed once: whether everything runs, no measurement.
enum class Effort { full, quick, smallest };

struct Options {
    Effort effort = Effort::full;
    bool json = false;
    bool list = false;
    int ordinal = 0;
    bool deterministic = true;
    std::string only;        ///< part of the name of the cases to run; empty: all
    std::string gemm_cache;  ///< as DeviceOptions
    std::filesystem::path configs;
    std::filesystem::path save;     ///< file that also gets the JSON; empty: none
    std::optional<double> seconds;  ///< after which no case begins
};

struct Timing {
    double seconds = 0;  ///< of one call, median over batches
    double fastest = 0;  ///< batch
    std::int64_t calls = 0;
    std::optional<device::DeviceSensors> sensors;  ///< while it ran
};

/// Thrown by a case that cannot run here.
class Skipped : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// The device under test.
class Bench {
public:
    Bench(const Options& options, bool allow_tf32);

    [[nodiscard]] const Options& options() const { return options_; }
    [[nodiscard]] bool smallest() const { return options_.effort == Effort::smallest; }
    /// One of three values by effort.
    template <class T>
    [[nodiscard]] T pick(T full, T quick, T least) const {
        if (options_.effort == Effort::full) return full;
        return options_.effort == Effort::quick ? quick : least;
    }
    [[nodiscard]] device::ThreadPool& pool() { return pool_; }
    [[nodiscard]] device::Device& gpu() { return *gpu_; }
    [[nodiscard]] device::Context& context() { return context_; }
    /// Row of the hardware table; nullptr for a GPU that it does not know.
    [[nodiscard]] const hardware::Gpu* table_row() const { return table_row_; }
    [[nodiscard]] std::optional<double> peak_flops(DType dtype) const;

    [[nodiscard]] Timing time(const std::function<void()>& work);
    /// Of copies on the device, read and written; measured once. Bytes per second.
    [[nodiscard]] double copy_bandwidth();
    /// Throws Skipped when so much device memory is not free.
    void require_memory(std::uint64_t bytes);

    [[nodiscard]] nlohmann::ordered_json describe();

private:
    Options options_;
    device::ThreadPool pool_;
    std::unique_ptr<device::Device> gpu_;
    device::Context context_;
    const hardware::Gpu* table_row_ = nullptr;
    std::optional<double> copy_bandwidth_;
};

/// Device memory of one case.
class Tensors {
public:
    explicit Tensors(Bench& bench) : bench_(bench) {}
    /// Normal deviates.
    device::TensorView normal(DType dtype, std::initializer_list<std::int64_t> shape,
                              double deviation = 1);
    device::TensorView zeros(DType dtype, std::initializer_list<std::int64_t> shape);
    /// Ids in [0, limit).
    std::span<const std::int32_t> ids(std::int64_t count, std::int64_t limit);

private:
    Bench& bench_;
    std::vector<device::DeviceBuffer> buffers_;
};

struct Case {
    std::string name;
    /// Fields of a row of the results.
    std::function<nlohmann::ordered_json(Bench&)> run;
};

/// A field of the rows as the table for people shows it.
struct Column {
    std::string field;
    std::string title;
    int decimals = 0;
};

struct Program {
    std::string name;  ///< "gpu_ops"
    std::string help;
    bool allow_tf32 = false;
    std::vector<Column> columns;
};

/// The whole main function. Exit codes: 0 all cases ran or were skipped for a reason, 1 one failed
/// or the command line is wrong, 2 there is no GPU.
int run_program(int argc, char** argv, const Program& program, const std::vector<Case>& cases);

/// The programs.
int run_ops(int argc, char** argv);
int run_gemm(int argc, char** argv);
int run_attention(int argc, char** argv);
int run_step(int argc, char** argv);

/// "ms", "fastest_ms" and, where there are sensors, "watts" and "sm_megahertz".
void add_timing(nlohmann::ordered_json& row, std::string_view prefix, const Timing& timing);
/// Null where the denominator is unknown.
[[nodiscard]] nlohmann::ordered_json ratio(double value, std::optional<double> of);

/// Keys of configs/train/<name>.jsonc for one micro-batch per iteration on the GPU; of one layer
/// and a few columns when effort is smallest. Sizes that decide a benchmark are thereby those of
/// the config.
[[nodiscard]] recipe::TrainKeys train_keys(const Bench& bench, std::string_view name);

}  // namespace isoflop::bench
