// What the tests of the ops on GPUs rely on.
#include <algorithm>

#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

class SupportOnGpu : public DeviceOp {};

TEST_F(SupportOnGpu, ScratchBeginsAsNan) {
    std::vector<std::byte> scratch(device::kScratchBytes);
    device_->copy_out(scratch.data(), device_->scratch(), scratch.size());
    EXPECT_EQ(std::ranges::count(scratch, kPoison), std::ssize(scratch));
}

}  // namespace
}  // namespace isoflop::test
