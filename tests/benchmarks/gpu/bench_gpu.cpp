// The GPU benchmarks are one program, as each needs every kernel: the name by which it is started
// says which benchmark runs.
#include <array>
#include <cstdio>
#include <filesystem>
#include <string>
#include <utility>

#include "gpu_benchmark.hpp"

int main(int argc, char** argv) {
    using isoflop::bench::run_attention;
    using isoflop::bench::run_gemm;
    using isoflop::bench::run_ops;
    using isoflop::bench::run_step;
    constexpr std::array<std::pair<const char*, int (*)(int, char**)>, 4> kPrograms = {
        {{"bench_gpu_ops", run_ops},
         {"bench_gpu_gemm", run_gemm},
         {"bench_gpu_attention", run_attention},
         {"bench_gpu_step", run_step}}};
    const std::string name = std::filesystem::path(argv[0]).filename().string();
    for (const auto& [program, run] : kPrograms)
        if (name == program) return run(argc, argv);
    std::fprintf(stderr, "%s: start it as bench_gpu_ops, _gemm, _attention or _step\n",
                 name.c_str());
    return 1;
}
