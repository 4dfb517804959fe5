// Memory, copies and recordings of a CudaDevice, with the work of its streams as late as possible.
#include <numeric>
#include <stdexcept>

#include "device/recording/recording_test.hpp"

namespace isoflop::test {
namespace {

using device::DeviceBuffer;
using testing::Each;
using testing::ElementsAre;

std::vector<float> counted(std::size_t size, float first) {
    std::vector<float> values(size);
    std::iota(values.begin(), values.end(), first);
    return values;
}

class RecordingDevice : public RecordingTest {};

TEST_F(RecordingDevice, UploadsKeepDataThatTheHostReuses) {
    const DeviceBuffer small(device(), 64 * sizeof(float));
    const DeviceBuffer large(device(), 6ULL << 20U);
    std::vector<DeviceBuffer> kept;
    std::vector<float> host(64);
    for (int i = 0; i < 300; ++i) {  // more than the ring has parts
        std::fill(host.begin(), host.end(), static_cast<float>(i));
        kept.emplace_back(device(), 64 * sizeof(float));
        device().copy_in(kept.back().data(), host.data(), kept.back().size());
    }
    std::vector<float> big = counted((6U << 20U) / sizeof(float), 1);
    device().copy_in(large.data(), big.data(), large.size());
    std::fill(big.begin(), big.end(), 0.0F);
    for (std::size_t i = 0; i < kept.size(); ++i)
        ASSERT_THAT(download(kept[i]), Each(static_cast<float>(i)));
    EXPECT_EQ(download(large), counted((6U << 20U) / sizeof(float), 1));
}

TEST_F(RecordingDevice, CopiesAndZeroesInOrder) {
    const DeviceBuffer a = upload(counted(4, 1));
    const DeviceBuffer b(device(), a.size());
    EXPECT_THAT(download(b), Each(0)) << "new memory";
    device().copy(b.data(), a.data(), a.size());
    device().fill_zero(a.data(), a.size());
    EXPECT_THAT(download(b), ElementsAre(1, 2, 3, 4));
    EXPECT_THAT(download(a), Each(0));
}

TEST_F(RecordingDevice, RecordsOnceAndLaunchesOften) {
    const DeviceBuffer a = upload(counted(4, 1));
    const DeviceBuffer b(device(), a.size());
    ASSERT_TRUE(device().begin_capture());
    device().copy(b.data(), a.data(), a.size());
    const auto graph = device().end_capture();
    EXPECT_THAT(download(b), Each(0)) << "recorded, not done";
    for (const float first : {5.0F, 9.0F}) {
        const std::vector<float> values = counted(4, first);
        device().copy_in(a.data(), values.data(), a.size());
        graph->launch();
        EXPECT_EQ(download(b), values);
    }
}

TEST_F(RecordingDevice, RefusesWhatCannotBeRecorded) {
    const DeviceBuffer a = upload(counted(4, 1));
    std::vector<float> host(4);
    ASSERT_TRUE(device().begin_capture());
    EXPECT_THROW(device().synchronize(), std::logic_error);
    EXPECT_THROW(device().copy_in(a.data(), host.data(), a.size()), std::logic_error);
    EXPECT_THROW(device().copy_out(host.data(), a.data(), a.size()), std::logic_error);
    EXPECT_THROW((void)device().allocate(16), std::logic_error);
    (void)device().end_capture();
}

TEST_F(RecordingDevice, EndsWhileItRecords) {
    ASSERT_TRUE(device().begin_capture());
}

}  // namespace
}  // namespace isoflop::test
