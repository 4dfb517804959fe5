#include "isoflop/machine/doctor.hpp"

#include <fmt/format.h>

#include "isoflop/base/text.hpp"
#include "isoflop/base/version.hpp"
#include "isoflop/comm/gloo_transport.hpp"
#include "isoflop/comm/launch.hpp"
#include "isoflop/comm/nccl.hpp"
#include "isoflop/data/tokenizer.hpp"
#include "isoflop/device/cpu_info.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/device/gemm.hpp"
#include "isoflop/hardware/gpu_libraries.hpp"

namespace isoflop::machine {
namespace {

void gpu_rows(text::TextReport& report) {
    const device::DeviceCount count = device::count_gpus();
    if (count.devices == 0) {
        report.row("GPU", "none", count.reason + "; bfloat16 and float16 run as float32");
        return;
    }
    for (int ordinal = 0; ordinal < count.devices; ++ordinal) {
        const auto gpu = device::open_gpu({.ordinal = ordinal});
        const device::DeviceInfo& info = gpu->info();
        const device::DeviceMemoryUse memory = gpu->memory_use();
        report.row(fmt::format("GPU {}", ordinal), info.name,
                   fmt::format("sm_{}{}, {} SMs, {} of {} free, {}", info.capability_major,
                               info.capability_minor, info.multiprocessors,
                               human_bytes(static_cast<double>(memory.usable_bytes)),
                               human_bytes(static_cast<double>(memory.total_bytes)), info.runtime));
        if (!info.libraries.empty())
            report.row(fmt::format("GPU {} libraries", ordinal), info.libraries);
        if (const auto sensors = gpu->sensors()) {
            report.row(fmt::format("GPU {} now", ordinal), fmt::format("{:.0f} W", sensors->watts),
                       fmt::format("SM {:.0f} MHz, memory {:.0f} MHz", sensors->sm_megahertz,
                                   sensors->memory_megahertz));
        }
    }
}

}  // namespace

std::string build_features() {
    std::string text = "cpu, " + device::describe_gemm();
    text += data::has_sentencepiece() ? ", SentencePiece" : "";
    text += comm::has_gloo() ? ", Gloo" : "";
    if (const std::string mpi = comm::mpi_library(); !mpi.empty()) text += ", " + mpi;
    if (const std::string nccl = comm::nccl_library(); !nccl.empty()) text += ", " + nccl;
    return text;
}

std::string doctor_text(device::Context& context, text::Colour colour) {
    const device::CpuInfo cpu = device::cpu_info();
    text::TextReport report(colour);
    report.title("train --doctor");
    report.section("Build");
    report.row("Version", fmt::format("{} ({})", version(), commit()));
    report.row("Compiler", compiler(), build_type());
    report.section("Devices");
    report.row("CPU", cpu.model_name);
    report.row("Instruction set", cpu.instruction_set, "widest that our kernels use here");
    report.row("Threads", fmt::format("{}", cpu.num_threads),
               "affinity and cgroup limits; key threads overrides");
    report.row("Memory", human_bytes(static_cast<double>(cpu.memory_bytes)));
    report.row("FMA peak",
               fmt::format("{:.1f} GFLOP/s", device::measure_fma_peak(context.pool) / 1e9),
               "measured, register loop, fp32");
    report.row("GEMM rate", fmt::format("{:.1f} GFLOP/s", device::measure_gemm_rate(context) / 1e9),
               "measured, 2048^3, fp32");
    gpu_rows(report);
    report.section("Libraries");
    report.row("GEMM", device::describe_gemm(), "always there");
    const auto library = [&](std::string_view name, bool found, const std::string& version,
                             std::string_view lost) {
        report.row(name, found ? version : std::string("missing"),
                   found ? std::string_view() : lost);
    };
    library("SentencePiece", data::has_sentencepiece(), "found",
            "sentencepiece tokenizers are refused; byte and char work");
    library("Gloo", comm::has_gloo(), "found", "one process trains");
    const std::string mpi = comm::mpi_library();
    library("MPI", !mpi.empty(), mpi,
            "mpirun on several machines needs MASTER_ADDR and MASTER_PORT; other launchers work");
    const std::string_view cuda = cuda_version();
    library("CUDA", !cuda.empty(), fmt::format("{}, built in", cuda),
            "not built in: device=cuda is refused");
    for (const hardware::GpuLibrary& each : hardware::gpu_libraries(hardware::major_of(cuda)))
        library(each.name, !each.version.empty(), each.version, each.purpose);
    return report.str();
}

}  // namespace isoflop::machine
