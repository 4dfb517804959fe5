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
