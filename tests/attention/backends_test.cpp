// All backends against the naive reference over shapes: every edge of a tile, a vector and a block.
#include "../../include/isoflop/device/instruction_set.hpp"
#include "attention_problem.hpp"

namespace isoflop::test {
namespace {

template <class T>
void check_all_backends(const Shape& shape, const Reference& reference,
                        const Tolerance& tolerance) {
    for (const AttentionBackend backend : kAllBackends) {
        SCOPED_TRACE(std::string(to_string(backend)) + ": " + describe(shape));
        Problem<T> problem(shape);
        // Outputs are overwritten: what was there before must not matter, not even when it is no
        // number.
        for (auto* tensor : {&problem.o, &problem.d_q, &problem.d_k, &problem.d_v}) {
            for (std::size_t i = 0; i < tensor->data.size(); ++i) {
                const auto in_row = static_cast<std::int64_t>(i) % tensor->token_stride;
                if (in_row < tensor->heads * tensor->head_dim)
                    tensor->data[i] = std::numeric_limits<T>::quiet_NaN();
            }
        }
        problem.run(backend, 2);
        expect_matches(problem, reference, tolerance);
    }
}

/// Inputs are representable in float, so one reference serves both types.
void check_both_types(const Shape& shape) {
    const Reference reference{Problem<double>(shape)};
    check_all_backends<float>(shape, reference, kFloatTolerance);
    check_all_backends<double>(shape, reference, kDoubleTolerance);
}

class AttentionHeadDim : public testing::TestWithParam<std::int64_t> {};

TEST_P(AttentionHeadDim, AllLengthsMatchTheReference) {
    for (const std::int64_t length : {1, 2, 15, 16, 17, 63, 64, 65, 127, 129, 200}) {
        for (const bool causal : {true, false})
            check_both_types(make_shape(length, length, GetParam(), causal));
    }
}

INSTANTIATE_TEST_SUITE_P(Sizes, AttentionHeadDim, testing::Values(1, 8, 32, 64, 80, 96, 128, 256),
                         testing::PrintToStringParamName());

class AttentionWindow : public testing::TestWithParam<std::int64_t> {};

TEST_P(AttentionWindow, LengthsBelowAtAndAboveItMatchTheReference) {
    const std::int64_t window = GetParam();
    for (const std::int64_t length :
         {window - 1, window, window + 1, std::int64_t{130}, std::int64_t{200}}) {
        if (length > 0) check_both_types(with_window(make_shape(length, length, 24), window));
    }
    check_both_types(with_window(make_shape(70, 70, 32, true, 6, 2, 2), window));
    check_both_types(with_window(make_shape(1, 200, 16), window));
    check_both_types(with_window(make_shape(17, 150, 16), window));
    check_both_types(with_window(make_shape(150, 40, 16), window));
    check_both_types(with_window(make_shape(1200, 1200, 8, true, 1, 1), window));
    check_both_types(with_window(make_shape(300, 300, 136, true, 1, 1), window));
}

INSTANTIATE_TEST_SUITE_P(Sizes, AttentionWindow, testing::Values(1, 2, 63, 64, 65, 100, 600),
                         testing::PrintToStringParamName());

TEST(AttentionBackends, AWindowOfAllKeysChangesNoBit) {
    for (const AttentionBackend backend : kAllBackends) {
        const Shape shape = make_shape(100, 130, 24, true, 4, 2);
        Problem<float> without(shape);
        without.run(backend);
        Problem<float> with(with_window(shape, 130));
        with.run(backend);
        EXPECT_EQ(with.o.data, without.o.data);
        EXPECT_EQ(with.d_q.data, without.d_q.data);
        EXPECT_EQ(with.d_k.data, without.d_k.data);
        EXPECT_EQ(with.d_v.data, without.d_v.data);
    }
}

TEST(AttentionBackends, SoftCapsAndScalesMatchTheReference) {
    for (const double cap : {0.5, 2.0, 50.0}) {
        for (const bool causal : {true, false}) {
            Shape shape = make_shape(130, 130, 32, causal, 4, 2);
            shape.soft_cap = cap;
            shape.scale = 0.7;
            check_both_types(shape);
        }
        Shape shape = with_window(make_shape(90, 150, 24), 33);
        shape.soft_cap = cap;
        check_both_types(shape);
    }
}

/// A decoding step sees what the same query sees among all queries.
TEST(AttentionBackends, ALastQueryAloneGivesTheSameOutput) {
    for (const AttentionBackend backend : kAllBackends) {
        for (const std::int64_t window : {1, 64, 65, 0}) {
            Shape shape = with_window(make_shape(150, 150, 24, true, 4, 2), window);
            shape.soft_cap = 3;
            shape.scale = 0.4;
            Problem<double> all(shape);
            all.run(backend);
            shape.query_length = 1;
            Problem<double> last(shape);
            last.k = all.k;
            last.v = all.v;
            for (std::int64_t head = 0; head < 4; ++head) {
                for (std::int64_t i = 0; i < 24; ++i)
                    last.q.at(0, 0, head, i) = all.q.at(0, 149, head, i);
            }
            last.run(backend);
            for (std::int64_t head = 0; head < 4; ++head) {
                for (std::int64_t i = 0; i < 24; ++i)
                    EXPECT_NEAR(last.o.at(0, 0, head, i), all.o.at(0, 149, head, i), 1e-14);
            }
        }
    }
}

TEST(AttentionBackends, WindowsAndCapsThatMeanNothingAreRefused) {
    for (const AttentionBackend backend : kAllBackends) {
        EXPECT_THROW(Problem<float>(with_window(make_shape(5, 5, 8), -1)).run(backend),
                     std::invalid_argument);
        EXPECT_THROW(Problem<float>(with_window(make_shape(5, 5, 8, false), 3)).run(backend),
                     std::invalid_argument);
        Shape shape = make_shape(5, 5, 8);
        shape.soft_cap = -1;
        EXPECT_THROW(Problem<float>(shape).run(backend), std::invalid_argument);
        shape.soft_cap = std::numeric_limits<double>::infinity();
        EXPECT_THROW(Problem<float>(shape).run(backend), std::invalid_argument);
    }
}

TEST(AttentionBackends, UnequalLengthsMatchTheReference) {
    const std::pair<std::int64_t, std::int64_t> lengths[] = {
        {1, 200},  {17, 65},   {65, 17},   {200, 129}, {129, 200}, {64, 128},
        {128, 64}, {130, 700}, {700, 130}, {300, 600}, {600, 300}};
    for (const auto& [queries, keys] : lengths) {
        for (const bool causal : {true, false})
            check_both_types(make_shape(queries, keys, 24, causal));
    }
}

TEST(AttentionBackends, GroupedQueriesMatchTheReference) {
    const std::pair<std::int64_t, std::int64_t> heads[] = {{1, 1}, {4, 4}, {6, 2}, {4, 1}, {3, 1}};
    for (const auto& [query_heads, kv_heads] : heads) {
        for (const bool causal : {true, false}) {
            check_both_types(make_shape(70, 70, 32, causal, query_heads, kv_heads, 2));
        }
    }
}

TEST(AttentionBackends, ManyBlocksMatchTheReference) {
    check_both_types(make_shape(1100, 1100, 8, true, 1, 1));
    check_both_types(make_shape(1100, 1100, 8, false, 1, 1));
    check_both_types(make_shape(300, 300, 136, true, 1, 1));  // blocks of 128 above head_dim 128
}

TEST(AttentionBackends, ManualHandlesHeadsWiderThanFusedBackendsDo) {
    Problem<float> problem(make_shape(40, 40, 320));
    problem.run(AttentionBackend::manual);
    expect_matches(problem, Reference(problem), kFloatTolerance);
}

TEST(AttentionBackends, DenseRowsMatchTheReference) {
    const Shape shape = make_shape(130, 130, 64);
    for (const AttentionBackend backend : kAllBackends) {
        Problem<float> problem(shape, 1, 0);
        problem.run(backend);
        expect_matches(problem, Reference(problem), kFloatTolerance);
    }
}

TEST(AttentionBackends, AgreeWithEachOtherInSinglePrecision) {
    const Shape shape = make_shape(257, 257, 64, true, 4, 2, 2);
    Problem<float> manual(shape);
    manual.run(AttentionBackend::manual);
    for (const AttentionBackend backend :
         {AttentionBackend::flash_attn_2, AttentionBackend::sdpa}) {
        Problem<float> fused(shape);
        fused.run(backend);
        EXPECT_LE(relative_error(fused.o.values(), manual.o.values()), 2e-6);
        EXPECT_LE(relative_error(fused.d_q.values(), manual.d_q.values()), 2e-6);
        EXPECT_LE(relative_error(fused.d_k.values(), manual.d_k.values()), 2e-6);
        EXPECT_LE(relative_error(fused.d_v.values(), manual.d_v.values()), 2e-6);
    }
}

TEST(AttentionBackends, EmptyShapesAreNoWork) {
    for (const AttentionBackend backend : kAllBackends) {
        Problem<double>(make_shape(0, 0, 16)).run(backend);
        Problem<double>(make_shape(0, 5, 16)).run(backend);
        Problem<double> no_keys(make_shape(5, 0, 16));
        no_keys.run(backend);
        expect_matches(no_keys, Reference(no_keys), kDoubleTolerance);
    }
}

TEST(AttentionBackends, EveryInstructionSetMatchesTheReference) {
    const device::InstructionSet best = device::best_instruction_set();
    for (const auto set : {device::InstructionSet::generic, device::InstructionSet::avx2,
                           device::InstructionSet::avx512}) {
        if (set > best) continue;
        device::force_instruction_set(set);
        SCOPED_TRACE(std::string(device::name(set)));
        check_both_types(make_shape(150, 150, 72));
        check_both_types(make_shape(33, 97, 5));
        check_both_types(with_window(make_shape(150, 150, 72), 65));
    }
    device::force_instruction_set(best);
}

/// Rows of every number of threads are equal to the last bit.
TEST(AttentionBackends, BitsDoNotDependOnTheNumberOfThreads) {
    for (const Shape& shape :
         {make_shape(600, 600, 40, true, 2, 1), make_shape(300, 530, 16, false, 4, 2, 2)}) {
        for (const AttentionBackend backend : kAllBackends) {
            Problem<float> one(shape);
            one.run(backend, 1);
            for (const int threads : {2, 3}) {
                Problem<float> many(shape);
                many.run(backend, threads);
                EXPECT_EQ(one.o.data, many.o.data);
                EXPECT_EQ(one.lse, many.lse);
                EXPECT_EQ(one.d_q.data, many.d_q.data);
                EXPECT_EQ(one.d_k.data, many.d_k.data);
                EXPECT_EQ(one.d_v.data, many.d_v.data);
            }
        }
    }
}

}  // namespace
}  // namespace isoflop::test
