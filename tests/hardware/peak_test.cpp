// Peaks as planners use them: missing precisions, and peaks given by the user.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>

#include "isoflop/base/error.hpp"
#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::hardware {
namespace {

using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

const Gpu& gpu(std::string_view name) {
    return GpuTable::builtin().at(name);
}

std::string missing_precision_message(std::string_view name, DType dtype) {
    try {
        (void)peak_flops(gpu(name), dtype);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return "(no error)";
}

TEST(PeakFlops, IsInFlopsPerSecond) {
    EXPECT_DOUBLE_EQ(peak_flops(gpu("h100"), DType::bfloat16), 989.4e12);
}

TEST(PeakFlops, MissingPrecisionListsThoseThatExist) {
    for (const std::string_view name : {"V100", "T4"}) {
        EXPECT_THAT(missing_precision_message(name, DType::bfloat16),
                    AllOf(HasSubstr("no bf16 peak"), HasSubstr("fp32, fp16, int8"),
                          Not(HasSubstr("tf32")), Not(HasSubstr("fp8"))));
    }
    EXPECT_THAT(missing_precision_message("A100", DType::float8), HasSubstr("no fp8 peak"));
}

TEST(PeakCheck, IsSilentWithinFivePercent) {
    for (const double factor : {0.951, 1.0, 1.049}) {
        const PeakCheck check = check_peak(gpu("h100"), DType::bfloat16, factor * 989.4e12);
        EXPECT_EQ(check.warning, "") << factor;
        EXPECT_NEAR(check.ratio, factor, 1e-12);
    }
}

TEST(PeakCheck, WarnsOutsideFivePercent) {
    for (const double factor : {0.5, 0.94, 1.06, 1.5, 3.0}) {
        const PeakCheck check = check_peak(gpu("h100"), DType::bfloat16, factor * 989.4e12);
        EXPECT_THAT(check.warning, AllOf(HasSubstr("989.4"), HasSubstr("H100-SXM"))) << factor;
        EXPECT_THAT(check.warning, Not(HasSubstr("sparse"))) << factor;
    }
}

TEST(PeakCheck, NamesSparsityAtTwiceTheDensePeak) {
    const PeakCheck check = check_peak(gpu("h100"), DType::bfloat16, 1979e12);
    EXPECT_NEAR(check.ratio, 2, 0.001);
    EXPECT_THAT(check.warning, AllOf(HasSubstr("2:4-sparse"), HasSubstr("1979")));
}

TEST(PeakCheck, NamesSparsityForEveryRowAndPrecision) {
    for (const Gpu& row : GpuTable::builtin().gpus()) {
        for (std::size_t index = 0; index < kDTypeCount; ++index) {
            if (!row.dense_peak_flops[index]) continue;
            const double sparse = 2 * *row.dense_peak_flops[index];
            EXPECT_THAT(check_peak(row, static_cast<DType>(index), sparse).warning,
                        AllOf(HasSubstr("2:4-sparse"), HasSubstr(row.id)));
        }
    }
}

TEST(PeakCheck, RefusesWhatIsNoPeak) {
    for (const double given : {0.0, -1.0, std::numeric_limits<double>::quiet_NaN(),
                               std::numeric_limits<double>::infinity()}) {
        EXPECT_THROW((void)check_peak(gpu("h100"), DType::bfloat16, given), ConfigError) << given;
    }
    EXPECT_THROW((void)check_peak(gpu("v100"), DType::bfloat16, 1e14), ConfigError);
}

}  // namespace
}  // namespace isoflop::hardware
