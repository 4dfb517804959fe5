// Memory throughput of every op beside that of memcpy: ops other than matrix products should cost
// little more than reading and writing their tensors once. Bytes are those that an op must move
// when nothing stays in cache.
#include <benchmark/benchmark.h>

#include <cstring>
#include <random>
#include <vector>

#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/adamw.hpp"
#include "isoflop/ops/cross_entropy.hpp"
#include "isoflop/ops/dropout.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/norm.hpp"
#include "isoflop/ops/qk_norm.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/ops/rope.hpp"

namespace isoflop::ops {
namespace {

// A micro-batch of the reference shape: 4 sequences of 256, width 384, 6 heads of 64.
constexpr std::int64_t kTokens = 1024;
constexpr std::int64_t kLength = 256;
constexpr std::int64_t kWidth = 384;
constexpr std::int64_t kFfnWidth = 1024;
constexpr std::int64_t kVocabulary = 50304;
constexpr std::int64_t kLossRows = 128;
constexpr std::int64_t kParameters = 10'000'000;

/// A pool with the number of threads of the benchmark's argument, and tensors of random values.
class Bench {
public:
    explicit Bench(const benchmark::State& state)
        : pool(static_cast<int>(state.range(0))), context(pool) {}

    TensorView tensor(std::initializer_list<std::int64_t> shape) {
        TensorView view(nullptr, DType::float32, shape);
        std::vector<float>& values = storage_.emplace_back();
        values.resize(static_cast<std::size_t>(view.size()));
        std::uniform_real_distribution<float> uniform(-2, 2);
        for (float& value : values) value = uniform(generator_);
        return {values.data(), DType::float32, shape};
    }
    std::vector<std::int32_t> tokens(std::int64_t count, std::int32_t vocabulary) {
        std::uniform_int_distribution<std::int32_t> any(0, vocabulary - 1);
        std::vector<std::int32_t> result(static_cast<std::size_t>(count));
        for (std::int32_t& token : result) token = any(generator_);
        return result;
    }

    device::ThreadPool pool;
    Context context;

private:
    std::vector<std::vector<float>> storage_;
    std::mt19937 generator_{1};
};

/// Times `op`, which moves `floats` floats.
void measure(benchmark::State& state, std::int64_t floats, const auto& op) {
    op();
    for (auto _ : state) {
        op();
        benchmark::ClobberMemory();
    }
    state.SetBytesProcessed(state.iterations() * floats * 4);
}

void bench_memcpy(benchmark::State& state) {
    Bench bench(state);
    const TensorView from = bench.tensor({kTokens, kWidth});
    const TensorView to = bench.tensor({kTokens, kWidth});
    measure(state, 2 * from.size(), [&] { std::memcpy(to.data(), from.data(), from.bytes()); });
}
BENCHMARK(bench_memcpy)->Arg(1);

void bench_memcpy_large(benchmark::State& state) {
    Bench bench(state);
    const TensorView from = bench.tensor({kParameters});
    const TensorView to = bench.tensor({kParameters});
    measure(state, 2 * from.size(), [&] { std::memcpy(to.data(), from.data(), from.bytes()); });
}
BENCHMARK(bench_memcpy_large)->Arg(1);

void bench_copy(benchmark::State& state) {
    Bench bench(state);
    const TensorView from = bench.tensor({kTokens, kWidth});
    const TensorView to = bench.tensor({kTokens, kWidth});
    measure(state, 2 * from.size(), [&] { copy(bench.context, from, to); });
}
BENCHMARK(bench_copy)->Arg(1)->Arg(2);

void bench_add(benchmark::State& state) {
    Bench bench(state);
    const TensorView x = bench.tensor({kTokens, kWidth});
    const TensorView y = bench.tensor({kTokens, kWidth});
    measure(state, 3 * x.size(), [&] { add(bench.context, x, y, y); });
}
BENCHMARK(bench_add)->Arg(1)->Arg(2);

void bench_sum_of_squares(benchmark::State& state) {
    Bench bench(state);
    const TensorView x = bench.tensor({kParameters});
    measure(state, x.size(), [&] { benchmark::DoNotOptimize(sum_of_squares(bench.context, x)); });
}
BENCHMARK(bench_sum_of_squares)->Arg(1)->Arg(2);

void bench_statistics(benchmark::State& state) {
    Bench bench(state);
    const TensorView x = bench.tensor({kParameters});
    measure(state, x.size(), [&] { benchmark::DoNotOptimize(statistics(bench.context, x)); });
}
BENCHMARK(bench_statistics)->Arg(1)->Arg(2);

struct NormTensors {
    NormTensors(Bench& bench, model::Normalization normalization)
        : kind(normalization),
          parameters{.kind = kind, .weight = bench.tensor({kWidth}), .bias = {}, .eps = 1e-5},
          x(bench.tensor({kTokens, kWidth})),
          branch(bench.tensor({kTokens, kWidth})),
          out(bench.tensor({kTokens, kWidth})),
          d_weight(bench.tensor({kWidth})),
          statistics(kind == model::Normalization::rmsnorm ? bench.tensor({kTokens})
                                                           : bench.tensor({2, kTokens})) {}
    model::Normalization kind;
    NormParameters parameters;
    TensorView x, branch, out, d_weight, statistics;
};

void bench_norm_forward(benchmark::State& state, model::Normalization kind) {
    Bench bench(state);
    const NormTensors t(bench, kind);
    measure(state, 2 * t.x.size(),
            [&] { norm_forward(bench.context, t.parameters, t.x, t.out, t.statistics); });
}
BENCHMARK_CAPTURE(bench_norm_forward, rmsnorm, model::Normalization::rmsnorm)->Arg(1)->Arg(2);
BENCHMARK_CAPTURE(bench_norm_forward, layernorm, model::Normalization::layernorm)->Arg(1)->Arg(2);

void bench_add_norm_forward(benchmark::State& state, model::Normalization kind) {
    Bench bench(state);
    const NormTensors t(bench, kind);
    const TensorView sum = bench.tensor({kTokens, kWidth});
    measure(state, 4 * t.x.size(), [&] {
        add_norm_forward(bench.context, t.parameters, t.x, t.branch, sum, t.out, t.statistics);
    });
}
BENCHMARK_CAPTURE(bench_add_norm_forward, rmsnorm, model::Normalization::rmsnorm)->Arg(1)->Arg(2);

void bench_norm_backward(benchmark::State& state, model::Normalization kind) {
    Bench bench(state);
    const NormTensors t(bench, kind);
    norm_forward(bench.context, t.parameters, t.x, t.out, t.statistics);
    measure(state, 3 * t.x.size(), [&] {
        norm_backward(bench.context, t.parameters, t.branch, t.x, t.statistics, false, t.out,
                      t.d_weight, {});
    });
}
BENCHMARK_CAPTURE(bench_norm_backward, rmsnorm, model::Normalization::rmsnorm)->Arg(1)->Arg(2);
BENCHMARK_CAPTURE(bench_norm_backward, layernorm, model::Normalization::layernorm)->Arg(1)->Arg(2);

void bench_activation(benchmark::State& state, model::Activation kind, bool backward) {
    Bench bench(state);
    const TensorView x = bench.tensor({kTokens, 4 * kWidth});
    const TensorView d_out = bench.tensor({kTokens, 4 * kWidth});
    measure(state, (backward ? 3 : 2) * x.size(), [&] {
        if (backward) {
            activation_backward(bench.context, kind, x, d_out, d_out);
        } else {
            activation_forward(bench.context, kind, x, d_out);
        }
    });
}
BENCHMARK_CAPTURE(bench_activation, gelu_forward, model::Activation::gelu, false)->Arg(1)->Arg(2);
BENCHMARK_CAPTURE(bench_activation, gelu_backward, model::Activation::gelu, true)->Arg(1)->Arg(2);
BENCHMARK_CAPTURE(bench_activation, gelu_tanh_forward, model::Activation::gelu_tanh, false)->Arg(1);
BENCHMARK_CAPTURE(bench_activation, gelu_tanh_backward, model::Activation::gelu_tanh, true)->Arg(1);
BENCHMARK_CAPTURE(bench_activation, relu_forward, model::Activation::relu, false)->Arg(1);

void bench_swiglu(benchmark::State& state, bool backward) {
    Bench bench(state);
    const TensorView gate_up = bench.tensor({kTokens, 2 * kFfnWidth});
    const TensorView d_gate_up = bench.tensor({kTokens, 2 * kFfnWidth});
    const TensorView out = bench.tensor({kTokens, kFfnWidth});
    measure(state, (backward ? 5 : 3) * out.size(), [&] {
        if (backward) {
            gated_backward(bench.context, model::Activation::silu, gate_up, out, d_gate_up);
        } else {
            gated_forward(bench.context, model::Activation::silu, gate_up, out);
        }
    });
}
BENCHMARK_CAPTURE(bench_swiglu, forward, false)->Arg(1)->Arg(2);
BENCHMARK_CAPTURE(bench_swiglu, backward, true)->Arg(1)->Arg(2);

void bench_rope(benchmark::State& state) {
    Bench bench(state);
    model::ModelConfig config;
    config.num_attention_heads = 6;
    config.head_dim = 64;
    const RopeTable table(config, kLength);
    const TensorView packed = bench.tensor({kTokens, 3 * kWidth});
    measure(state, 2 * kTokens * 2 * kWidth, [&] {
        rope_forward(bench.context, table,
                     {.heads = 12, .head_dim = 64, .sequence_length = kLength}, packed);
    });
}
BENCHMARK(bench_rope)->Arg(1)->Arg(2);

void bench_qk_norm(benchmark::State& state) {
    Bench bench(state);
    const QkNormShape shape{.query_heads = 6, .key_heads = 6, .head_dim = 64};
    const TensorView weight = bench.tensor({64});
    const TensorView packed = bench.tensor({kTokens, 3 * kWidth});
    const TensorView before = bench.tensor({kTokens, 2 * kWidth});
    const TensorView statistics = bench.tensor({kTokens, 12});
    measure(state, 3 * before.size(), [&] {
        qk_norm_forward(bench.context, shape, weight, weight, packed, before, statistics);
    });
}
BENCHMARK(bench_qk_norm)->Arg(1)->Arg(2);

void bench_dropout(benchmark::State& state) {
    Bench bench(state);
    const TensorView x = bench.tensor({kTokens, kWidth});
    measure(state, 2 * x.size(), [&] { dropout(bench.context, {}, 0.1, kLength, x); });
}
BENCHMARK(bench_dropout)->Arg(1)->Arg(2);

void bench_embedding(benchmark::State& state, bool backward) {
    Bench bench(state);
    const TensorView table = bench.tensor({kVocabulary, kWidth});
    const TensorView rows = bench.tensor({kTokens, kWidth});
    const auto tokens = bench.tokens(kTokens, kVocabulary);
    measure(state, (backward ? 3 : 2) * rows.size(), [&] {
        if (backward) {
            embedding_backward(bench.context, tokens, rows, kLength, table, {});
        } else {
            embedding_forward(bench.context, tokens, table, {}, kLength, 0, rows);
        }
    });
}
BENCHMARK_CAPTURE(bench_embedding, forward, false)->Arg(1)->Arg(2);
BENCHMARK_CAPTURE(bench_embedding, backward, true)->Arg(1)->Arg(2);

void bench_cross_entropy(benchmark::State& state) {
    Bench bench(state);
    const TensorView logits = bench.tensor({kLossRows, kVocabulary});
    const TensorView losses = bench.tensor({kLossRows});
    const auto targets = bench.tokens(kLossRows, kVocabulary);
    measure(state, 3 * logits.size(), [&] {
        cross_entropy_forward_backward(bench.context, logits, targets, kIgnoreIndex, 1.0, losses);
    });
}
BENCHMARK(bench_cross_entropy)->Arg(1)->Arg(2);

void bench_adamw(benchmark::State& state) {
    Bench bench(state);
    const TensorView w = bench.tensor({kParameters});
    const TensorView g = bench.tensor({kParameters});
    const TensorView m = bench.tensor({kParameters});
    const TensorView v = bench.tensor({kParameters});
    fill(bench.context, 1.0, v);
    const std::vector<AdamWSegment> segments = {{0, kParameters, true}};
    measure(state, 7 * kParameters, [&] { adamw(bench.context, {}, segments, {w, g, m, v, {}}); });
}
BENCHMARK(bench_adamw)->Arg(1)->Arg(2);

}  // namespace
}  // namespace isoflop::ops

BENCHMARK_MAIN();
