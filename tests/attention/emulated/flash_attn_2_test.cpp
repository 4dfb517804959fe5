// flash_attn_2 against the naive reference, over shapes, values and layouts.
#include "attention/emulated/fused_checks.hpp"

namespace isoflop::test {
namespace {

using simt::Bfloat16;
using simt::Float16;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

template <class T>
HalfProblem<T> check(const Shape& shape, const HalfOptions& options = {}) {
    return check_fused<T>(kFlashAttn2, shape, options);
}

template <class T>
void check_with_atomics(const Shape& shape, const HalfOptions& options = {}) {
    SCOPED_TRACE(describe(shape) + ", " + std::string(to_string(kHalfType<T>)));
    HalfProblem<T> problem(shape, options);
    emulator::Session session({.order = emulator::Order::random, .seed = 5, .count = false});
    problem.run_with_atomics();
    expect_right(problem, options);
}

class FlashAttn2HeadDim : public testing::TestWithParam<std::int64_t> {};

TEST_P(FlashAttn2HeadDim, LengthsAroundTilesMatchTheReference) {
    const std::int64_t head_dim = GetParam();
    for (const std::int64_t length : {1, 17, 65, 129, 200}) {
        check<Bfloat16>(make_shape(length, length, head_dim, true, 2, 1));
    }
    for (const std::int64_t length : {2, 15, 16, 63, 64, 127}) {
        check<Float16>(make_shape(length, length, head_dim, length % 2 == 0, 1, 1));
    }
}

TEST_P(FlashAttn2HeadDim, SaturatedSoftmaxMatchesTheReference) {
    check<Bfloat16>(make_shape(97, 97, GetParam(), false, 1, 1), {.amplitude = 8});
    check<Float16>(make_shape(97, 97, GetParam(), true, 1, 1), {.amplitude = 8});
}

TEST_P(FlashAttn2HeadDim, AtomicGradientsMatchTheReference) {
    const std::int64_t head_dim = GetParam();
    for (const std::int64_t length : {1, 16, 65, 140}) {
        check_with_atomics<Bfloat16>(make_shape(length, length, head_dim, true, 2, 1));
    }
    check_with_atomics<Float16>(make_shape(129, 63, head_dim, true, 1, 1));
    check_with_atomics<Float16>(make_shape(40, 70, head_dim, false, 2, 2));
    check_with_atomics<Bfloat16>(make_shape(65, 65, head_dim, false, 1, 1),
                                 {.change = scores_near(-120, head_dim)});
}

TEST_P(FlashAttn2HeadDim, WindowsMatchTheReference) {
    const std::int64_t head_dim = GetParam();
    for (const std::int64_t window : {1, 64, 65}) {
        check<Bfloat16>(with_window(make_shape(200, 200, head_dim, true, 2, 1), window));
        check_with_atomics<Bfloat16>(
            with_window(make_shape(200, 200, head_dim, true, 1, 1), window));
    }
    for (const std::int64_t length : {62, 63, 64}) {
        const Shape shape = with_window(make_shape(length, length, head_dim, true, 2, 2), 63);
        check<Float16>(shape);
        check_with_atomics<Float16>(shape);
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, FlashAttn2HeadDim, testing::Values(32, 64, 96, 128, 256),
                         testing::PrintToStringParamName());

TEST(FlashAttn2, UnequalLengthsMatchTheReference) {
    const std::pair<std::int64_t, std::int64_t> lengths[] = {{1, 200},   {17, 65},  {65, 17},
                                                             {200, 129}, {64, 128}, {129, 200},
                                                             {1, 1},     {2, 63},   {150, 16}};
    for (const auto& [queries, keys] : lengths) {
        for (const bool causal : {true, false}) {
            check<Bfloat16>(make_shape(queries, keys, 64, causal, 1, 1));
        }
    }
    check<Float16>(make_shape(129, 200, 96, true, 1, 1));
    check<Float16>(make_shape(200, 63, 256, true, 1, 1));
}

TEST(FlashAttn2, WindowsOfUnequalLengthsMatchTheReference) {
    const std::pair<std::int64_t, std::int64_t> lengths[] = {{1, 300}, {17, 290}, {200, 63}};
    for (const auto& [queries, keys] : lengths) {
        for (const std::int64_t window : {1, 63, 130}) {
            const Shape shape = with_window(make_shape(queries, keys, 64, true, 1, 1), window);
            check<Bfloat16>(shape);
            check_with_atomics<Bfloat16>(shape);
        }
    }
}

TEST(FlashAttn2, AWindowOfAllKeysChangesNoBit) {
    const Shape shape = make_shape(70, 130, 64, true, 2, 1);
    HalfProblem<Bfloat16> without(shape);
    without.run();
    HalfProblem<Bfloat16> with(with_window(shape, 130));
    with.run();
    EXPECT_EQ(with.bits(), without.bits());
}

TEST(FlashAttn2, TheScaleIsFree) {
    Shape shape = with_window(make_shape(70, 130, 64, true, 2, 1), 40);
    for (const double scale : {0.03, 0.4}) {
        shape.scale = scale;
        check<Bfloat16>(shape);
        check_with_atomics<Bfloat16>(shape);
    }
}

TEST(FlashAttn2, GroupedQueriesMatchTheReference) {
    const std::pair<std::int64_t, std::int64_t> heads[] = {{4, 4}, {6, 2}, {4, 1}, {3, 1}};
    for (const auto& [query_heads, kv_heads] : heads) {
        check<Bfloat16>(make_shape(66, 66, 32, true, query_heads, kv_heads, 2));
        check<Float16>(make_shape(40, 70, 128, false, query_heads, kv_heads, 1));
    }
}

TEST(FlashAttn2, LayoutsAreRespected) {
    for (const Layout layout : {Layout::packed, Layout::heads, Layout::padded}) {
        SCOPED_TRACE(static_cast<int>(layout));
        check<Bfloat16>(make_shape(70, 70, 64, true, 4, 2, 2), {.layout = layout});
        check<Float16>(make_shape(33, 33, 96, false, 2, 1, 2), {.layout = layout});
    }
}

TEST(FlashAttn2, PackedGradientsKeepToTheirPlaces) {
    const auto problem =
        check<Bfloat16>(make_shape(40, 40, 64, true, 2, 1, 2), {.layout = Layout::packed});
    // d_q, d_k and d_v fill their common rows; what lies around is poison still.
    const std::vector<Bfloat16> all = problem.d_q.storage->values();
    constexpr auto margin = static_cast<std::size_t>(HalfTensor<Bfloat16>::kMargin);
    for (std::size_t i = 0; i < all.size(); ++i) {
        const bool inside = i >= margin && i < all.size() - margin;
        ASSERT_EQ(all[i].bits == HalfTensor<Bfloat16>::kPoison, !inside) << i;
    }
}

TEST(FlashAttn2, ConstantInputsAverageTheValues) {
    const auto constant = [](Problem<double>& problem) {
        std::fill(problem.q.data.begin(), problem.q.data.end(), 0.5);
        std::fill(problem.k.data.begin(), problem.k.data.end(), 2.0);
        std::fill(problem.v.data.begin(), problem.v.data.end(), 3.0);
    };
    const auto problem =
        check<Bfloat16>(make_shape(100, 100, 64, true, 1, 1), {.change = constant});
    for (std::int64_t i = 0; i < 100; ++i) EXPECT_EQ(problem.exact.o.at(0, i, 0, 7), 3.0);
    check<Float16>(make_shape(100, 100, 128, false, 1, 1), {.change = constant});
}

TEST(FlashAttn2, RowsWithVeryNegativeScoresDoNotOverflow) {
    // Keys past the end score 0: exp(0 - lse) would be infinite for lse < -88.7.
    for (const std::int64_t length : {65, 100}) {
        for (const bool causal : {true, false}) {
            const auto problem = check<Bfloat16>(make_shape(length, length, 64, causal, 2, 1),
                                                 {.change = scores_near(-120, 64)});
            const std::vector<float> lse = problem.lse.values();
            EXPECT_LT(*std::max_element(lse.begin(), lse.end()), -88.7F);
        }
    }
    check<Float16>(make_shape(33, 65, 256, true, 1, 1), {.change = scores_near(-150, 256)});
    check<Float16>(make_shape(65, 33, 96, false, 1, 1), {.change = scores_near(-120, 96)});
}

TEST(FlashAttn2, RowsWithoutKeysAreZeroWithInfiniteLse) {
    for (const std::int64_t head_dim : {64, 256}) {
        const auto problem = check<Bfloat16>(make_shape(170, 40, head_dim, true, 2, 1));
        for (std::int64_t i = 0; i < 130; ++i) {
            EXPECT_EQ(problem.lse[static_cast<std::size_t>(i)],
                      std::numeric_limits<float>::infinity());
            EXPECT_EQ(problem.exact.o.at(0, i, 0, 5), 0.0);
            EXPECT_EQ(problem.exact.d_q.at(0, i, 1, 5), 0.0);
        }
    }
    // No keys at all, and no queries at all.
    HalfProblem<Bfloat16> none(make_shape(20, 0, 64, false, 1, 1));
    none.run();
    EXPECT_EQ(norm(none.exact.o.values()) + norm(none.exact.d_q.values()), 0.0);
    HalfProblem<Bfloat16> no_queries(make_shape(0, 20, 64, true, 1, 1));
    no_queries.run();
    EXPECT_EQ(norm(no_queries.exact.d_k.values()) + norm(no_queries.exact.d_v.values()), 0.0);
}

TEST(FlashAttn2, ABadNumberInAQueryReachesItsOwnRowOnly) {
    for (const double number : {kNan, kInf, -kInf}) {
        for (const bool causal : {true, false}) {
            expect_bad_query_stays_alone(kFlashAttn2, make_shape(80, 80, 32, causal, 2, 1), 37,
                                         number);
        }
    }
}

TEST(FlashAttn2, EveryOrderGivesTheSameBits) {
    for (const Shape& shape : {make_shape(70, 140, 64, true, 2, 1), make_shape(20, 70, 96, true),
                               make_shape(17, 33, 256, false, 1, 1)}) {
        expect_same_bits_in_every_order(kFlashAttn2, shape);
    }
    expect_same_bits_in_every_order(kFlashAttn2,
                                    with_window(make_shape(70, 140, 64, true, 2, 1), 33));
}

}  // namespace
}  // namespace isoflop::test
