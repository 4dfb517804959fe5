// Times the three attention backends on this machine over sequence lengths, one head of 64 by
// default:
//
//   bench_attention [head_dim] [heads] [longest] [threads]
//
// GFLOP/s counts the products that each backend really issues (executed FLOPs: fused backends skip
// what the causal mask hides and recompute the scores in backward). The ratio to manual is of
// times, forward and backward.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "isoflop/attention/attention.hpp"
#include "isoflop/device/cpu_info.hpp"

namespace {

using namespace isoflop;
using attention::Heads;
using attention::Shape;
using cost::AttentionBackend;

/// Inputs, outputs and gradients of one shape; q, k and v packed in one row per token, as the model
/// has them.
struct Problem {
    Shape shape;
    std::vector<float> qkv, o, d_o, d_qkv, lse, row_sums, probabilities, d_scores;

    Problem(const Shape& given, bool manual) : shape(given) {
        const auto rows = static_cast<std::size_t>(shape.batch * shape.query_length);
        const auto width = static_cast<std::size_t>(shape.heads * shape.head_dim);
        qkv.resize(rows * 3 * width);
        d_qkv.resize(rows * 3 * width);
        o.resize(rows * width);
        d_o.resize(rows * width);
        lse.resize(rows * static_cast<std::size_t>(shape.heads));
        row_sums.resize(lse.size());
        if (manual) {
            probabilities.resize(lse.size() * static_cast<std::size_t>(shape.key_length));
            d_scores.resize(probabilities.size());
        }
        for (std::size_t i = 0; i < qkv.size(); ++i)
            qkv[i] = static_cast<float>(std::sin(0.37 * double(i)));
        for (std::size_t i = 0; i < d_o.size(); ++i)
            d_o[i] = static_cast<float>(std::cos(0.11 * double(i)));
    }

    /// Part 0, 1 or 2 of packed rows, or a plain row of all heads.
    [[nodiscard]] Heads heads(std::vector<float>& data, std::int64_t part,
                              std::int64_t parts) const {
        const std::int64_t width = shape.heads * shape.head_dim;
        return {.data = data.data() + part * width,
                .batch_stride = shape.query_length * parts * width,
                .token_stride = parts * width,
                .head_stride = shape.head_dim};
    }
    [[nodiscard]] device::TensorView rows(std::vector<float>& data) const {
        return {data.data(), DType::float32, {shape.batch, shape.heads, shape.query_length}};
    }
    [[nodiscard]] device::TensorView matrix(std::vector<float>& data) const {
        if (data.empty()) return {};
        return {data.data(),
                DType::float32,
                {shape.batch, shape.heads, shape.query_length, shape.key_length}};
    }
    [[nodiscard]] attention::ForwardArguments forward() {
        return {.q = heads(qkv, 0, 3),
                .k = heads(qkv, 1, 3),
                .v = heads(qkv, 2, 3),
                .o = heads(o, 0, 1),
                .lse = rows(lse),
                .probabilities = matrix(probabilities)};
    }
    [[nodiscard]] attention::BackwardArguments backward() {
        return {.q = heads(qkv, 0, 3),
                .k = heads(qkv, 1, 3),
                .v = heads(qkv, 2, 3),
                .o = heads(o, 0, 1),
                .d_o = heads(d_o, 0, 1),
                .lse = rows(lse),
                .probabilities = matrix(probabilities),
                .d_q = heads(d_qkv, 0, 3),
                .d_k = heads(d_qkv, 1, 3),
                .d_v = heads(d_qkv, 2, 3),
                .row_sums = rows(row_sums),
                .d_scores = matrix(d_scores)};
    }
};

/// Shortest of several runs, after one to warm up: other work on the machine only ever adds time.
template <class Run>
double best_seconds(const Run& run) {
    using Clock = std::chrono::steady_clock;
    double best = 1e30;
    double total = 0;
    for (int i = 0; i < 4 || (total < 0.5 && i < 200); ++i) {
        const auto start = Clock::now();
        run();
        const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
        if (i > 0) best = std::min(best, seconds);
        total += seconds;
    }
    return best;
}

struct Timing {
    double forward = 0;
    double backward = 0;
    double forward_flops = 0;
    double backward_flops = 0;
    [[nodiscard]] double total() const { return forward + backward; }
};

Timing time_backend(device::Context& context, AttentionBackend kind, const Shape& shape) {
    const auto backend = attention::make_backend(kind, device::host_device());
    Problem problem(shape, kind == AttentionBackend::manual);
    device::ProductRecorder recorder;
    Timing timing;
    context.recorder = &recorder;
    backend->forward(context, shape, problem.forward());
    timing.forward_flops = static_cast<double>(recorder.total_flops());
    recorder.clear();
    backend->backward(context, shape, problem.backward());
    timing.backward_flops = static_cast<double>(recorder.total_flops());
    context.recorder = nullptr;
    timing.forward = best_seconds([&] { backend->forward(context, shape, problem.forward()); });
    timing.backward = best_seconds([&] { backend->backward(context, shape, problem.backward()); });
    return timing;
}

std::int64_t argument(int count, char** values, int index, std::int64_t otherwise) {
    return index < count ? std::atoll(values[index]) : otherwise;
}

}  // namespace

int main(int argc, char** argv) {
    const std::int64_t head_dim = argument(argc, argv, 1, 64);
    const std::int64_t heads = argument(argc, argv, 2, 1);
    const std::int64_t longest = argument(argc, argv, 3, 4096);
    device::ThreadPool pool(
        static_cast<int>(argument(argc, argv, 4, device::default_thread_count())));
    device::Context context(pool);
    const double peak = device::measure_fma_peak(pool);
    std::printf("head_dim %lld, %lld heads, causal, fp32, %d threads, FMA peak %.0f GFLOP/s\n",
                static_cast<long long>(head_dim), static_cast<long long>(heads), pool.num_threads(),
                peak * 1e-9);
    std::printf("%6s %-13s %11s %8s %11s %8s %9s %10s\n", "S", "backend", "forward ms", "GFLOP/s",
                "backward ms", "GFLOP/s", "of peak", "vs manual");
    for (std::int64_t length = 128; length <= longest; length *= 2) {
        const Shape shape{.query_length = length,
                          .key_length = length,
                          .heads = heads,
                          .kv_heads = heads,
                          .head_dim = head_dim,
                          .scale = 1 / std::sqrt(static_cast<double>(head_dim))};
        double manual = 0;
        for (const auto kind :
             {AttentionBackend::manual, AttentionBackend::sdpa, AttentionBackend::flash_attn_2}) {
            const Timing timing = time_backend(context, kind, shape);
            if (kind == AttentionBackend::manual) manual = timing.total();
            const double rate = (timing.forward_flops + timing.backward_flops) / timing.total();
            std::printf("%6lld %-13s %11.3f %8.1f %11.3f %8.1f %8.0f%% %9.2fx\n",
                        static_cast<long long>(length), std::string(to_string(kind)).c_str(),
                        timing.forward * 1e3, timing.forward_flops / timing.forward * 1e-9,
                        timing.backward * 1e3, timing.backward_flops / timing.backward * 1e-9,
                        100 * rate / peak, manual / timing.total());
        }
    }
    return 0;
}
