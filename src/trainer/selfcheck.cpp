#include "isoflop/trainer/selfcheck.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>

#include "isoflop/base/philox.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::trainer {
namespace {

using attention::Heads;
using device::TensorView;

/// fp32 attention over head_dim and S terms keeps about seven digits; sums over long rows lose a
/// few units of the last one.
constexpr double kTolerance = 2e-5;

/// q, k, v, d_o and everything computed from them, in one element type.
template <class T>
struct Tensors {
    std::vector<T> q, k, v, d_o, o, lse, d_q, d_k, d_v, row_sums, probabilities, d_scores;
};

template <class T>
Tensors<T> random_tensors(const attention::Shape& shape, bool manual) {
    const auto queries =
        static_cast<std::size_t>(shape.query_length * shape.heads * shape.head_dim);
    const auto keys = static_cast<std::size_t>(shape.key_length * shape.kv_heads * shape.head_dim);
    const auto rows = static_cast<std::size_t>(shape.heads * shape.query_length);
    std::uint32_t stream = 0;
    const auto draw = [&](std::size_t count) {
        std::vector<T> values(count);
        for (std::size_t i = 0; i < count; ++i) {
            const PhiloxCounter words =
                philox({static_cast<std::uint32_t>(i), stream, 0, 0}, {7, 11});
            // Uniform with unit variance: enough to exercise the softmax.
            values[i] =
                static_cast<T>(static_cast<float>((to_unit_interval(words[0]) - 0.5) * 3.4641016));
        }
        ++stream;
        return values;
    };
    Tensors<T> tensors;
    tensors.q = draw(queries);
    tensors.k = draw(keys);
    tensors.v = draw(keys);
    tensors.d_o = draw(queries);
    tensors.o.resize(queries);
    tensors.lse.resize(rows);
    tensors.d_q.resize(queries);
    tensors.d_k.resize(keys);
    tensors.d_v.resize(keys);
    tensors.row_sums.resize(rows);
    if (manual) {
        tensors.probabilities.resize(rows * static_cast<std::size_t>(shape.key_length));
        tensors.d_scores.resize(tensors.probabilities.size());
    }
    return tensors;
}

template <class T>
Heads heads_of(std::vector<T>& values, std::int64_t heads, const attention::Shape& shape) {
    const std::int64_t width = heads * shape.head_dim;
    return {values.data(), device::dtype_of<T>(), static_cast<std::int64_t>(values.size()), width,
            shape.head_dim};
}

template <class T>
void run_backend(const attention::Backend& backend, device::Context& context,
                 const attention::Shape& shape, Tensors<T>& tensors, BackendCheck* check) {
    const bool manual = backend.kind() == cost::AttentionBackend::manual;
    const auto per_row = [&](std::vector<T>& values) {
        return TensorView(values.data(), device::dtype_of<T>(),
                          {1, shape.heads, shape.query_length});
    };
    const auto per_score = [&](std::vector<T>& values) {
        if (!manual) return TensorView();
        return TensorView(values.data(), device::dtype_of<T>(),
                          {1, shape.heads, shape.query_length, shape.key_length});
    };
    attention::ForwardArguments forward;
    forward.q = heads_of(tensors.q, shape.heads, shape);
    forward.k = heads_of(tensors.k, shape.kv_heads, shape);
    forward.v = heads_of(tensors.v, shape.kv_heads, shape);
    forward.o = heads_of(tensors.o, shape.heads, shape);
    forward.lse = per_row(tensors.lse);
    forward.probabilities = per_score(tensors.probabilities);
    attention::BackwardArguments backward;
    backward.q = forward.q;
    backward.k = forward.k;
    backward.v = forward.v;
    backward.o = forward.o;
    backward.d_o = heads_of(tensors.d_o, shape.heads, shape);
    backward.lse = forward.lse;
    backward.probabilities = forward.probabilities;
    backward.d_q = heads_of(tensors.d_q, shape.heads, shape);
    backward.d_k = heads_of(tensors.d_k, shape.kv_heads, shape);
    backward.d_v = heads_of(tensors.d_v, shape.kv_heads, shape);
    backward.row_sums = per_row(tensors.row_sums);
    backward.d_scores = per_score(tensors.d_scores);
    const auto start = std::chrono::steady_clock::now();
    backend.forward(context, shape, forward);
    const auto middle = std::chrono::steady_clock::now();
    backend.backward(context, shape, backward);
    const auto end = std::chrono::steady_clock::now();
    if (check == nullptr) return;
    check->forward_seconds = std::chrono::duration<double>(middle - start).count();
    check->backward_seconds = std::chrono::duration<double>(end - middle).count();
}

double relative_error(const std::vector<float>& got, const std::vector<double>& reference) {
    double difference = 0;
    double norm = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double error = static_cast<double>(got[i]) - reference[i];
        difference += error * error;
        norm += reference[i] * reference[i];
    }
    return std::sqrt(difference / std::max(norm, std::numeric_limits<double>::min()));
}

double largest_lse_error(const std::vector<float>& got, const std::vector<double>& reference) {
    double largest = 0;
    for (std::size_t i = 0; i < got.size(); ++i) {
        const double error = std::abs(static_cast<double>(got[i]) - reference[i]);
        largest = std::max(largest, error / std::max(1.0, std::abs(reference[i])));
    }
    return largest;
}

}  // namespace

bool BackendCheck::passed() const {
    if (!supported) return true;
    const double worst = std::max({output, lse, d_query, d_key, d_value});
    return std::isfinite(worst) && worst <= tolerance;
}

std::vector<BackendCheck> check_attention(const RunPlan& plan, device::Context& context) {
    const model::ModelConfig& model = plan.config.model;
    const std::int64_t S = plan.config.execution.sequence_length;
    const attention::Shape shape{.batch = 1,
                                 .query_length = S,
                                 .key_length = S,
                                 .heads = model.num_attention_heads,
                                 .kv_heads = model.num_key_value_heads,
                                 .head_dim = model.head_dim,
                                 .causal = true,
                                 .scale = 1.0 / std::sqrt(static_cast<double>(model.head_dim))};
    const auto device = cost::DeviceKind::cpu;
    Tensors<double> reference = random_tensors<double>(shape, true);
    run_backend<double>(*attention::make_backend(cost::AttentionBackend::manual, device), context,
                        shape, reference, nullptr);
    std::vector<BackendCheck> checks;
    for (const auto backend : {cost::AttentionBackend::flash_attn_2, cost::AttentionBackend::sdpa,
                               cost::AttentionBackend::manual}) {
        BackendCheck check;
        check.backend = backend;
        check.tolerance = kTolerance;
        const attention::Support support =
            attention::supports(backend, device, shape, DType::float32);
        check.supported = support.supported;
        check.reason = support.reason;
        if (check.supported) {
            Tensors<float> tensors =
                random_tensors<float>(shape, backend == cost::AttentionBackend::manual);
            run_backend<float>(*attention::make_backend(backend, device), context, shape, tensors,
                               &check);
            check.output = relative_error(tensors.o, reference.o);
            check.lse = largest_lse_error(tensors.lse, reference.lse);
            check.d_query = relative_error(tensors.d_q, reference.d_q);
            check.d_key = relative_error(tensors.d_k, reference.d_k);
            check.d_value = relative_error(tensors.d_v, reference.d_v);
        }
        checks.push_back(check);
    }
    return checks;
}

std::string selfcheck_text(const RunPlan& plan, const std::vector<BackendCheck>& checks,
                           report::Colour colour) {
    const model::ModelConfig& model = plan.config.model;
    report::TextReport report(colour);
    report.title(fmt::format(
        "Attention backends against a double-precision reference: S {}, {} heads ({} kv) x {}",
        plan.config.execution.sequence_length, model.num_attention_heads, model.num_key_value_heads,
        model.head_dim));
    report::Table table({{"backend", report::Align::left},
                         {"o"},
                         {"lse"},
                         {"dq"},
                         {"dk"},
                         {"dv"},
                         {"forward"},
                         {"backward"},
                         {"", report::Align::left}});
    const auto error = [](double value) { return fmt::format("{:.1e}", value); };
    for (const BackendCheck& check : checks) {
        if (!check.supported) {
            table.row({std::string(to_string(check.backend)), "-", "-", "-", "-", "-", "-", "-",
                       check.reason});
            continue;
        }
        table.row({std::string(to_string(check.backend)), error(check.output), error(check.lse),
                   error(check.d_query), error(check.d_key), error(check.d_value),
                   fmt::format("{:.2f} ms", check.forward_seconds * 1e3),
                   fmt::format("{:.2f} ms", check.backward_seconds * 1e3),
                   check.passed() ? "ok" : "OUT"});
    }
    report.table(table);
    report.line(fmt::format("relative errors, allowed {:.0e}", kTolerance));
    return report.str();
}

}  // namespace isoflop::trainer
