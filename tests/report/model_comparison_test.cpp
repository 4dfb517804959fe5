// Models side by side.
#include "isoflop/report/model_comparison.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "isoflop/model/model_reader.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "report/report_test_support.hpp"
#include "support/plans.hpp"

namespace isoflop::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

NamedModel named_model(const std::string& name) {
    const model::ModelDescription description =
        model::read_model_file(test::source_path("configs/models/" + name + ".jsonc"));
    const recipe::PlanKeys keys;
    return {name,
            "model",
            "model config",
            {},
            {},
            planner::analyze_model(description.config, recipe::execution_of(keys, description),
                                   recipe::optimizer_of(keys))};
}

TEST(ModelComparison, ShowsEveryModelInAColumn) {
    const std::vector<NamedModel> models{named_model("llama3_8b"), named_model("gpt2_124m")};
    const std::string text = model_comparison_text(models, text::Colour::off);
    EXPECT_EQ(lines_of(text).front().find_first_not_of(' '),
              lines_of(text).front().find("llama3_8b"));
    EXPECT_THAT(text, HasSubstr("8.03B"));
    EXPECT_THAT(text, HasSubstr("124.44M"));
    EXPECT_THAT(text, Not(HasSubstr("communication")));  // one GPU has none
    const nlohmann::ordered_json json = model_comparison_json(models);
    EXPECT_EQ(json["kind"], "compare");
    ASSERT_EQ(json["models"].size(), 2U);
    EXPECT_EQ(json["models"][0]["parameters"]["total"], 8'030'261'248);
    EXPECT_EQ(json["models"][1]["name"], "gpt2_124m");
}

TEST(ModelComparison, FollowsInFurtherTablesWhereItDoesNotFit) {
    const std::vector<NamedModel> models{named_model("llama3_8b"), named_model("gpt2_124m"),
                                         named_model("mistral_7b")};
    for (const std::string& line : lines_of(model_comparison_text(models, text::Colour::off, 45)))
        EXPECT_LE(line.size(), 45U);
}

// Llama 3 8B: 2 x 32 layers x 8 heads x 128 x 2 bytes = 128 KiB. DeepSeek-V3 (arXiv 2412.19437):
// 61 layers x (512 + 64) x 2 bytes = 70.272 kB.
TEST(ModelComparison, CountsTheCacheOfKeysAndValues) {
    EXPECT_EQ(kv_cache_bytes_per_token(named_model("llama3_8b").analysis.model), 131'072);
    EXPECT_EQ(kv_cache_bytes_per_token(named_model("deepseek_v3").analysis.model), 70'272);
}

}  // namespace
}  // namespace isoflop::report
