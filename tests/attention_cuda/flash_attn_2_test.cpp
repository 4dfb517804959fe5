// flash_attn_2 against the naive reference, over shapes, values and layouts.
#include "attention_cuda/half_problem.hpp"

namespace isoflop::test {
namespace {

using simt::Bfloat16;
using simt::Float16;

template <class T>
void check(const Shape& shape, const HalfOptions& options = {}) {
    SCOPED_TRACE(describe(shape) + ", " + std::string(to_string(kHalfType<T>)));
    HalfProblem<T> problem(shape, options);
    emulator::Session session({.order = emulator::Order::warp_greedy, .count = false});
    problem.run();
    expect_matches(problem.exact, Reference(problem.exact), kHalfTolerance<T>);
    EXPECT_TRUE(problem.surroundings_are_untouched());
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

INSTANTIATE_TEST_SUITE_P(Sizes, FlashAttn2HeadDim, testing::Values(32, 64, 96, 128, 256),
                         testing::PrintToStringParamName());

}  // namespace
}  // namespace isoflop::test
