// Attention backends in bf16, forward and backward: the table of the FlashAttention-2 paper (16384
// tokens, hidden size 2048, query, key and value heads alike). TFLOP/s count 4 B H S^2 D forward
// and 2.5 times that backward, half when causal, for every backend; beside them is what
// cost::attention_time predicts for fused kernels.
#include <fmt/format.h>

#include <cmath>

#include "gpu_benchmark.hpp"
#include "isoflop/attention/attention.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/cost/attention_time.hpp"

namespace isoflop::bench {
namespace {

using attention::Heads;
using attention::Shape;
using cost::AttentionBackend;
using cost::AttentionDirection;
using device::TensorView;
using nlohmann::ordered_json;

constexpr DType kType = DType::bfloat16;
constexpr std::int64_t kTokens = 16384;
constexpr std::int64_t kWidth = 2048;

struct Problem {
    AttentionBackend backend{};
    std::int64_t head_dim = 0;
    std::int64_t length = 0;
    bool causal = false;
};

Shape shape_of(const Bench& bench, const Problem& problem) {
    const std::int64_t length = bench.smallest() ? problem.length / 128 : problem.length;
    const std::int64_t heads = bench.smallest() ? 2 : kWidth / problem.head_dim;
    return {.batch = bench.smallest() ? 1 : kTokens / length,
            .query_length = length,
            .key_length = length,
            .heads = heads,
            .kv_heads = heads,
            .head_dim = problem.head_dim,
            .causal = problem.causal,
            .scale = 1 / std::sqrt(static_cast<double>(problem.head_dim))};
}

/// Part `part` of `parts` in rows of all heads.
Heads heads_in(const TensorView& rows, const Shape& shape, std::int64_t part, std::int64_t parts) {
    const std::int64_t width = shape.heads * shape.head_dim;
    return {.data = static_cast<std::byte*>(rows.data()) +
                    static_cast<std::uint64_t>(part * width) * size_in_bytes(kType),
            .dtype = kType,
            .batch_stride = shape.query_length * parts * width,
            .token_stride = parts * width,
            .head_stride = shape.head_dim};
}

/// Query, key and value packed in one row per token, as the model has them.
struct Arguments {
    attention::ForwardArguments forward;
    attention::BackwardArguments backward;
};

/// `atomics`: fused backends may sum d_q in any order, as in runs that need not repeat.
Arguments make_arguments(Tensors& t, const Shape& shape, bool manual, bool atomics) {
    const std::int64_t tokens = shape.batch * shape.query_length;
    const std::int64_t width = shape.heads * shape.head_dim;
    const TensorView qkv = t.normal(kType, {tokens, 3 * width});
    const TensorView d_qkv = t.zeros(kType, {tokens, 3 * width});
    const TensorView o = t.zeros(kType, {tokens, width});
    const TensorView d_o = t.normal(kType, {tokens, width});
    const auto rows = [&] {
        return t.zeros(DType::float32, {shape.batch, shape.heads, shape.query_length});
    };
    const auto matrix = [&] {
        if (!manual) return TensorView();
        return t.zeros(kType, {shape.batch, shape.heads, shape.query_length, shape.key_length});
    };
    Arguments arguments;
    arguments.forward = {.q = heads_in(qkv, shape, 0, 3),
                         .k = heads_in(qkv, shape, 1, 3),
                         .v = heads_in(qkv, shape, 2, 3),
                         .o = heads_in(o, shape, 0, 1),
                         .lse = rows(),
                         .probabilities = matrix()};
    arguments.backward = {
        .q = arguments.forward.q,
        .k = arguments.forward.k,
        .v = arguments.forward.v,
        .o = arguments.forward.o,
        .d_o = heads_in(d_o, shape, 0, 1),
        .lse = arguments.forward.lse,
        .probabilities = arguments.forward.probabilities,
        .d_q = heads_in(d_qkv, shape, 0, 3),
        .d_k = heads_in(d_qkv, shape, 1, 3),
        .d_v = heads_in(d_qkv, shape, 2, 3),
        .row_sums = rows(),
        .d_q_sums = atomics ? t.zeros(DType::float32, {shape.batch, shape.heads, shape.query_length,
                                                       shape.head_dim})
                            : TensorView(),
        .d_scores = matrix()};
    const auto words =
        static_cast<std::int64_t>(cost::cudnn_workspace_bytes(shape.size(), !atomics) / 4);
    if (!manual && words > 0) {
        const TensorView workspace = t.zeros(DType::float32, {words});
        arguments.backward.workspace = {static_cast<std::byte*>(workspace.data()),
                                        static_cast<std::size_t>(workspace.bytes())};
    }
    return arguments;
}

std::unique_ptr<attention::Backend> make_backend(Bench& bench, const Problem& problem,
                                                 const Shape& shape) {
    const attention::Support support =
        attention::supports(problem.backend, cost::DeviceKind::cuda, shape, kType);
    if (!support.supported) throw Skipped(support.reason);
    try {
        return attention::make_backend(problem.backend, bench.gpu());
    } catch (const ConfigError& error) {
        throw Skipped(error.what());
    }
}

void add_direction(ordered_json& row, const Bench& bench, std::string_view name, double flops,
                   const Timing& timing) {
    add_timing(row, fmt::format("{}_", name), timing);
    row[fmt::format("{}_teraflops", name)] = flops / timing.seconds * 1e-12;
    row[fmt::format("{}_of_peak", name)] = ratio(flops / timing.seconds, bench.peak_flops(kType));
}

/// What the model of fused kernels says of this GPU; nothing of one that it does not know.
void add_prediction(ordered_json& row, const Bench& bench, const Shape& shape,
                    std::string_view name, AttentionDirection direction) {
    ordered_json& predicted = row[fmt::format("{}_predicted_ms", name)];
    if (row["backend"] == "manual" || bench.table_row() == nullptr) return;
    const auto device = cost::attention_device(*bench.table_row());
    if (!device) return;
    const cost::AttentionWorkload workload{.batch = shape.batch,
                                           .heads = shape.heads,
                                           .kv_heads = shape.kv_heads,
                                           .sequence_length = shape.query_length,
                                           .head_dim = shape.head_dim,
                                           .causal = shape.causal};
    predicted = 1e3 * cost::attention_time(*device, workload, direction).seconds;
}

ordered_json measure(Bench& bench, const Problem& problem) {
    const Shape shape = shape_of(bench, problem);
    const bool manual = problem.backend == AttentionBackend::manual;
    const auto backend = make_backend(bench, problem, shape);
    const auto pairs = static_cast<std::uint64_t>(shape.batch * shape.heads * shape.query_length *
                                                  shape.key_length);
    if (manual) bench.require_memory(2 * pairs * size_in_bytes(kType));
    Tensors t(bench);
    const bool atomics = !manual && !bench.options().deterministic;
    const Arguments arguments = make_arguments(t, shape, manual, atomics);
    ordered_json row = {{"backend", to_string(problem.backend)},
                        {"head_dim", shape.head_dim},
                        {"causal", shape.causal},
                        {"sequence_length", shape.query_length},
                        {"batch", shape.batch},
                        {"heads", shape.heads}};
    const double flops = 4.0 * static_cast<double>(pairs) * static_cast<double>(shape.head_dim) *
                         (shape.causal ? 0.5 : 1.0);
    const Timing forward =
        bench.time([&] { backend->forward(bench.context(), shape, arguments.forward); });
    add_direction(row, bench, "forward", flops, forward);
    const Timing backward =
        bench.time([&] { backend->backward(bench.context(), shape, arguments.backward); });
    add_direction(row, bench, "backward", 2.5 * flops, backward);
    row["run_by"] = backend->description();
    row["teraflops"] = 3.5 * flops / (forward.seconds + backward.seconds) * 1e-12;
    add_prediction(row, bench, shape, "forward", AttentionDirection::forward);
    add_prediction(row, bench, shape, "backward", AttentionDirection::backward);
    return row;
}

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    for (const auto backend :
         {AttentionBackend::flash_attn_2, AttentionBackend::sdpa, AttentionBackend::manual}) {
        for (const std::int64_t head_dim : {64, 128}) {
            for (const bool causal : {false, true}) {
                for (std::int64_t length = 512; length <= kTokens; length *= 2) {
                    cases.push_back({fmt::format("{}/{}/{}/{}", to_string(backend), head_dim,
                                                 causal ? "causal" : "full", length),
                                     [=](Bench& bench) {
                                         return measure(bench, {backend, head_dim, length, causal});
                                     }});
                }
            }
        }
    }
    return cases;
}

}  // namespace

int run_attention(int argc, char** argv) {
    return run_program(
        argc, argv,
        {.name = "gpu_attention",
         .help = "Time and TFLOP/s of the attention backends, beside what the cost model predicts",
         .columns = {{"forward_ms", "fwd ms", 3},
                     {"forward_predicted_ms", "predicted", 3},
                     {"forward_teraflops", "TFLOP/s", 1},
                     {"backward_ms", "bwd ms", 3},
                     {"backward_predicted_ms", "predicted", 3},
                     {"backward_teraflops", "TFLOP/s", 1},
                     {"teraflops", "both", 1}}},
        all_cases());
}

}  // namespace isoflop::bench
