#include "isoflop/device/cuda_library.hpp"

#include <gtest/gtest.h>

#include <set>

namespace isoflop::device {
namespace {

std::string missing(int major, const std::set<std::string>& installed) {
    return missing_cuda_library("libcudart", major,
                                [&](const std::string& name) { return installed.contains(name); });
}

TEST(CudaLibrary, IsThatOfTheMajorVersion) {
    EXPECT_EQ(cuda_library_name("libcublasLt", 12), "libcublasLt.so.12");
    EXPECT_FALSE(can_load("libisoflop_none.so.13"));
    EXPECT_TRUE(can_load("libc.so.6"));
}

TEST(CudaLibrary, OfAnotherVersionIsNamedAndNotTaken) {
    EXPECT_EQ(missing(12, {}), "libcudart.so.12 was not found");
    EXPECT_EQ(missing(12, {"libcudart.so.13"}),
              "libcudart.so.12 was not found; libcudart.so.13 is there, but this program was built "
              "with CUDA 12");
    EXPECT_EQ(missing(13, {"libcudart.so.12"}),
              "libcudart.so.13 was not found; libcudart.so.12 is there, but this program was built "
              "with CUDA 13");
}

}  // namespace
}  // namespace isoflop::device
