// Memory throughput of every kernel other than products and attention, in bf16 at the width of
// llama_1b, as a fraction of what a copy on the same device reaches. Bytes are those that an op
// must move when nothing stays in caches: every operand read once, every result written once.
#include "gpu_benchmark.hpp"
#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/adamw.hpp"
#include "isoflop/ops/cross_entropy.hpp"
#include "isoflop/ops/dropout.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/norm.hpp"
#include "isoflop/ops/qk_norm.hpp"
#include "isoflop/ops/random.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/ops/rope.hpp"

namespace isoflop::bench {
namespace {

using device::Context;
using device::TensorView;
using model::Activation;
using model::Normalization;
using nlohmann::ordered_json;

constexpr DType kType = DType::bfloat16;

/// llama_1b, and enough tokens that no tensor stays in a cache.
struct Sizes {
    explicit Sizes(const Bench& bench)
        : tokens(bench.pick(32768, 8192, 16)),
          length(bench.pick(4096, 4096, 8)),
          width(bench.pick(2048, 2048, 64)),
          ffn_width(bench.pick(8192, 8192, 96)),
          heads(bench.pick(32, 32, 2)),
          kv_heads(bench.pick(8, 8, 1)),
          head_dim(bench.pick(64, 64, 32)),
          vocabulary(bench.pick(128256, 128256, 512)),
          loss_rows(bench.pick(1024, 1024, 4)),
          parameters(bench.pick(1 << 28, 1 << 26, 1000)) {}
    std::int64_t tokens, length, width, ffn_width, heads, kv_heads, head_dim, vocabulary, loss_rows,
        parameters;
    [[nodiscard]] std::int64_t qkv_width() const { return (heads + 2 * kv_heads) * head_dim; }
};

/// Times `op`, which must move `bytes`.
ordered_json measure(Bench& bench, std::uint64_t bytes, const std::function<void()>& op) {
    const Timing timing = bench.time(op);
    const double rate = static_cast<double>(bytes) / timing.seconds;
    ordered_json row = {{"bytes", bytes},
                        {"gigabytes_per_second", rate * 1e-9},
                        {"of_copy", rate / bench.copy_bandwidth()}};
    add_timing(row, "", timing);
    return row;
}

using Measure = ordered_json (*)(Bench&, Context&, const Sizes&, Tensors&);

/// A case that makes its tensors and calls measure().
Case make_case(std::string name, Measure run) {
    return {std::move(name), [run](Bench& bench) {
                Tensors tensors(bench);
                return run(bench, bench.context(), Sizes(bench), tensors);
            }};
}

// ---- Flat tensors

void add_flat(std::vector<Case>& cases) {
    cases.push_back(
        make_case("copy", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(kType, {s.parameters});
            const TensorView y = t.zeros(kType, {s.parameters});
            return measure(bench, 2 * x.bytes(), [&] { ops::copy(context, x, y); });
        }));
    cases.push_back(make_case(
        "cast_fp32_to_bf16", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(DType::float32, {s.parameters});
            const TensorView y = t.zeros(kType, {s.parameters});
            return measure(bench, x.bytes() + y.bytes(), [&] { ops::copy(context, x, y); });
        }));
    cases.push_back(
        make_case("fill", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.zeros(kType, {s.parameters});
            return measure(bench, x.bytes(), [&] { ops::fill(context, 1.0, x); });
        }));
    cases.push_back(
        make_case("fill_normal", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.zeros(kType, {s.parameters});
            return measure(bench, x.bytes(), [&] { ops::fill_normal(context, 1.0, 1, 1, 0, x); });
        }));
    cases.push_back(
        make_case("add", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(kType, {s.tokens, s.width});
            const TensorView y = t.normal(kType, {s.tokens, s.width});
            const TensorView sum = t.zeros(kType, {s.tokens, s.width});
            return measure(bench, 3 * x.bytes(), [&] { ops::add(context, x, y, sum); });
        }));
    cases.push_back(
        make_case("scale", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(kType, {s.parameters});
            return measure(bench, 2 * x.bytes(), [&] { ops::scale(context, -1.0, x); });
        }));
    cases.push_back(make_case("dropout", [](Bench& bench, Context& context, const Sizes& s,
                                            Tensors& t) {
        const TensorView x = t.normal(kType, {s.tokens, s.width});
        return measure(bench, 2 * x.bytes(), [&] { ops::dropout(context, {}, 0.1, s.length, x); });
    }));
}

/// statistics and checksum wait for their results, so the way to the host is in their times.
void add_reductions(std::vector<Case>& cases) {
    cases.push_back(
        make_case("sum", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(kType, {s.parameters});
            return measure(bench, x.bytes(), [&] { (void)ops::deferred_sum(context, x); });
        }));
    cases.push_back(make_case("sum_of_squares", [](Bench& bench, Context& context, const Sizes& s,
                                                   Tensors& t) {
        const TensorView x = t.normal(kType, {s.parameters});
        return measure(bench, x.bytes(), [&] { (void)ops::deferred_sum_of_squares(context, x); });
    }));
    cases.push_back(
        make_case("statistics", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(kType, {s.parameters});
            return measure(bench, x.bytes(), [&] { (void)ops::statistics(context, x); });
        }));
    cases.push_back(
        make_case("checksum", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(kType, {s.parameters});
            return measure(bench, x.bytes(), [&] { (void)ops::checksum(context, x); });
        }));
}

// ---- Rows of hidden states

struct NormTensors {
    NormTensors(const Sizes& s, Tensors& t, Normalization kind)
        : parameters{.kind = kind, .weight = t.normal(kType, {s.width}), .bias = {}, .eps = 1e-5},
          x(t.normal(kType, {s.tokens, s.width})),
          branch(t.normal(kType, {s.tokens, s.width})),
          sum(t.zeros(kType, {s.tokens, s.width})),
          out(t.zeros(kType, {s.tokens, s.width})),
          d_weight(t.zeros(kType, {s.width})),
          statistics(kind == Normalization::rmsnorm ? t.zeros(DType::float32, {s.tokens})
                                                    : t.zeros(DType::float32, {2, s.tokens})) {
        if (kind != Normalization::layernorm) return;
        parameters.bias = t.normal(kType, {s.width});
        d_bias = t.zeros(kType, {s.width});
    }
    ops::NormParameters parameters;
    TensorView x, branch, sum, out, d_weight, d_bias, statistics;
};

template <Normalization kind>
void add_norm(std::vector<Case>& cases) {
    const std::string name(to_string(kind));
    cases.push_back(make_case(
        name + "_forward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const NormTensors n(s, t, kind);
            return measure(bench, 2 * n.x.bytes() + n.statistics.bytes(), [&] {
                ops::norm_forward(context, n.parameters, n.x, n.out, n.statistics);
            });
        }));
    cases.push_back(make_case(name + "_add_forward", [](Bench& bench, Context& context,
                                                        const Sizes& s, Tensors& t) {
        const NormTensors n(s, t, kind);
        return measure(bench, 4 * n.x.bytes() + n.statistics.bytes(), [&] {
            ops::add_norm_forward(context, n.parameters, n.x, n.branch, n.sum, n.out, n.statistics);
        });
    }));
    // As in a block: the gradient is added to that of the residual branch.
    cases.push_back(make_case(
        name + "_backward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const NormTensors n(s, t, kind);
            ops::norm_forward(context, n.parameters, n.x, n.sum, n.statistics);
            return measure(bench, 4 * n.x.bytes() + n.statistics.bytes(), [&] {
                ops::norm_backward(context, n.parameters, n.branch, n.x, n.statistics, true, n.out,
                                   n.d_weight, n.d_bias);
            });
        }));
}

template <Activation kind>
void add_activation(std::vector<Case>& cases) {
    const std::string name(to_string(kind));
    cases.push_back(make_case(
        name + "_forward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(kType, {s.tokens, s.ffn_width});
            const TensorView out = t.zeros(kType, {s.tokens, s.ffn_width});
            return measure(bench, 2 * x.bytes(),
                           [&] { ops::activation_forward(context, kind, x, out); });
        }));
    cases.push_back(make_case(
        name + "_backward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView x = t.normal(kType, {s.tokens, s.ffn_width});
            const TensorView d_out = t.normal(kType, {s.tokens, s.ffn_width});
            const TensorView d_x = t.zeros(kType, {s.tokens, s.ffn_width});
            return measure(bench, 3 * x.bytes(),
                           [&] { ops::activation_backward(context, kind, x, d_out, d_x); });
        }));
}

void add_swiglu(std::vector<Case>& cases) {
    cases.push_back(
        make_case("swiglu_forward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView gate_up = t.normal(kType, {s.tokens, 2 * s.ffn_width});
            const TensorView out = t.zeros(kType, {s.tokens, s.ffn_width});
            return measure(bench, 3 * out.bytes(),
                           [&] { ops::gated_forward(context, Activation::silu, gate_up, out); });
        }));
    cases.push_back(make_case(
        "swiglu_backward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView gate_up = t.normal(kType, {s.tokens, 2 * s.ffn_width});
            const TensorView d_out = t.normal(kType, {s.tokens, s.ffn_width});
            const TensorView d_gate_up = t.zeros(kType, {s.tokens, 2 * s.ffn_width});
            return measure(bench, 5 * d_out.bytes(), [&] {
                ops::gated_backward(context, Activation::silu, gate_up, d_out, d_gate_up);
            });
        }));
}

// ---- Heads

template <bool backward>
ordered_json measure_rope(Bench& bench, Context& context, const Sizes& s, Tensors& t) {
    model::ModelConfig config;
    config.num_attention_heads = s.heads;
    config.head_dim = s.head_dim;
    ops::RopeTable table(config, s.length);
    const std::vector<float> values = table.device_values();
    const TensorView copy = t.zeros(DType::float32, {std::ssize(values)});
    bench.gpu().copy_in(copy.data(), values.data(), copy.bytes());
    table.set_device_copy(static_cast<const float*>(copy.data()));
    const TensorView packed = t.normal(kType, {s.tokens, s.qkv_width()});
    const ops::RopeShape shape{
        .heads = s.heads + s.kv_heads, .head_dim = s.head_dim, .sequence_length = s.length};
    const auto rotated = static_cast<std::uint64_t>(s.tokens * shape.heads * s.head_dim);
    return measure(bench, 2 * rotated * size_in_bytes(kType) + copy.bytes(), [&] {
        if constexpr (backward) {
            ops::rope_backward(context, table, shape, packed);
        } else {
            ops::rope_forward(context, table, shape, packed);
        }
    });
}

template <bool backward>
ordered_json measure_qk_norm(Bench& bench, Context& context, const Sizes& s, Tensors& t) {
    const ops::QkNormShape shape{
        .query_heads = s.heads, .key_heads = s.kv_heads, .head_dim = s.head_dim};
    const std::int64_t heads = s.heads + s.kv_heads;
    const TensorView weight = t.normal(kType, {s.head_dim});
    const TensorView packed = t.normal(kType, {s.tokens, s.qkv_width()});
    const TensorView before = t.zeros(kType, {s.tokens, heads * s.head_dim});
    const TensorView statistics = t.zeros(DType::float32, {s.tokens, heads});
    const TensorView d_query = t.zeros(kType, {s.head_dim});
    const TensorView d_key = t.zeros(kType, {s.head_dim});
    ops::qk_norm_forward(context, shape, weight, weight, packed, before, statistics);
    return measure(bench, 3 * before.bytes() + statistics.bytes(), [&] {
        if constexpr (backward) {
            ops::qk_norm_backward(context, shape, weight, weight, before, statistics, packed,
                                  d_query, d_key);
        } else {
            ops::qk_norm_forward(context, shape, weight, weight, packed, before, statistics);
        }
    });
}

// ---- Vocabulary and parameters

void add_vocabulary(std::vector<Case>& cases) {
    cases.push_back(make_case(
        "embedding_forward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView table = t.normal(kType, {s.vocabulary, s.width});
            const TensorView rows = t.zeros(kType, {s.tokens, s.width});
            const auto tokens = t.ids(s.tokens, s.vocabulary);
            return measure(bench, 2 * rows.bytes(), [&] {
                ops::embedding_forward(context, tokens, table, {}, s.length, 0, rows);
            });
        }));
    cases.push_back(make_case(
        "embedding_backward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView d_table = t.zeros(kType, {s.vocabulary, s.width});
            const TensorView rows = t.normal(kType, {s.tokens, s.width});
            const auto tokens = t.ids(s.tokens, s.vocabulary);
            return measure(bench, 3 * rows.bytes(), [&] {
                ops::embedding_backward(context, tokens, rows, s.length, d_table, {});
            });
        }));
    cases.push_back(make_case(
        "cross_entropy_forward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView logits = t.normal(kType, {s.loss_rows, s.vocabulary});
            const TensorView losses = t.zeros(DType::float32, {s.loss_rows});
            const auto targets = t.ids(s.loss_rows, s.vocabulary);
            return measure(bench, logits.bytes(), [&] {
                ops::cross_entropy_forward(context, logits, targets, ops::kIgnoreIndex, losses);
            });
        }));
    // The gradient takes the place of the logits; the next call takes it for logits.
    cases.push_back(make_case(
        "cross_entropy_backward", [](Bench& bench, Context& context, const Sizes& s, Tensors& t) {
            const TensorView logits = t.normal(kType, {s.loss_rows, s.vocabulary});
            const TensorView losses = t.zeros(DType::float32, {s.loss_rows});
            const auto targets = t.ids(s.loss_rows, s.vocabulary);
            return measure(bench, 2 * logits.bytes(), [&] {
                ops::cross_entropy_forward_backward(context, logits, targets, ops::kIgnoreIndex,
                                                    1.0, losses);
            });
        }));
}

/// Reads weights (fp32 ones, masters of 16-bit ones), gradients and moments, writes all but these.
template <DType dtype, bool stochastic>
ordered_json measure_adamw(Bench& bench, Context& context, const Sizes& s, Tensors& t) {
    constexpr bool kHasMaster = dtype != DType::float32;
    const std::int64_t count = s.parameters;
    ops::AdamWState state{.weights = t.normal(dtype, {count}, 0.02),
                          .gradients = t.normal(dtype, {count}, 1e-3),
                          .first_moment = t.zeros(DType::float32, {count}),
                          .second_moment = t.zeros(DType::float32, {count}),
                          .master_weights = {}};
    if constexpr (kHasMaster) {
        state.master_weights = t.zeros(DType::float32, {count});
        ops::copy(context, state.weights, state.master_weights);
    }
    const std::vector<ops::AdamWSegment> segments = {
        {.offset = 0, .count = count, .weight_decay = true}};
    const std::uint64_t bytes = state.gradients.bytes() + state.weights.bytes() +
                                4 * state.first_moment.bytes() +
                                (kHasMaster ? 2 : 1) * state.first_moment.bytes();
    return measure(bench, bytes, [&] {
        ops::adamw(context, {.stochastic_rounding = stochastic}, segments, state);
    });
}

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    add_flat(cases);
    add_reductions(cases);
    add_norm<Normalization::rmsnorm>(cases);
    add_norm<Normalization::layernorm>(cases);
    add_activation<Activation::gelu>(cases);
    add_activation<Activation::gelu_tanh>(cases);
    add_swiglu(cases);
    cases.push_back(make_case("rope_forward", measure_rope<false>));
    cases.push_back(make_case("rope_backward", measure_rope<true>));
    cases.push_back(make_case("qk_norm_forward", measure_qk_norm<false>));
    cases.push_back(make_case("qk_norm_backward", measure_qk_norm<true>));
    add_vocabulary(cases);
    cases.push_back(make_case("adamw_bf16", measure_adamw<DType::bfloat16, false>));
    cases.push_back(make_case("adamw_bf16_stochastic", measure_adamw<DType::bfloat16, true>));
    cases.push_back(make_case("adamw_fp32", measure_adamw<DType::float32, false>));
    return cases;
}

}  // namespace

int run_ops(int argc, char** argv) {
    return run_program(
        argc, argv,
        {.name = "gpu_ops",
         .help = "GB/s of every kernel but products and attention, beside copies on the device",
         .columns = {{"ms", "ms", 4},
                     {"gigabytes_per_second", "GB/s", 1},
                     {"of_copy", "of copy", 3},
                     {"watts", "W", 0},
                     {"sm_megahertz", "SM MHz", 0}}},
        all_cases());
}

}  // namespace isoflop::bench
