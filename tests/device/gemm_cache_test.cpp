#include "device/gemm_cache.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

namespace isoflop::device {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;

class GemmCacheFile : public testing::Test {
protected:
    GemmCacheFile()
        : path_(std::filesystem::path(testing::TempDir()) /
                (std::string("gemm_cache_") +
                 testing::UnitTest::GetInstance()->current_test_info()->name())) {
        std::filesystem::remove(path_);
    }
    ~GemmCacheFile() override { std::filesystem::remove(path_); }

    [[nodiscard]] GemmCache open(const std::string& device = "GPU A",
                                 const std::string& library = "library 1") const {
        return GemmCache(path_, {.device = device, .library = library});
    }
    [[nodiscard]] std::string content() const {
        std::ifstream in(path_);
        return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    }
    void overwrite(const std::string& text) const { std::ofstream(path_) << text; }

    const std::filesystem::path path_;
    const GemmProblem problem_{.m = 512, .n = 768, .k = 3072, .lda = 3072, .ldb = 768, .ldc = 768};
    const MeasuredAlgorithm measured_{.algorithm = {1, 0xFEDCBA9876543210U, 3, 4, 5, 6, 7, ~0ULL},
                                      .seconds = 0.00125};
};

TEST_F(GemmCacheFile, KeepsMeasurements) {
    open().add(problem_, measured_);
    GemmCache again = open();
    EXPECT_EQ(again.find(problem_), measured_);
    EXPECT_THAT(again.take_complaint(), IsEmpty());
    GemmProblem other = problem_;
    other.ldc = 769;
    EXPECT_FALSE(again.find(other).has_value());
    again.add(other, measured_);
    EXPECT_EQ(open().find(problem_), measured_);
    EXPECT_EQ(open().find(other), measured_);
}

TEST_F(GemmCacheFile, HoldsForItsDeviceAndLibraryOnly) {
    open().add(problem_, measured_);
    for (GemmCache other : {open("GPU B"), open("GPU A", "library 2")}) {
        EXPECT_FALSE(other.find(problem_).has_value());
        EXPECT_THAT(other.take_complaint(), IsEmpty());
    }
}

TEST_F(GemmCacheFile, IgnoresADamagedFileWithAComplaint) {
    open().add(problem_, measured_);
    const std::string good = content();
    ASSERT_THAT(good, HasSubstr("bf16 NN 512x768x3072 ld 3072 768 768"));
    std::string flipped = good;
    flipped[good.find("fedcba")] = '0';
    for (const std::string& bad :
         {flipped, good.substr(0, good.size() / 2), std::string("something else\n"), std::string(),
          good + "more\n"}) {
        overwrite(bad);
        GemmCache cache = open();
        EXPECT_FALSE(cache.find(problem_).has_value()) << bad;
        EXPECT_THAT(cache.take_complaint(), HasSubstr("is ignored")) << bad;
        EXPECT_THAT(cache.take_complaint(), IsEmpty());
    }
    open().add(problem_, measured_);  // and begins it again
    EXPECT_EQ(open().find(problem_), measured_);
}

TEST_F(GemmCacheFile, CannotBeWrittenWithAComplaint) {
    GemmCache cache("/nowhere/at/all", {.device = "GPU A", .library = "library 1"});
    cache.add(problem_, measured_);
    EXPECT_THAT(cache.take_complaint(), HasSubstr("cannot be written"));
    EXPECT_EQ(cache.find(problem_), measured_);
}

TEST(GemmCache, WithoutAPathKeepsNothing) {
    GemmCache cache({}, {});
    EXPECT_FALSE(cache.enabled());
    cache.add({}, {});
    EXPECT_FALSE(cache.find({}).has_value());
}

TEST(GemmProblem, KnowsTheAlignmentOfRowsAndMatrices) {
    DeviceGemm product;
    product.shape = {.m = 3, .n = 24, .k = 4, .lda = 4, .ldb = 24, .ldc = 25};
    product.dtype = DType::bfloat16;
    product.a = reinterpret_cast<const void*>(0x1000);
    product.b = reinterpret_cast<const void*>(0x1004);
    product.c = reinterpret_cast<void*>(0x1000);
    product.stride_a = 1;  // of one product, nothing
    GemmProblem problem = problem_of(product, true);
    EXPECT_EQ(problem.alignment_a, 8U);  // rows of 4 elements of 2 bytes
    EXPECT_EQ(problem.alignment_b, 4U);  // the address
    EXPECT_EQ(problem.alignment_c, 2U);  // rows of 25 elements
    EXPECT_FALSE(problem.allow_tf32);    // of no meaning to bf16
    EXPECT_EQ(problem.stride_a, 0);
    product.count = 2;
    EXPECT_EQ(problem_of(product, true).alignment_a, 2U);  // the second matrix
    EXPECT_NE(problem_of(product, true), problem);
}

}  // namespace
}  // namespace isoflop::device
