// The same attention computed plainly in 16 bits: every matrix is rounded, scores and
// probabilities too, with sums in float. What a fused kernel is compared with.
#pragma once

#include "attention/emulated/half_problem.hpp"

namespace isoflop::test {

template <class T>
class PlainAttention {
public:
    Tensor<double> o, d_q, d_k, d_v;

    explicit PlainAttention(const Problem<double>& problem)
        : o(problem.o), d_q(problem.d_q), d_k(problem.d_k), d_v(problem.d_v), problem_(problem) {
        for (auto* x : {&o, &d_q, &d_k, &d_v}) std::fill(x->data.begin(), x->data.end(), 0.0);
        const Shape& s = problem.shape;
        for (std::int64_t b = 0; b < s.batch; ++b) {
            for (std::int64_t h = 0; h < s.heads; ++h) {
                for (std::int64_t i = 0; i < s.query_length; ++i) add_query(b, h, i);
            }
        }
        for (auto* x : {&o, &d_q, &d_k, &d_v}) {
            for (double& value : x->data) value = rounded(value);
        }
    }

private:
    static double rounded(double x) {
        return static_cast<double>(simt::to_float(simt::round_to<T>(static_cast<float>(x))));
    }
    [[nodiscard]] double dot(const Tensor<double>& a, const Tensor<double>& b, std::int64_t batch,
                             std::int64_t i, std::int64_t h, std::int64_t j,
                             std::int64_t kv) const {
        double sum = 0;
        for (std::int64_t c = 0; c < problem_.shape.head_dim; ++c) {
            sum += a.at(batch, i, h, c) * b.at(batch, j, kv, c);
        }
        return rounded(sum);
    }

    void add_query(std::int64_t b, std::int64_t h, std::int64_t i) {
        const Shape& s = problem_.shape;
        const std::int64_t kv = h / (s.heads / s.kv_heads);
        const std::int64_t keys = visible_keys(s, i);
        const std::int64_t start = first_visible_key(s, i);
        std::vector<double> p;
        double largest = -std::numeric_limits<double>::infinity();
        for (std::int64_t j = start; j < keys; ++j) {
            p.push_back(rounded(s.scale * dot(problem_.q, problem_.k, b, i, h, j, kv)));
            largest = std::max(largest, p.back());
        }
        double sum = 0;
        for (double& x : p) sum += x = std::exp(x - largest);
        for (double& x : p) x = rounded(x / sum);
        std::vector<double> d_p;
        for (std::int64_t j = start; j < keys; ++j) {
            d_p.push_back(dot(problem_.d_o, problem_.v, b, i, h, j, kv));
        }
        double row_sum = 0;
        for (std::size_t j = 0; j < p.size(); ++j) row_sum += p[j] * d_p[j];
        for (std::int64_t j = start; j < keys; ++j) {
            const auto place = static_cast<std::size_t>(j - start);
            const double probability = p[place];
            const double d_s = rounded(probability * (d_p[place] - row_sum));
            for (std::int64_t c = 0; c < s.head_dim; ++c) {
                o.at(b, i, h, c) += probability * problem_.v.at(b, j, kv, c);
                d_q.at(b, i, h, c) += s.scale * d_s * problem_.k.at(b, j, kv, c);
                d_k.at(b, j, kv, c) += s.scale * d_s * problem_.q.at(b, i, h, c);
                d_v.at(b, j, kv, c) += probability * problem_.d_o.at(b, i, h, c);
            }
        }
    }

    const Problem<double>& problem_;
};

/// Errors are at most twice those of the plain computation, in relation to the gradients
/// themselves. Where those cancel, a 200th of the same sums with absolute values inside is the
/// floor, and all of it where a query sees so few keys that they cancel always: the row sums of a
/// fused kernel come from rounded outputs. Where the plain computation happens to be exact, a
/// quarter of a unit in the last place is allowed.
template <class T>
void expect_as_good_as_plain(const Problem<double>& actual, const Reference& reference) {
    const PlainAttention<T> plain(actual);
    constexpr double allowed = std::is_same_v<T, simt::Bfloat16> ? 0x1p-10 : 0x1p-13;
    const auto compare = [&](const Tensor<double>& mine, const Tensor<double>& other,
                             const Tensor<double>& exact, double floor, const char* name) {
        const double error = relative_error(mine.values(), exact.values(), floor);
        const double plain_error = relative_error(other.values(), exact.values(), floor);
        EXPECT_LE(error, 2 * plain_error + allowed) << name;
    };
    const bool few = std::min(actual.shape.query_length, actual.shape.key_length) < 15;
    const auto floor = [few](const Tensor<double>& sums) {
        return norm(sums.values()) / (few ? 1 : 200);
    };
    compare(actual.o, plain.o, reference.o, 0, "o");
    compare(actual.d_q, plain.d_q, reference.d_q, floor(reference.abs_d_q), "d_q");
    compare(actual.d_k, plain.d_k, reference.d_k, floor(reference.abs_d_k), "d_k");
    compare(actual.d_v, plain.d_v, reference.d_v, floor(reference.abs_d_v), "d_v");
}

/// Without any floor: gradients of random inputs do not cancel.
template <class T>
void expect_close_gradients(const Problem<double>& actual, const Reference& reference) {
    const double allowed = kHalfTolerance<T>.gradient;
    EXPECT_LE(relative_error(actual.d_q.values(), reference.d_q.values()), allowed) << "d_q";
    EXPECT_LE(relative_error(actual.d_k.values(), reference.d_k.values()), allowed) << "d_k";
    EXPECT_LE(relative_error(actual.d_v.values(), reference.d_v.values()), allowed) << "d_v";
}

}  // namespace isoflop::test
