// Rates that the hardware reaches, measured: what a run is held against.
#include <algorithm>
#include <chrono>
#include <vector>

#include "device/gemm_kernel.hpp"
#include "isoflop/device/cpu_info.hpp"
#include "isoflop/device/gemm.hpp"

namespace isoflop::device {
namespace {

double seconds_since(std::chrono::steady_clock::time_point start) {
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

double measure_fma_peak(ThreadPool& pool, double seconds) {
    // Best of short pieces: an interruption spoils one of them, not the figure.
    constexpr double kSecondsPerRound = 0.002;
    constexpr std::int64_t kPiecesPerThread = 8;
    const MicroKernel& kernel = active_kernel();
    const std::int64_t pieces = kPiecesPerThread * pool.num_threads();
    std::vector<float> results(static_cast<std::size_t>(pieces));

    std::int64_t iterations = 1000;
    double best = 0;
    const auto start = std::chrono::steady_clock::now();
    do {
        const auto round_start = std::chrono::steady_clock::now();
        pool.parallel_for(pieces, [&](std::int64_t piece) {
            results[static_cast<std::size_t>(piece)] = kernel.multiply_add_loop(iterations);
        });
        const double elapsed = std::max(seconds_since(round_start), 1e-9);
        const double flops = static_cast<double>(pieces) * static_cast<double>(iterations) *
                             static_cast<double>(kernel.flops_per_iteration);
        best = std::max(best, flops / elapsed);
        if (elapsed < kSecondsPerRound) iterations *= 2;
    } while (seconds_since(start) < seconds);
    // A volatile read of the results: without it the loop computes nothing that anybody needs.
    const volatile float keep = results.front();
    static_cast<void>(keep);
    return best;
}

double measure_gemm_rate(Context& context) {
    constexpr std::int64_t kSize = 2048;
    const std::vector<float> a(kSize * kSize, 0.5F);
    const std::vector<float> b(kSize * kSize, 0.25F);
    std::vector<float> c(kSize * kSize);
    const auto multiply = [&](std::int64_t rows) {
        gemm(context, {.m = rows, .n = kSize, .k = kSize, .lda = kSize, .ldb = kSize, .ldc = kSize},
             1.0F, a.data(), b.data(), 0.0F, c.data());
    };
    multiply(kSize / 16);  // wakes threads, touches memory
    const auto start = std::chrono::steady_clock::now();
    multiply(kSize);
    return 2.0 * kSize * kSize * kSize / seconds_since(start);
}

}  // namespace isoflop::device
