// Rates of the matrix products of a training step on the CPU, as GFLOP/s and as a share of what
// multiply-adds between registers reach.
//
//   bench_gemm [threads]      the best of several rounds counts
#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <string>
#include <vector>

#include "isoflop/device/cpu_info.hpp"
#include "isoflop/device/gemm.hpp"

namespace {

using namespace isoflop;
using namespace isoflop::device;

struct Case {
    const char* name;
    Transpose transpose_a;
    Transpose transpose_b;
    std::int64_t m;
    std::int64_t n;
    std::int64_t k;
};
constexpr auto kNo = Transpose::no;
constexpr auto kYes = Transpose::yes;

// 384 wide, 1024 tokens: forward x W^T, gradient of the input dy W, gradient of the weight dy^T x.
constexpr Case kCases[] = {
    {"qkv forward", kNo, kYes, 1024, 1152, 384},
    {"qkv input gradient", kNo, kNo, 1024, 384, 1152},
    {"qkv weight gradient", kYes, kNo, 1152, 384, 1024},
    {"output forward", kNo, kYes, 1024, 384, 384},
    {"output weight gradient", kYes, kNo, 384, 384, 1024},
    {"ffn up forward", kNo, kYes, 1024, 1536, 384},
    {"ffn up weight gradient", kYes, kNo, 1536, 384, 1024},
    {"ffn down forward", kNo, kYes, 1024, 384, 1536},
    {"llama ffn forward", kNo, kYes, 1024, 1024, 384},
    {"llama ffn input gradient", kNo, kNo, 1024, 384, 1024},
    {"head forward", kNo, kYes, 1024, 50304, 384},
    {"head input gradient", kNo, kNo, 1024, 384, 50304},
    {"head weight gradient", kYes, kNo, 50304, 384, 1024},
    {"head chunk forward", kNo, kYes, 256, 4096, 384},
    {"qkv forward, 256 tokens", kNo, kYes, 256, 1152, 384},
    {"qkv input, 256 tokens", kNo, kNo, 256, 384, 1152},
    {"qkv weight, 256 tokens", kYes, kNo, 1152, 384, 256},
    {"square", kNo, kNo, 2048, 2048, 2048},
};
// One tile of attention, through gemm_serial.
constexpr Case kSmallCases[] = {
    {"scores 64 x 64 x 64", kNo, kYes, 64, 64, 64},
    {"values 64 x 64 x 64", kNo, kNo, 64, 64, 64},
    {"transposed 64 x 64 x 64", kYes, kNo, 64, 64, 64},
    {"scores 64 x 128 x 64", kNo, kYes, 64, 128, 64},
    {"values 128 x 64 x 128", kNo, kNo, 128, 64, 128},
    {"one token, 4096 x 4096", kNo, kYes, 1, 4096, 4096},
};

std::vector<float> random_values(std::int64_t count) {
    std::vector<float> values(static_cast<std::size_t>(count));
    std::uint32_t state = 1;
    for (float& value : values) {
        state = state * 1664525U + 1013904223U;
        value = static_cast<float>(state >> 8U) * 0x1p-24F - 0.5F;
    }
    return values;
}

/// One thread is timed by its CPU time, which other processes on the machine do not lengthen.
double seconds_now(bool one_thread) {
    timespec now{};
    clock_gettime(one_thread ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &now);
    return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

class Bench {
public:
    explicit Bench(int threads) : pool_(threads) {}

    void run(const Case& work, bool serial) {
        const GemmShape shape{.transpose_a = work.transpose_a,
                              .transpose_b = work.transpose_b,
                              .m = work.m,
                              .n = work.n,
                              .k = work.k,
                              .lda = work.transpose_a == kYes ? work.m : work.k,
                              .ldb = work.transpose_b == kYes ? work.k : work.n,
                              .ldc = work.n};
        const std::vector<float> a = random_values(work.m * work.k);
        const std::vector<float> b = random_values(work.n * work.k);
        std::vector<float> c(static_cast<std::size_t>(work.m * work.n));
        const double flops = 2.0 * static_cast<double>(work.m) * static_cast<double>(work.n) *
                             static_cast<double>(work.k);
        const int repeats = std::max(1, static_cast<int>(5e7 / flops));
        const int rounds = flops > 1e10 ? 5 : 30;

        double best = 0;
        double peak = 0;
        for (int round = 0; round < rounds; ++round) {
            const bool one_thread = pool_.num_threads() == 1;
            const double start = seconds_now(one_thread);
            for (int repeat = 0; repeat < repeats; ++repeat) {
                if (serial) {
                    gemm_serial(shape, 1.0F, a.data(), b.data(), 0.0F, c.data());
                } else {
                    gemm(pool_, shape, 1.0F, a.data(), b.data(), 0.0F, c.data());
                }
            }
            best = std::max(best, flops * repeats / (seconds_now(one_thread) - start));
            peak = std::max(peak, measure_fma_peak(pool_, 0.004));
        }
        const char letters[] = {work.transpose_a == kYes ? 'T' : 'N',
                                work.transpose_b == kYes ? 'T' : 'N', '\0'};
        fmt::print("{:26} {} {:6} {:6} {:6}", work.name, letters, work.m, work.n, work.k);
        fmt::print("  {:7.1f} ({:3.0f} %)  {:7.1f}\n", best / 1e9, 100 * best / peak, peak / 1e9);
    }

    void print_header(const char* title) {
        fmt::print("\n{:26} {:>2} {:>6} {:>6} {:>6}", title, "op", "m", "n", "k");
        fmt::print("  {:>15}  {:>7}\n", describe_gemm(), "peak");
    }

private:
    ThreadPool pool_;
};

}  // namespace

int main(int argc, char** argv) {
    const int threads = argc > 1 ? std::atoi(argv[1]) : 1;
    fmt::print("{}, {} thread(s), GFLOP/s\n", cpu_info().model_name, threads);
    Bench bench(threads);
    bench.print_header("training step");
    for (const Case& work : kCases) bench.run(work, false);
    if (threads == 1) {
        bench.print_header("in parallel code");
        for (const Case& work : kSmallCases) bench.run(work, true);
    }
}
