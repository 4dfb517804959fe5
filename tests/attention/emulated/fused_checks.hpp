// What the tests of fused backends have in common: one problem run and compared, inputs that are
// hard, and what must hold of every backend.
#pragma once

#include "attention/emulated/plain_attention.hpp"

namespace isoflop::test {

template <class T>
void expect_right(const HalfProblem<T>& problem, const HalfOptions& options) {
    const Reference reference(problem.exact);
    expect_matches(problem.exact, reference, kHalfTolerance<T>);
    expect_as_good_as_plain<T>(problem.exact, reference);
    const std::int64_t shorter = std::min(problem.shape.query_length, problem.shape.key_length);
    if (!options.change && options.amplitude == 1 && shorter >= 15) {
        expect_close_gradients<T>(problem.exact, reference);
    }
    EXPECT_TRUE(problem.surroundings_are_untouched());
}

template <class T>
HalfProblem<T> check_fused(const FusedAttention& attention, const Shape& shape,
                           const HalfOptions& options = {}) {
    SCOPED_TRACE(describe(shape) + ", " + std::string(to_string(kHalfType<T>)));
    HalfProblem<T> problem(shape, options);
    emulator::Session session({.order = emulator::Order::warp_greedy, .count = false});
    problem.run(attention);
    expect_right(problem, options);
    return problem;
}

/// All scores near `score`.
inline std::function<void(Problem<double>&)> scores_near(double score, std::int64_t head_dim) {
    return [=](Problem<double>& problem) {
        const double each = std::sqrt(std::abs(score) / std::sqrt(static_cast<double>(head_dim)));
        for (double& x : problem.q.data) x = each + 0.05 * x;
        for (double& x : problem.k.data) x = std::copysign(each, score) + 0.05 * x;
    };
}

template <class T>
bool is_finite_row(const Tensor<T>& tensor, std::int64_t token, std::int64_t head) {
    for (std::int64_t i = 0; i < tensor.head_dim; ++i) {
        if (!std::isfinite(tensor.at(0, token, head, i))) return false;
    }
    return true;
}

/// One element of query `bad` of head 1 is `number`: all other rows stay as they were.
inline void expect_bad_query_stays_alone(const FusedAttention& attention, const Shape& shape,
                                         std::int64_t bad, double number) {
    HalfProblem<simt::Bfloat16> clean(shape);
    clean.run(attention);
    HalfProblem<simt::Bfloat16> problem(
        shape, {.change = [&](Problem<double>& exact) { exact.q.at(0, bad, 1, 3) = number; }});
    problem.run(attention);
    for (std::int64_t i = 0; i < shape.query_length; ++i) {
        for (std::int64_t head = 0; head < shape.heads; ++head) {
            const auto row = static_cast<std::size_t>(head * shape.query_length + i);
            if (i == bad && head == 1) {
                EXPECT_FALSE(is_finite_row(problem.exact.o, i, head));
                EXPECT_FALSE(std::isfinite(problem.lse[row]));
                continue;
            }
            ASSERT_EQ(problem.lse[row], clean.lse[row]);
            for (std::int64_t c = 0; c < shape.head_dim; ++c) {
                ASSERT_EQ(problem.exact.o.at(0, i, head, c), clean.exact.o.at(0, i, head, c));
                ASSERT_EQ(problem.exact.d_q.at(0, i, head, c), clean.exact.d_q.at(0, i, head, c));
            }
        }
    }
}

/// Of bfloat16.
inline void expect_same_bits_in_every_order(const FusedAttention& attention, const Shape& shape) {
    const auto bits = [&](emulator::Options options) {
        options.count = false;
        emulator::Session session(options);
        HalfProblem<simt::Bfloat16> problem(shape);
        problem.run(attention);
        return problem.bits();
    };
    const auto expected = bits(emulator::all_orders()[0]);
    for (const emulator::Options& options : emulator::all_orders()) {
        EXPECT_EQ(bits(options), expected);
    }
}

}  // namespace isoflop::test
