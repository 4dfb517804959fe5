// The kernels of sdpa against the naive reference, over shapes, values and layouts.
#include "attention/emulated/sdpa_problem.hpp"

namespace isoflop::test {
namespace {

using simt::Bfloat16;
using simt::Float16;

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
constexpr double kInf = std::numeric_limits<double>::infinity();

const FusedAttention& attention_of_sdpa() {
    static const FusedAttention attention = sdpa_attention();
    return attention;
}

template <class T>
HalfProblem<T> check(const Shape& shape, const HalfOptions& options = {}) {
    return check_fused<T>(attention_of_sdpa(), shape, options);
}

class SdpaHeadDim : public testing::TestWithParam<std::int64_t> {};

TEST_P(SdpaHeadDim, LengthsAroundTilesMatchTheReference) {
    const std::int64_t head_dim = GetParam();
    for (const std::int64_t length : {1, 17, 65, 129, 200}) {
        check<Bfloat16>(make_shape(length, length, head_dim, true, 2, 1));
    }
    for (const std::int64_t length : {2, 15, 16, 63, 64, 127}) {
        check<Float16>(make_shape(length, length, head_dim, length % 2 == 0, 1, 1));
    }
}

TEST_P(SdpaHeadDim, SaturatedSoftmaxMatchesTheReference) {
    check<Bfloat16>(make_shape(97, 150, GetParam(), false, 1, 1), {.amplitude = 8});
    check<Float16>(make_shape(97, 97, GetParam(), true, 1, 1), {.amplitude = 8});
}

TEST_P(SdpaHeadDim, WindowsMatchTheReference) {
    const std::int64_t head_dim = GetParam();
    for (const std::int64_t window : {1, 64, 65}) {
        check<Bfloat16>(with_window(make_shape(300, 300, head_dim, true, 1, 1), window));
    }
    for (const std::int64_t length : {62, 63, 64}) {
        check<Float16>(with_window(make_shape(length, length, head_dim, true, 4, 2), 63));
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, SdpaHeadDim, testing::Values(32, 64, 96, 128, 256),
                         testing::PrintToStringParamName());

TEST(Sdpa, UnequalLengthsMatchTheReference) {
    const std::pair<std::int64_t, std::int64_t> lengths[] = {{1, 200},   {17, 65}, {65, 17},
                                                             {200, 129}, {1, 1},   {150, 16}};
    for (const auto& [queries, keys] : lengths) {
        for (const bool causal : {true, false}) {
            check<Bfloat16>(make_shape(queries, keys, 64, causal, 1, 1));
        }
    }
    check<Float16>(make_shape(200, 63, 256, true, 1, 1));
}

TEST(Sdpa, WindowsOfUnequalLengthsMatchTheReference) {
    const std::pair<std::int64_t, std::int64_t> lengths[] = {{1, 300}, {17, 290}, {200, 63}};
    for (const auto& [queries, keys] : lengths) {
        for (const std::int64_t window : {1, 63, 130}) {
            check<Bfloat16>(with_window(make_shape(queries, keys, 64, true, 1, 1), window));
        }
    }
    Shape scaled = with_window(make_shape(70, 130, 64, true, 2, 1), 40);
    scaled.scale = 0.3;
    check<Bfloat16>(scaled);
}

TEST(Sdpa, WindowsOfSeveralChunksMatchTheReference) {
    check<Bfloat16>(with_window(make_shape(1100, 1100, 32, true, 1, 1), 65));
    check<Float16>(with_window(make_shape(600, 600, 32, true, 1, 1), 300));
}

TEST(Sdpa, AWindowOfAllKeysChangesNoBit) {
    const Shape shape = make_shape(70, 130, 64, true, 2, 1);
    HalfProblem<Bfloat16> without(shape);
    without.run(attention_of_sdpa());
    HalfProblem<Bfloat16> with(with_window(shape, 130));
    with.run(attention_of_sdpa());
    EXPECT_EQ(with.bits(), without.bits());
}

TEST(Sdpa, SeveralChunksOfQueriesMatchTheReference) {
    check<Bfloat16>(make_shape(530, 140, 32, true, 1, 1));
    check<Float16>(make_shape(270, 70, 256, false, 1, 1));
}

TEST(Sdpa, GroupedQueriesMatchTheReference) {
    const std::pair<std::int64_t, std::int64_t> heads[] = {{4, 4}, {6, 2}, {4, 1}, {3, 1}};
    for (const auto& [query_heads, kv_heads] : heads) {
        check<Bfloat16>(make_shape(66, 66, 32, true, query_heads, kv_heads, 2));
        check<Float16>(make_shape(40, 70, 128, false, query_heads, kv_heads, 1));
    }
}

TEST(Sdpa, LayoutsAreRespected) {
    for (const Layout layout : {Layout::packed, Layout::heads, Layout::padded}) {
        SCOPED_TRACE(static_cast<int>(layout));
        check<Bfloat16>(make_shape(70, 70, 64, true, 2, 1, 2), {.layout = layout});
        check<Float16>(make_shape(33, 33, 96, false, 2, 1, 2), {.layout = layout});
    }
}

TEST(Sdpa, RowsWithVeryNegativeScoresDoNotOverflow) {
    for (const bool causal : {true, false}) {
        const auto problem = check<Bfloat16>(make_shape(65, 65, 64, causal, 2, 1),
                                             {.change = scores_near(-120, 64)});
        const std::vector<float> lse = problem.lse.values();
        EXPECT_LT(*std::max_element(lse.begin(), lse.end()), -88.7F);
    }
    check<Float16>(make_shape(33, 65, 256, true, 1, 1), {.change = scores_near(-150, 256)});
    check<Float16>(make_shape(65, 33, 96, false, 1, 1), {.change = scores_near(-120, 96)});
}

TEST(Sdpa, RowsWithoutKeysAreZeroWithInfiniteLse) {
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
    none.run(attention_of_sdpa());
    EXPECT_EQ(norm(none.exact.o.values()) + norm(none.exact.d_q.values()), 0.0);
    HalfProblem<Bfloat16> no_queries(make_shape(0, 20, 64, true, 1, 1));
    no_queries.run(attention_of_sdpa());
    EXPECT_EQ(norm(no_queries.exact.d_k.values()) + norm(no_queries.exact.d_v.values()), 0.0);
}

TEST(Sdpa, ABadNumberInAQueryReachesItsOwnRowOnly) {
    for (const double number : {kNan, kInf, -kInf}) {
        expect_bad_query_stays_alone(attention_of_sdpa(), make_shape(80, 140, 32, number < 0, 2, 1),
                                     37, number);
    }
}

TEST(Sdpa, EveryOrderGivesTheSameBits) {
    expect_same_bits_in_every_order(attention_of_sdpa(), make_shape(40, 140, 64, true, 2, 1));
    expect_same_bits_in_every_order(attention_of_sdpa(), make_shape(17, 70, 256, false, 1, 1));
    expect_same_bits_in_every_order(attention_of_sdpa(),
                                    with_window(make_shape(30, 300, 64, true, 2, 1), 33));
}

TEST(Sdpa, ScratchMemoryMayBeSmall) {
    const Shape shape = make_shape(40, 140, 64, true, 4, 2, 2);
    HalfProblem<Bfloat16> expected(shape);
    expected.run(attention_of_sdpa());
    // Of 8 heads forward, three at a time; of 4 groups backward, all.
    HalfProblem<Bfloat16> problem(shape);
    problem.run(sdpa_attention(3 * 147456));
    EXPECT_EQ(problem.bits(), expected.bits());
    // Backward one at a time.
    attention::ForwardArguments unused;
    const FusedAttention small = sdpa_attention(cost::sdpa_scratch_bytes(shape.size()));
    problem.o.copy_from(expected.exact.o);
    small.backward(shape, problem.backward_arguments());
    problem.read_results();
    EXPECT_EQ(problem.bits(), expected.bits());
}

TEST(Sdpa, ScratchMemoryThatIsTooSmallIsRefused) {
    const Shape shape = make_shape(40, 40, 64, true, 4, 2);
    HalfProblem<Bfloat16> problem(shape);
    const FusedAttention tiny = sdpa_attention(1024);
    const auto message = [](const auto& run) -> std::string {
        try {
            run();
        } catch (const std::invalid_argument& error) {
            return error.what();
        }
        return "accepted";
    };
    EXPECT_THAT(message([&] { tiny.forward(shape, problem.forward_arguments()); }),
                testing::HasSubstr("scratch memory has 1 MiB"));
    EXPECT_THAT(message([&] { tiny.backward(shape, problem.backward_arguments()); }),
                testing::HasSubstr("sdpa on cuda: the sums of one block take 1 MiB"));
}

}  // namespace
}  // namespace isoflop::test
