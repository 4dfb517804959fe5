// The CPU and its measured peaks, which MFU refers to.
#pragma once

#include <cstdint>
#include <string>

#include "isoflop/device/context.hpp"

namespace isoflop::device {

struct CpuInfo {
    std::string model_name;       ///< "AMD EPYC 9654", as the system prints it
    std::string instruction_set;  ///< widest that our kernels use here: "avx512", "avx2", "generic"
    int num_threads = 1;          ///< default_thread_count()
    std::uint64_t memory_bytes = 0;  ///< physical, limited by the cgroup
};
[[nodiscard]] CpuInfo cpu_info();

/// fp32 multiply-add rate of a register-only loop on all pool threads, FLOP/s. Takes about
/// `seconds`; up to six times that while other programs hold cores that the threads could use.
[[nodiscard]] double measure_fma_peak(ThreadPool& pool, double seconds = 0.05);
/// Rate of a 2048^3 fp32 product (once, after a small warm-up), FLOP/s.
[[nodiscard]] double measure_gemm_rate(Context& context);

/// Anonymous resident memory of this process now (RssAnon of /proc/self/status).
[[nodiscard]] std::uint64_t resident_anonymous_bytes();

}  // namespace isoflop::device
