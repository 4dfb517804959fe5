// Lists of GPUs and laws, and validation reports.
#include "isoflop/report/list_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>
#include <nlohmann/json.hpp>

#include "report/report_test_support.hpp"

namespace isoflop::report {
namespace {

using text::Colour;

using ::testing::HasSubstr;
using ::testing::Not;

validation::ValidationCase validation_case(const char* group, double expected, double got) {
    validation::ValidationCase item;
    item.group = group;
    item.name = std::string(group) + " case";
    item.expected = expected;
    item.got = got;
    item.tolerance = 0.01;
    item.source = "a paper";
    return item;
}

TEST(GpuList, HasEveryGpuInTextAndJson) {
    const hardware::GpuTable& table = hardware::GpuTable::builtin();
    const std::string text = gpus_text(table, Colour::off);
    const auto json = gpus_json(table);
    ASSERT_EQ(json["gpus"].size(), table.gpus().size());
    EXPECT_GE(table.gpus().size(), 35U);
    for (const hardware::Gpu& gpu : table.gpus()) EXPECT_THAT(text, HasSubstr(gpu.id));
    EXPECT_FALSE(mentions_no_number(text));
    EXPECT_FALSE(has_non_finite(json));
}

TEST(LawList, HasEveryLawInTextAndJson) {
    const std::string text = laws_text(scaling_law::laws(), Colour::off);
    const auto json = laws_json(scaling_law::laws());
    ASSERT_EQ(json["laws"].size(), scaling_law::laws().size());
    for (const scaling_law::Law& law : scaling_law::laws()) {
        EXPECT_THAT(text, HasSubstr(law.id));
        EXPECT_THAT(text, HasSubstr(law.title));
    }
    EXPECT_FALSE(has_non_finite(json));
}

TEST(ValidationReport, CountsCasesThatAreOut) {
    const std::vector<validation::ValidationCase> cases{validation_case("flops", 100, 100.5),
                                                        validation_case("flops", 100, 102),
                                                        validation_case("laws", 2, 2)};
    const std::string text = validation_text(cases, Colour::off, false);
    EXPECT_THAT(text, HasSubstr("3 cases, 1 out of tolerance"));
    EXPECT_THAT(text, HasSubstr("OUT"));
    EXPECT_THAT(text, HasSubstr("a paper"));
    const auto json = validation_json(cases);
    EXPECT_EQ(json["count"], 3);
    EXPECT_EQ(json["failed"], 1);
    EXPECT_EQ(json["cases"][1]["passed"], false);
}

TEST(ValidationReport, QuietShowsOnlyWhatIsOut) {
    const std::vector<validation::ValidationCase> cases{validation_case("good", 100, 100),
                                                        validation_case("bad", 100, 200)};
    const std::string text = validation_text(cases, Colour::off, true);
    EXPECT_THAT(text, HasSubstr("OUT bad case"));
    EXPECT_THAT(text, Not(HasSubstr("good case")));
}

TEST(ValidationReport, ANanIsOut) {
    const std::vector<validation::ValidationCase> cases{
        validation_case("nan", 1, std::numeric_limits<double>::quiet_NaN())};
    EXPECT_THAT(validation_text(cases, Colour::off, false), HasSubstr("1 out of tolerance"));
}

TEST(BuiltInValidation, IsPrintedWithoutInfinities) {
    const auto cases = validation::run_validation();
    EXPECT_FALSE(mentions_no_number(validation_text(cases, Colour::off, false)));
    EXPECT_FALSE(has_non_finite(validation_json(cases)));
}

}  // namespace
}  // namespace isoflop::report
