// The kernels of sdpa with one step done wrong, in small tiles: each is found, and the same kernels
// with all steps right are not.
#include "attention/emulated/faulty_steps.hpp"
#include "attention/emulated/launch_sdpa.hpp"

namespace isoflop::test {
namespace {

using simt::Bfloat16;

// Two warps, two turns of each and two chunks; several tiles of keys.
template <class Steps>
using Forward = sdpa::ForwardConfig<Bfloat16, 32, 64, 16, 2, Steps>;
template <class Steps>
using Backward = sdpa::BackwardConfig<Bfloat16, 32, 16, 32, 2,
                                      attention::tensor_cores::KeyGradients::both, Steps>;

const Shape kShape = make_shape(70, 83, 32, true, 4, 2);

using Launch = void (*)(HalfProblem<Bfloat16>&);

std::string found(const emulator::Options& options, Launch forward, Launch backward) {
    return found_by_running(kShape, options, [&](HalfProblem<Bfloat16>& p) {
        forward(p);
        launch_row_sums<Bfloat16, 32>(p);
        backward(p);
    });
}

enum class In { both, forward_only, backward_only };

template <class Steps>
void expect_found(In in = In::both) {
    const auto found_in_some_order = [](Launch forward, Launch backward) {
        for (const emulator::Options& options : emulator::all_orders()) {
            if (!found(options, forward, backward).empty()) return true;
        }
        return false;
    };
    if (in != In::backward_only) {
        EXPECT_TRUE(found_in_some_order(launch_sdpa_forward<Forward<Steps>>,
                                        launch_sdpa_backward<Backward<RightSteps>>));
    }
    if (in != In::forward_only) {
        EXPECT_TRUE(found_in_some_order(launch_sdpa_forward<Forward<RightSteps>>,
                                        launch_sdpa_backward<Backward<Steps>>));
    }
}

TEST(SdpaPlantedBugs, NothingIsFoundWithoutOne) {
    for (const emulator::Options& options : emulator::all_orders()) {
        EXPECT_EQ(found(options, launch_sdpa_forward<Forward<RightSteps>>,
                        launch_sdpa_backward<Backward<RightSteps>>),
                  "");
    }
}
TEST(SdpaPlantedBugs, MissingWaitIsFound) {
    expect_found<NoWait>();
    expect_found<NoWaitForOwnCopies>(In::forward_only);
}
TEST(SdpaPlantedBugs, MissingBarriersAreFound) {
    expect_found<NoBarrierBeforeRead>();
    expect_found<NoBarrierBeforeOverwrite>();
    expect_found<NoExchange>(In::backward_only);
}
TEST(SdpaPlantedBugs, WrongMasksAreFound) {
    expect_found<MaskOffByOne>();
    expect_found<MaskWithoutLengthDifference>();
}
TEST(SdpaPlantedBugs, WrongFragmentsAreFound) {
    expect_found<SwappedLanes>();
    expect_found<NotTransposed>();
}
TEST(SdpaPlantedBugs, WrongGroupsOfHeadsAreFound) {
    expect_found<InterleavedHeads>();
}

}  // namespace
}  // namespace isoflop::test
