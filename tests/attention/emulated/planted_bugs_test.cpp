// Kernels with one step done wrong, in small tiles: each is found, by the emulator or by its
// result, and the same kernels with all steps right are not.
#include "attention/emulated/faulty_steps.hpp"
#include "attention/emulated/launch_kernels.hpp"

namespace isoflop::test {
namespace {

using simt::Bfloat16;
using Right = RightSteps;

// Two warps, and more tiles than stages.
template <class Steps>
using Forward = kernels::ForwardConfig<Bfloat16, 32, 32, 16, 2, Steps>;
template <class Steps>
using QueryGradient = kernels::QueryGradientConfig<Bfloat16, 32, 32, 16, 2, Steps>;
template <class Steps>
using KeyGradients =
    kernels::KeyGradientsConfig<Bfloat16, 32, 16, 32, 2, kernels::KeyGradients::both, Steps>;

template <class Steps>
using AtomicGradients = kernels::KeyGradientsConfig<Bfloat16, 32, 16, 32, 2,
                                                    kernels::KeyGradients::both_and_queries, Steps>;

const Shape kShape = make_shape(70, 83, 32, true, 4, 2);

template <class Steps>
struct Kernels {
    static void forward(HalfProblem<Bfloat16>& p) { launch_forward<Forward<Steps>>(p); }
    static void query_gradient(HalfProblem<Bfloat16>& p) {
        launch_query_gradient<QueryGradient<Steps>>(p);
    }
    static void key_gradients(HalfProblem<Bfloat16>& p) {
        launch_key_gradients<KeyGradients<Steps>>(p);
    }
    /// All gradients, those of queries last.
    static void atomic_gradients(HalfProblem<Bfloat16>& p) {
        emulator::GlobalArray<float> sums(p.lse.size() * 32);
        launch_row_sums<Bfloat16, 32>(p, sums);
        launch_key_gradients<AtomicGradients<Steps>>(p, sums);
        launch_round<Bfloat16, 32>(p, sums);
    }
};

using Launch = void (*)(HalfProblem<Bfloat16>&);

/// "" if nothing is found.
std::string found(const emulator::Options& options, Launch forward, Launch query, Launch key) {
    return found_by_running(kShape, options, [&](HalfProblem<Bfloat16>& p) {
        forward(p);
        launch_row_sums<Bfloat16, 32>(p);
        query(p);
        key(p);
    });
}

/// `atomic`: also in the kernel that adds d_q atomically.
template <class Steps>
void expect_found(bool atomic = true) {
    using Good = Kernels<Right>;
    using Bad = Kernels<Steps>;
    const auto found_in_some_order = [](Launch forward, Launch query, Launch key) {
        for (const emulator::Options& options : emulator::all_orders()) {
            if (!found(options, forward, query, key).empty()) return true;
        }
        return false;
    };
    EXPECT_TRUE(found_in_some_order(Bad::forward, Good::query_gradient, Good::key_gradients));
    EXPECT_TRUE(found_in_some_order(Good::forward, Bad::query_gradient, Good::key_gradients));
    EXPECT_TRUE(found_in_some_order(Good::forward, Good::query_gradient, Bad::key_gradients));
    if (!atomic) return;
    EXPECT_TRUE(found_in_some_order(Good::forward, Good::query_gradient, Bad::atomic_gradients));
}

TEST(FlashAttn2PlantedBugs, NothingIsFoundWithoutOne) {
    using Good = Kernels<Right>;
    for (const emulator::Options& options : emulator::all_orders()) {
        EXPECT_EQ(found(options, Good::forward, Good::query_gradient, Good::key_gradients), "");
        EXPECT_EQ(found(options, Good::forward, Good::query_gradient, Good::atomic_gradients), "");
    }
}
TEST(FlashAttn2PlantedBugs, MissingBarrierBetweenWarpsIsFound) {
    using Good = Kernels<Right>;
    for (const emulator::Options& options : emulator::all_orders()) {
        EXPECT_THAT(found(options, Good::forward, Good::query_gradient,
                          Kernels<NoExchange>::atomic_gradients),
                    testing::HasSubstr("reads byte"));
    }
}
TEST(FlashAttn2PlantedBugs, MissingWaitIsFound) {
    expect_found<NoWait>();
}
TEST(FlashAttn2PlantedBugs, MissingBarrierBeforeReadIsFound) {
    expect_found<NoBarrierBeforeRead>();
}
TEST(FlashAttn2PlantedBugs, MissingBarrierBeforeOverwriteIsFound) {
    // Where d_q is added atomically the barrier of the exchange orders it too.
    expect_found<NoBarrierBeforeOverwrite>(false);
}
TEST(FlashAttn2PlantedBugs, MaskOffByOneIsFound) {
    expect_found<MaskOffByOne>();
}
TEST(FlashAttn2PlantedBugs, MaskThatForgetsTheLengthDifferenceIsFound) {
    expect_found<MaskWithoutLengthDifference>();
}
TEST(FlashAttn2PlantedBugs, SwappedLanesAreFound) {
    expect_found<SwappedLanes>();
}
TEST(FlashAttn2PlantedBugs, MissingTransposeIsFound) {
    expect_found<NotTransposed>();
}
TEST(FlashAttn2PlantedBugs, WrongGroupsOfHeadsAreFound) {
    expect_found<InterleavedHeads>();
}

}  // namespace
}  // namespace isoflop::test
