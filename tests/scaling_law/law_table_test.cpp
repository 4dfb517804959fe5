#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>

#include "isoflop/base/error.hpp"
#include "isoflop/scaling_law/law.hpp"

namespace isoflop::scaling_law {
namespace {

using ::testing::HasSubstr;

TEST(LawTable, EveryLawHasAUniqueIdTitleAndSource) {
    std::set<std::string> ids;
    for (const Law& law : laws()) {
        EXPECT_TRUE(ids.insert(law.id).second) << law.id;
        EXPECT_FALSE(law.id.empty());
        EXPECT_FALSE(law.title.empty()) << law.id;
        EXPECT_THAT(law.source, HasSubstr("arXiv")) << law.id;
    }
    EXPECT_EQ(ids,
              (std::set<std::string>{"hoffmann_2022", "hoffmann_2022_tex", "hoffmann_2022_sardana",
                                     "besiroglu_2024", "muennighoff_2023", "kaplan_2020"}));
}

TEST(LawTable, EveryPowerLawHasAUniqueIdAndSource) {
    std::set<std::string_view> ids;
    for (const PowerLawOptimum& optimum : power_law_optima()) {
        EXPECT_TRUE(ids.insert(optimum.id).second) << optimum.id;
        EXPECT_THAT(std::string(optimum.source), HasSubstr("arXiv")) << optimum.id;
    }
    EXPECT_EQ(ids.size(), 3U);
}

TEST(LawTable, LookupReturnsTheEntryWithThatId) {
    for (const Law& entry : laws()) EXPECT_EQ(&law(entry.id), &entry);
}

TEST(LawTable, UnknownLawNamesTheNearestSpellingAndAllLaws) {
    try {
        static_cast<void>(law("besirogly_2024"));
        FAIL() << "expected ConfigError";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("'besirogly_2024'"));
        EXPECT_THAT(error.what(), HasSubstr("did you mean 'besiroglu_2024'?"));
        for (const Law& entry : laws()) EXPECT_THAT(error.what(), HasSubstr(entry.id));
    }
}

TEST(LawTable, UnknownLawFarFromAllGetsNoSuggestion) {
    try {
        static_cast<void>(law("zzz"));
        FAIL() << "expected ConfigError";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), Not(HasSubstr("did you mean")));
        EXPECT_THAT(error.what(), HasSubstr("kaplan_2020"));
    }
}

// Muennighoff's README prints the constants rounded from the same logarithms.
TEST(LawTable, LogarithmicConstantsEqualThePrintedOnes) {
    const ChinchillaConstants& muennighoff = law("muennighoff_2023").chinchilla;
    EXPECT_NEAR(muennighoff.A, 520.82, 0.01);
    EXPECT_NEAR(muennighoff.B, 1487.72, 0.03);
    EXPECT_NEAR(muennighoff.E, 1.8691, 0.0001);
    const ChinchillaConstants& hoffmann = law("hoffmann_2022_tex").chinchilla;
    EXPECT_NEAR(hoffmann.A, 406.4, 0.05);
    EXPECT_NEAR(hoffmann.B, 410.7, 0.05);
    EXPECT_NEAR(hoffmann.E, 1.69, 0.005);
}

TEST(LawTable, CorrelationsAreSymmetricWithUnitDiagonal) {
    for (const Law& law : laws()) {
        if (!law.uncertainty) continue;
        const auto& correlation = law.uncertainty->correlation;
        for (std::size_t i = 0; i < correlation.size(); ++i) {
            EXPECT_GT(law.uncertainty->standard_error[i], 0);
            EXPECT_EQ(correlation[i][i], 1.0);
            for (std::size_t j = 0; j < i; ++j) EXPECT_EQ(correlation[i][j], correlation[j][i]);
        }
    }
}

}  // namespace
}  // namespace isoflop::scaling_law
