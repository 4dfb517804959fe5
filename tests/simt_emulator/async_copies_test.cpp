// cp.async: planted bugs, and what arrives.
#include <numeric>

#include "simt_emulator/test_support.hpp"

namespace isoflop::emulator {
namespace {

using simt::Global;

enum class Bug { none, no_wait, no_barrier, wait_for_too_few, overwritten };

/// Rounds of 32 x 4 floats through two buffers: one is filled while the other is read by the lanes
/// in reverse.
template <Bug bug>
SIMT_KERNEL void pipeline(Global<float> out, Global<const float> in, int rounds) {
    SIMT_SHARED_ARRAY(float, buffers, 2 * 128);
    const int lane = simt::thread_index().x;
    const auto copy = [&](int round) {
        const int buffer = 128 * (round % 2);
        if (round < rounds) {
            simt::cp_async_16(buffers + (buffer + 4 * lane), in + (128 * round + 4 * lane));
        }
        simt::cp_async_commit();
    };
    copy(0);
    for (int round = 0; round < rounds; ++round) {
        copy(round + 1);
        if (bug == Bug::wait_for_too_few) {
            simt::cp_async_wait<2>();
        } else if (bug != Bug::no_wait) {
            simt::cp_async_wait<1>();
        }
        if (bug != Bug::no_barrier) simt::sync_threads();
        for (int i = 0; i < 4; ++i) {
            const int element = 32 * i + 31 - lane;
            simt::store(out + (128 * round + element),
                        simt::load(buffers + (128 * (round % 2) + element)));
        }
        if (bug != Bug::overwritten) simt::sync_threads();
    }
    simt::cp_async_wait_all();
}

struct PipelineRun {
    GlobalArray<float> in = [] {
        std::vector<float> values(128 * 5);
        std::iota(values.begin(), values.end(), 1.0F);
        return GlobalArray<float>(values);
    }();
    GlobalArray<float> out{128 * 5};
    const simt::Launch how{.name = "pipeline", .block = {32}};
};

TEST(AsyncCopies, PipelineDeliversItsData) {
    PipelineRun run;
    expect_no_fault([&] { simt::launch(run.how, pipeline<Bug::none>, run.out, run.in, 5); });
    EXPECT_EQ(run.out.values(), run.in.values());
}

TEST(AsyncCopies, MissingWaitIsFound) {
    PipelineRun run;
    expect_fault(FaultKind::async_read_before_wait,
                 {"before the cp.async has been waited for", "began to copy into it"},
                 [&] { simt::launch(run.how, pipeline<Bug::no_wait>, run.out, run.in, 5); });
}

TEST(AsyncCopies, WaitForTooFewGroupsIsFound) {
    PipelineRun run;
    expect_fault(FaultKind::async_read_before_wait, {"of buffers"}, [&] {
        simt::launch(run.how, pipeline<Bug::wait_for_too_few>, run.out, run.in, 5);
    });
}

/// Which of two threads comes first, and so what the later one finds, depends on the order.
void expect_one_of(const std::vector<FaultKind>& kinds,
                   void (*kernel)(Global<float>, Global<const float>, int)) {
    PipelineRun run;
    for (const Options& options : all_orders()) {
        const Outcome outcome =
            outcome_of(options, [&] { simt::launch(run.how, kernel, run.out, run.in, 5); });
        ASSERT_TRUE(outcome.kind.has_value());
        EXPECT_THAT(kinds, testing::Contains(*outcome.kind)) << outcome.message;
    }
}

TEST(AsyncCopies, WaitCoversOnlyTheOwnCopies) {
    expect_one_of(
        {FaultKind::shared_race, FaultKind::async_read_before_wait, FaultKind::unwritten_read},
        pipeline<Bug::no_barrier>);
}

TEST(AsyncCopies, CopyIntoDataStillReadIsFound) {
    expect_one_of({FaultKind::shared_race, FaultKind::async_read_before_wait},
                  pipeline<Bug::overwritten>);
}

template <bool after_wait>
SIMT_KERNEL void store_beside_copy(Global<float> out, Global<const float> in) {
    SIMT_SHARED_ARRAY(float, tile, 4);
    simt::cp_async_16(tile, in);
    if (after_wait) simt::cp_async_wait_all();
    simt::store(tile + 1, 7.0F);
    simt::cp_async_wait_all();
    simt::store(out, simt::load(tile + 1));
}

TEST(AsyncCopies, StoreIntoACopyUnderWayIsFound) {
    GlobalArray<float> out(1);
    const GlobalArray<float> in(4, 1.0F);
    const simt::Launch how{.name = "beside"};
    expect_fault(FaultKind::shared_race, {"writes byte 4 of tile", "began to copy into it"},
                 [&] { simt::launch(how, store_beside_copy<false>, out, in); });
    expect_no_fault([&] { simt::launch(how, store_beside_copy<true>, out, in); });
    EXPECT_EQ(out[0], 7.0F);
}

SIMT_KERNEL void copy_tail(Global<float> out, Global<const float> in, int shift, int bytes) {
    SIMT_SHARED_ARRAY(float, tile, 8);
    simt::cp_async_16(tile + shift, in, bytes);
    simt::cp_async_commit();
    simt::cp_async_wait<0>();
    simt::store_vector(out, simt::load_vector(tile + shift));
}

TEST(AsyncCopies, BytesPastTheSourceAreZero) {
    GlobalArray<float> out(4, -1.0F);
    const GlobalArray<float> in(3, 5.0F);
    simt::launch({.name = "tail"}, copy_tail, out, in, 0, 12);
    EXPECT_EQ(out.values(), (std::vector<float>{5.0F, 5.0F, 5.0F, 0.0F}));
    simt::launch({.name = "tail"}, copy_tail, out, in, 0, 0);
    EXPECT_EQ(out.values(), (std::vector<float>(4, 0.0F)));
}

TEST(AsyncCopies, AddressesAreChecked) {
    GlobalArray<float> out(4);
    const GlobalArray<float> in(3, 5.0F);
    expect_fault(FaultKind::out_of_bounds, {"16 bytes at byte 0 of global memory of 12 bytes"},
                 [&] { simt::launch({.name = "tail"}, copy_tail, out, in, 0, 16); });
    expect_fault(FaultKind::misaligned, {"4 bytes past"},
                 [&] { simt::launch({.name = "tail"}, copy_tail, out, in, 1, 12); });
    expect_fault(FaultKind::out_of_bounds, {"of tile, which has 32"},
                 [&] { simt::launch({.name = "tail"}, copy_tail, out, in, 8, 12); });
}

}  // namespace
}  // namespace isoflop::emulator
