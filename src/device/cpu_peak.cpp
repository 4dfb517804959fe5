// Measured rates of the hardware, with which a run is compared.
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

/// Best rate, FLOP/s, of `pieces` register loops per round, until `enough(best, elapsed seconds)`.
/// Best of short rounds: an interruption spoils one of them, not the figure.
template <class Enough>
double best_multiply_add_rate(ThreadPool& pool, std::int64_t pieces, Enough enough) {
    constexpr double kSecondsPerRound = 0.002;
    const MicroKernel& kernel = active_kernel();
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
    } while (!enough(best, seconds_since(start)));
    // A volatile read of the results: without it the compiler would remove the loop.
    const volatile float keep = results.front();
    static_cast<void>(keep);
    return best;
}

}  // namespace

double measure_fma_peak(ThreadPool& pool, double seconds) {
    constexpr std::int64_t kPiecesPerThread = 8;
    // Fewer cores than threads were available when all threads together reach less than this share
    // of what one reaches: another program held one, or the scheduler had not yet spread new
    // threads. Hyper-threads share a core and never pass this test, so the number of tries is
    // limited.
    constexpr double kShareOfIdleMachine = 0.8;
    constexpr double kPatience = 6;
    const double one_thread = best_multiply_add_rate(
        pool, 1, [&](double, double elapsed) { return elapsed >= seconds / 4; });
    if (pool.num_threads() == 1) return one_thread;
    const double idle_machine = kShareOfIdleMachine * one_thread * pool.num_threads();
    return best_multiply_add_rate(
        pool, kPiecesPerThread * pool.num_threads(), [&](double best, double elapsed) {
            return elapsed >= (best >= idle_machine ? seconds : kPatience * seconds);
        });
}

double measure_gemm_rate(Context& context) {
    constexpr std::int64_t kSize = 2048;
    // One matrix is both factors: the measurement must not need more memory than a small run plans.
    const std::vector<float> a(kSize * kSize, 0.5F);
    std::vector<float> c(kSize * kSize);
    const auto multiply = [&](std::int64_t rows) {
        gemm(context.pool,
             {.m = rows, .n = kSize, .k = kSize, .lda = kSize, .ldb = kSize, .ldc = kSize}, 1.0F,
             a.data(), a.data(), 0.0F, c.data());
    };
    multiply(kSize / 16);  // wakes threads, touches memory
    const auto start = std::chrono::steady_clock::now();
    multiply(kSize);
    return 2.0 * kSize * kSize * kSize / seconds_since(start);
}

}  // namespace isoflop::device
