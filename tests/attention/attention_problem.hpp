// A small attention problem for tests: inputs with the strides of packed rows, all buffers that the
// backends need, and a naive reference in double that visits the visible pairs one by one.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "isoflop/attention/attention.hpp"

namespace isoflop::test {

using attention::Heads;
using attention::Shape;
using cost::AttentionBackend;

inline constexpr AttentionBackend kAllBackends[] = {
    AttentionBackend::flash_attn_2, AttentionBackend::sdpa, AttentionBackend::manual};

inline Shape make_shape(std::int64_t query_length, std::int64_t key_length, std::int64_t head_dim,
                        bool causal = true, std::int64_t heads = 2, std::int64_t kv_heads = 1,
                        std::int64_t batch = 1) {
    return {.batch = batch,
            .query_length = query_length,
            .key_length = key_length,
            .heads = heads,
            .kv_heads = kv_heads,
            .head_dim = head_dim,
            .causal = causal,
            .scale = 1 / std::sqrt(static_cast<double>(head_dim))};
}

inline std::string describe(const Shape& shape) {
    return "batch " + std::to_string(shape.batch) + ", queries " +
           std::to_string(shape.query_length) + ", keys " + std::to_string(shape.key_length) +
           ", heads " + std::to_string(shape.heads) + "/" + std::to_string(shape.kv_heads) +
           ", head_dim " + std::to_string(shape.head_dim) + (shape.causal ? ", causal" : ", full") +
           (shape.window > 0 ? ", window " + std::to_string(shape.window) : "") +
           (shape.soft_cap > 0 ? ", soft cap " + std::to_string(shape.soft_cap) : "");
}

inline Shape with_window(Shape shape, std::int64_t window) {
    shape.window = window;
    return shape;
}

inline std::int64_t visible_keys(const Shape& shape, std::int64_t query) {
    const std::int64_t limit =
        shape.causal ? query + 1 + shape.key_length - shape.query_length : shape.key_length;
    return std::clamp<std::int64_t>(limit, 0, shape.key_length);
}

/// The first key that a query sees.
inline std::int64_t first_visible_key(const Shape& shape, std::int64_t query) {
    if (shape.window == 0) return 0;
    const std::int64_t own = query + shape.key_length - shape.query_length;
    return std::clamp<std::int64_t>(own - shape.window + 1, 0, shape.key_length);
}

/// A score as the softmax takes it, and its derivative by the score before the soft cap.
struct CappedScore {
    double score = 0;
    double slope = 1;
};
inline CappedScore capped(const Shape& shape, double score) {
    if (shape.soft_cap == 0) return {score, 1};
    const double part = std::tanh(score / shape.soft_cap);
    return {shape.soft_cap * part, 1 - part * part};
}

/// Rows of `heads` heads for `tokens` tokens, of which the elements between the rows stay untouched
/// by code that follows the strides: they hold kGap.
template <class T>
struct Tensor {
    static constexpr T kGap = T(-77);
    std::int64_t tokens = 0, heads = 0, head_dim = 0, token_stride = 0;
    std::vector<T> data;

    Tensor() = default;
    Tensor(std::int64_t batch, std::int64_t num_tokens, std::int64_t num_heads, std::int64_t width,
           std::int64_t gap)
        : tokens(num_tokens),
          heads(num_heads),
          head_dim(width),
          token_stride(num_heads * width + gap),
          data(static_cast<std::size_t>(batch * num_tokens * token_stride), kGap) {}

    [[nodiscard]] T& at(std::int64_t batch, std::int64_t token, std::int64_t head, std::int64_t i) {
        return data[static_cast<std::size_t>((batch * tokens + token) * token_stride +
                                             head * head_dim + i)];
    }
    [[nodiscard]] const T& at(std::int64_t batch, std::int64_t token, std::int64_t head,
                              std::int64_t i) const {
        return const_cast<Tensor&>(*this).at(batch, token, head, i);
    }
    [[nodiscard]] Heads view() { return view_of(data.data(), device::dtype_of<T>()); }
    /// The same layout over other memory.
    [[nodiscard]] Heads view_of(void* memory, DType dtype) const {
        return {.data = memory,
                .dtype = dtype,
                .batch_stride = tokens * token_stride,
                .token_stride = token_stride,
                .head_stride = head_dim};
    }
    [[nodiscard]] bool is_gap(std::size_t i) const {
        return static_cast<std::int64_t>(i) % token_stride >= heads * head_dim;
    }
    [[nodiscard]] bool gaps_are_untouched() const {
        for (std::size_t i = 0; i < data.size(); ++i) {
            if (is_gap(i) && data[i] != kGap) return false;
        }
        return true;
    }
    /// The elements of the rows, without gaps, as double.
    [[nodiscard]] std::vector<double> values() const {
        std::vector<double> all;
        for (std::size_t i = 0; i < data.size(); ++i) {
            if (!is_gap(i)) all.push_back(static_cast<double>(data[i]));
        }
        return all;
    }
};

/// Inputs and outputs of attention and of its gradients, in any memory: `Tensor` has view().
template <class Tensor>
struct ProblemTensors {
    Tensor q, k, v, o, d_o, d_q, d_k, d_v;

    [[nodiscard]] attention::ForwardArguments forward_arguments(
        const device::TensorView& lse, const device::TensorView& probabilities = {}) {
        return {.q = q.view(),
                .k = k.view(),
                .v = v.view(),
                .o = o.view(),
                .lse = lse,
                .probabilities = probabilities};
    }
    [[nodiscard]] attention::BackwardArguments backward_arguments(
        const device::TensorView& lse, const device::TensorView& row_sums) {
        return {.q = q.view(),
                .k = k.view(),
                .v = v.view(),
                .o = o.view(),
                .d_o = d_o.view(),
                .lse = lse,
                .probabilities = {},
                .d_q = d_q.view(),
                .d_k = d_k.view(),
                .d_v = d_v.view(),
                .row_sums = row_sums,
                .d_q_sums = {},
                .d_scores = {}};
    }
};

template <class T>
struct Problem : ProblemTensors<Tensor<T>> {
    using Tensors = ProblemTensors<Tensor<T>>;
    using Tensors::d_o, Tensors::d_q, Tensors::d_k, Tensors::d_v;
    using Tensors::q, Tensors::k, Tensors::v, Tensors::o;
    Shape shape;
    std::vector<T> lse, row_sums, probabilities, d_scores;

    explicit Problem(const Shape& given, double amplitude = 1, std::int64_t gap = 5)
        : shape(given) {
        for (Tensor<T>* tensor : {&q, &o, &d_o, &d_q}) {
            *tensor = Tensor<T>(shape.batch, shape.query_length, shape.heads, shape.head_dim, gap);
        }
        for (Tensor<T>* tensor : {&k, &v, &d_k, &d_v}) {
            *tensor = Tensor<T>(shape.batch, shape.key_length, shape.kv_heads, shape.head_dim, gap);
        }
        std::mt19937 generator(20240229);
        for (Tensor<T>* tensor : {&q, &k, &v, &d_o}) {
            const double size = tensor == &q || tensor == &k ? amplitude : 1;
            for (T& x : tensor->data) {
                // Rounded to float, so that float and double problems of one shape are the same.
                const double uniform = static_cast<double>(generator()) / 4294967296.0;
                x = static_cast<T>(static_cast<float>(size * (2 * uniform - 1)));
            }
        }
        const auto rows = static_cast<std::size_t>(shape.batch * shape.heads * shape.query_length);
        lse.assign(rows, T(-5));
        row_sums.assign(rows, T(-5));
        probabilities.assign(rows * static_cast<std::size_t>(shape.key_length), T(-5));
        d_scores = probabilities;
    }

    [[nodiscard]] device::TensorView rows(std::vector<T>& data) const {
        return device::TensorView::of(std::span<T>(data),
                                      {shape.batch, shape.heads, shape.query_length});
    }
    [[nodiscard]] device::TensorView matrix(std::vector<T>& data) const {
        return device::TensorView::of(
            std::span<T>(data), {shape.batch, shape.heads, shape.query_length, shape.key_length});
    }
    [[nodiscard]] attention::ForwardArguments forward_arguments() {
        return Tensors::forward_arguments(rows(lse), matrix(probabilities));
    }
    [[nodiscard]] attention::BackwardArguments backward_arguments() {
        auto arguments = Tensors::backward_arguments(rows(lse), rows(row_sums));
        arguments.probabilities = matrix(probabilities);
        arguments.d_scores = matrix(d_scores);
        return arguments;
    }
    void run(AttentionBackend kind, int threads = 1, device::ProductRecorder* recorder = nullptr) {
        device::ThreadPool pool(threads);
        device::Context context(pool);
        context.recorder = recorder;
        const auto backend = attention::make_backend(kind, device::host_device());
        backend->forward(context, shape, forward_arguments());
        backend->backward(context, shape, backward_arguments());
    }
};

/// Normal inputs, those of the scores times `amplitude`.
inline void fill_with_normal_values(Problem<double>& problem, unsigned seed, double amplitude = 1) {
    std::mt19937 generator(seed);
    std::normal_distribution<double> normal;
    for (auto* tensor : {&problem.q, &problem.k, &problem.v, &problem.d_o}) {
        const bool scored = tensor == &problem.q || tensor == &problem.k;
        for (double& value : tensor->data) value = normal(generator) * (scored ? amplitude : 1);
    }
}

/// The same results in double, and for each gradient the same sums with absolute values inside,
/// which bound what rounding can do where terms cancel.
struct Reference {
    Tensor<double> o, d_q, d_k, d_v, abs_d_q, abs_d_k, abs_d_v;
    std::vector<double> lse;

    template <class T>
    explicit Reference(const Problem<T>& problem) {
        const Shape& s = problem.shape;
        for (auto* tensor : {&o, &d_q, &abs_d_q})
            *tensor = zeros(s.batch, s.query_length, s.heads, s.head_dim);
        for (auto* tensor : {&d_k, &d_v, &abs_d_k, &abs_d_v}) {
            *tensor = zeros(s.batch, s.key_length, s.kv_heads, s.head_dim);
        }
        for (std::int64_t b = 0; b < s.batch; ++b) {
            for (std::int64_t h = 0; h < s.heads; ++h) {
                for (std::int64_t i = 0; i < s.query_length; ++i) add_query(problem, b, h, i);
            }
        }
    }

private:
    static Tensor<double> zeros(std::int64_t batch, std::int64_t tokens, std::int64_t heads,
                                std::int64_t d) {
        Tensor<double> tensor(batch, tokens, heads, d, 0);
        std::fill(tensor.data.begin(), tensor.data.end(), 0.0);
        return tensor;
    }

    template <class T>
    void add_query(const Problem<T>& problem, std::int64_t b, std::int64_t h, std::int64_t i) {
        const Shape& s = problem.shape;
        const std::int64_t kv = h / (s.heads / s.kv_heads);
        const std::int64_t keys = visible_keys(s, i);
        const std::int64_t start = first_visible_key(s, i);
        if (keys == 0) {
            lse.push_back(std::numeric_limits<double>::infinity());
            return;
        }
        std::vector<double> p(static_cast<std::size_t>(keys));
        std::vector<double> slopes(p.size());
        double largest = -std::numeric_limits<double>::infinity();
        for (std::int64_t j = start; j < keys; ++j) {
            double dot = 0;
            for (std::int64_t c = 0; c < s.head_dim; ++c) {
                dot += double(problem.q.at(b, i, h, c)) * double(problem.k.at(b, j, kv, c));
            }
            const CappedScore score = capped(s, s.scale * dot);
            p[static_cast<std::size_t>(j)] = score.score;
            slopes[static_cast<std::size_t>(j)] = score.slope;
            largest = std::max(largest, score.score);
        }
        double sum = 0;
        for (std::int64_t j = start; j < keys; ++j) {
            double& x = p[static_cast<std::size_t>(j)];
            sum += x = std::exp(x - largest);
        }
        lse.push_back(largest + std::log(sum));
        double row_sum = 0;
        double abs_row_sum = 0;
        for (std::int64_t c = 0; c < s.head_dim; ++c) {
            double& out = o.at(b, i, h, c);
            for (std::int64_t j = start; j < keys; ++j) {
                out += p[static_cast<std::size_t>(j)] / sum * double(problem.v.at(b, j, kv, c));
            }
            row_sum += out * double(problem.d_o.at(b, i, h, c));
            abs_row_sum += std::abs(out * double(problem.d_o.at(b, i, h, c)));
        }
        for (std::int64_t j = start; j < keys; ++j) {
            const auto at = static_cast<std::size_t>(j);
            add_pair(problem, b, h, i, j, p[at] / sum, slopes[at], row_sum, abs_row_sum);
        }
    }

    template <class T>
    void add_pair(const Problem<T>& problem, std::int64_t b, std::int64_t h, std::int64_t i,
                  std::int64_t j, double p, double slope, double row_sum, double abs_row_sum) {
        const Shape& s = problem.shape;
        const std::int64_t kv = h / (s.heads / s.kv_heads);
        double d_p = 0;
        double abs_d_p = 0;
        for (std::int64_t c = 0; c < s.head_dim; ++c) {
            const double term =
                double(problem.d_o.at(b, i, h, c)) * double(problem.v.at(b, j, kv, c));
            d_p += term;
            abs_d_p += std::abs(term);
        }
        const double d_s = s.scale * slope * p * (d_p - row_sum);
        const double abs_d_s = s.scale * slope * p * (abs_d_p + abs_row_sum);
        for (std::int64_t c = 0; c < s.head_dim; ++c) {
            const double q = problem.q.at(b, i, h, c);
            const double k = problem.k.at(b, j, kv, c);
            const double d_o = problem.d_o.at(b, i, h, c);
            d_q.at(b, i, h, c) += d_s * k;
            abs_d_q.at(b, i, h, c) += std::abs(abs_d_s * k);
            d_k.at(b, j, kv, c) += d_s * q;
            abs_d_k.at(b, j, kv, c) += std::abs(abs_d_s * q);
            d_v.at(b, j, kv, c) += p * d_o;
            abs_d_v.at(b, j, kv, c) += std::abs(p * d_o);
        }
    }
};

inline double norm(const std::vector<double>& values) {
    double sum = 0;
    for (const double x : values) sum += x * x;
    return std::sqrt(sum);
}

/// Norm of the difference over the larger of both norms; not a number where only one side is.
inline double relative_error(const std::vector<double>& actual, const std::vector<double>& expected,
                             double floor = 0) {
    EXPECT_EQ(actual.size(), expected.size());
    std::vector<double> difference(actual.size());
    for (std::size_t i = 0; i < actual.size(); ++i) difference[i] = actual[i] - expected[i];
    const double size = std::max(norm(expected), floor);
    return size == 0 ? norm(difference) : norm(difference) / size;
}

struct Tolerance {
    double output = 0;
    double gradient = 0;
    double lse = 0;
};
/// fp32: each sum of n products rounds to about sqrt(n) eps, and exp turns the absolute error of a
/// score, about |score| eps, into a relative one.
inline constexpr Tolerance kFloatTolerance{.output = 2e-6, .gradient = 1e-6, .lse = 1e-5};
inline constexpr Tolerance kDoubleTolerance{.output = 5e-15, .gradient = 2e-15, .lse = 1e-14};

template <class T>
void expect_matches(const Problem<T>& actual, const Reference& reference,
                    const Tolerance& tolerance) {
    EXPECT_LE(relative_error(actual.o.values(), reference.o.values()), tolerance.output) << "o";
    EXPECT_LE(relative_error(actual.d_q.values(), reference.d_q.values(),
                             norm(reference.abs_d_q.values())),
              tolerance.gradient)
        << "d_q";
    EXPECT_LE(relative_error(actual.d_k.values(), reference.d_k.values(),
                             norm(reference.abs_d_k.values())),
              tolerance.gradient)
        << "d_k";
    EXPECT_LE(relative_error(actual.d_v.values(), reference.d_v.values(),
                             norm(reference.abs_d_v.values())),
              tolerance.gradient)
        << "d_v";
    ASSERT_EQ(actual.lse.size(), reference.lse.size());
    for (std::size_t i = 0; i < reference.lse.size(); ++i) {
        const double expected = reference.lse[i];
        if (std::isinf(expected)) {
            ASSERT_EQ(static_cast<double>(actual.lse[i]), expected) << "lse of row " << i;
        } else {
            ASSERT_NEAR(actual.lse[i], expected, tolerance.lse * std::max(1.0, std::abs(expected)))
                << "lse of row " << i;
        }
    }
    for (const Tensor<T>* tensor : {&actual.o, &actual.d_q, &actual.d_k, &actual.d_v}) {
        EXPECT_TRUE(tensor->gaps_are_untouched());
    }
}

}  // namespace isoflop::test
