// The startup report of a run: model, configuration, machine, memory plan and expected time.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "isoflop/device/cpu_info.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/recipe/memory_fit.hpp"
#include "isoflop/run_log/records.hpp"
#include "isoflop/text/text_report.hpp"
#include "isoflop/trainer/session.hpp"

namespace isoflop::trainer {

/// The machine as this run uses it.
struct Hardware {
    device::CpuInfo cpu;
    int threads = 1;
    double fma_peak_flops = 0;   ///< measured: register-only multiply-adds on all threads
    double gemm_rate_flops = 0;  ///< measured: one 2048^3 product
    std::optional<device::DeviceInfo> gpu;
    /// The peak for MFU: the FMA peak of a CPU, the data sheet's dense peak of a GPU for the run's
    /// precision (its FMA peak is left 0); of all ranks together.
    double peak_flops = 0;
    std::string peak_source;   ///< "measured, register loop"
    std::string warning = {};  ///< that ranks share cores; empty when they do not
    [[nodiscard]] std::string device_name() const;
    [[nodiscard]] std::uint64_t memory_bytes() const {
        return gpu ? gpu->total_bytes : cpu.memory_bytes;
    }
};

/// Of the device that a context computes on, in a run's precision.
[[nodiscard]] Hardware measure_hardware(device::Context& context, DType dtype);
/// For a planned device, which this machine may lack: only a CPU is measured.
[[nodiscard]] Hardware planned_hardware(device::Context& host, const cost::Execution& execution);

/// Whether a plan fits the device that it runs on, or that it is for.
struct MemoryVerdict {
    std::string device;                         ///< "this machine", "H100-SXM"
    std::optional<recipe::MemoryFit> fit = {};  ///< nullopt where the capacity is unknown
    [[nodiscard]] bool fits() const { return !fit || fit->fits(); }
};

[[nodiscard]] std::string startup_text(const recipe::RunPlan& plan, const Hardware& hardware,
                                       const MemoryVerdict& memory, text::Colour colour,
                                       std::string_view file_kind = {});
/// The plan that --dry-run --json prints.
[[nodiscard]] nlohmann::ordered_json plan_record(const recipe::RunPlan& plan,
                                                 const MemoryVerdict& memory);
[[nodiscard]] run_log::StartupRecord startup_record(const recipe::RunPlan& plan,
                                                    const Hardware& hardware);
/// Every key with the value that the run uses: values from a preset, the data or a rule included.
/// Keys that the earlier Python trainer had keep their names (n_layer, block_size, ...).
[[nodiscard]] nlohmann::ordered_json config_record(const recipe::RunPlan& plan);

/// Planned and measured figures at the end of a run.
struct MeasuredRun {
    std::int64_t parameters = 0;
    double executed_flops_per_iteration = 0;  ///< counted by the recorder; 0 when it was off
    double flops_as_planned = 0;              ///< the part of them that the code does not count
    std::uint64_t arena_bytes = 0;            ///< handed out, at most
    std::uint64_t bytes_sent = 0;             ///< by this rank in one iteration
    std::uint64_t resident_bytes = 0;         ///< peak RssAnon
    double seconds_per_iteration = 0;
};
[[nodiscard]] std::string plan_check_text(const recipe::RunPlan& plan, const Hardware& hardware,
                                          const MeasuredRun& measured, text::Colour colour);

}  // namespace isoflop::trainer
