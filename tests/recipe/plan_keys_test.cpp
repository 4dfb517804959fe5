// Reading plan configs: sections, overrides, and errors that say where.
#include "isoflop/recipe/plan_keys.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "support/plans.hpp"

namespace isoflop::recipe {
namespace {

using test::refusal;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::StartsWith;

constexpr std::string_view kPlan = R"({
  "architecture": {"n_layer": 2, "n_embd": 64, "n_head": 4, "vocab_size": 100},
  "training_gear": {"gpu_type": "H100", "num_gpus": 2, "available_hours": 1.5},
  "training_efficiency": {"expected_mfu": 0.4},
  "dataset_constraints": {"sequence_length": 32}
})";

class PlanFile : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "isoflop-plan-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    PlanKeys read(std::string_view text, const std::vector<std::string>& overrides = {}) const {
        std::ofstream(folder_ / "plan.jsonc", std::ios::binary) << text;
        return read_plan_keys(folder_ / "plan.jsonc", overrides);
    }
    /// The refusal of kPlan with `from` replaced by `to`.
    std::string refused(std::string_view from, std::string_view to,
                        const std::vector<std::string>& overrides = {}) const {
        std::string text(kPlan);
        const std::size_t place = text.find(from);
        EXPECT_NE(place, std::string::npos) << from;
        text.replace(place, from.size(), to);
        return refusal([&] { return read(text, overrides); });
    }

    std::filesystem::path folder_;
};

TEST_F(PlanFile, IsReadSectionBySection) {
    const PlanKeys plan = read(kPlan);
    EXPECT_EQ(plan.architecture.num_hidden_layers, 2);
    EXPECT_EQ(plan.training_gear.gpu_type, "H100");
    EXPECT_EQ(plan.training_gear.num_gpus, 2);
    EXPECT_EQ(plan.training_gear.available_hours, 1.5);
    EXPECT_EQ(plan.training_gear.dtype, DType::bfloat16);
    EXPECT_EQ(plan.training_efficiency.batch_size, 1);
    EXPECT_EQ(plan.training_efficiency.backend(), cost::AttentionBackend::flash_attn_2);
    EXPECT_EQ(plan.dataset_constraints.max_epochs, 1);
    EXPECT_EQ(plan.scaling_law.base, "hoffmann_2022");
    EXPECT_TRUE(plan.output_options.show_breakdown);
}

TEST_F(PlanFile, OverridesWinOverTheFileAndSupplyWhatItLacks) {
    const PlanKeys plan =
        read(kPlan, {"training_gear.num_gpus=16", "dtype=fp16", "architecture.n_layer=9",
                     "dataset_size=1e12", "micro_batch_size=3", "num_gpus=32"});
    EXPECT_EQ(plan.training_gear.num_gpus, 32);  // the last one counts
    EXPECT_EQ(plan.training_gear.dtype, DType::float16);
    EXPECT_EQ(plan.architecture.num_hidden_layers, 9);
    EXPECT_EQ(plan.dataset_constraints.dataset_size, 1'000'000'000'000);
    EXPECT_EQ(plan.training_efficiency.batch_size, 3);
}

TEST_F(PlanFile, NullUnsetsAnOptionalKey) {
    const PlanKeys plan = read(kPlan, {"sequence_length=null"});
    EXPECT_FALSE(plan.dataset_constraints.sequence_length);
}

TEST_F(PlanFile, RequiredKeysMayComeFromOverridesOnly) {
    EXPECT_THAT(
        refused("\"gpu_type\": \"H100\", ", ""),
        AllOf(HasSubstr("plan.jsonc:3:"), HasSubstr("missing key 'training_gear.gpu_type'")));
    EXPECT_EQ(refused("\"gpu_type\": \"H100\", ", "", {"gpu_type=A100"}), "");
}

TEST_F(PlanFile, SolvableKeysAreNumbersOrAskedForOrLeftOut) {
    const PlanKeys plan = read(kPlan, {"num_gpus=solve", "training_tokens=2.5e9"});
    EXPECT_TRUE(plan.training_gear.num_gpus.is_asked());
    EXPECT_FALSE(plan.training_gear.num_gpus.is_given());
    EXPECT_EQ(plan.dataset_constraints.training_tokens, 2.5e9);
    EXPECT_FALSE(plan.scaling_law.target_loss.is_given());
    EXPECT_FALSE(plan.scaling_law.target_loss.is_asked());
    EXPECT_EQ(refused("\"num_gpus\": 2", "\"num_gpus\": \"solve\""), "");
    EXPECT_THAT(
        refused("\"num_gpus\": 2", "\"num_gpus\": \"sovle\""),
        AllOf(HasSubstr("or \"solve\"; found \"sovle\""), HasSubstr("did you mean 'solve'")));
    // A number on the command line wins over "solve" in the file, and the other way round.
    std::string text(kPlan);
    text.replace(text.find("1.5"), 3, "\"solve\"");
    EXPECT_EQ(read(text, {"available_hours=3"}).training_gear.available_hours, 3.0);
    EXPECT_FALSE(read(text, {"available_hours=3"}).training_gear.available_hours.is_asked());
    EXPECT_FALSE(read(kPlan, {"available_hours=null"}).training_gear.available_hours.is_given());
}

TEST_F(PlanFile, MissingSectionsAreNamedByTheirKeys) {
    EXPECT_THAT(refusal([&] { return read("{}"); }),
                HasSubstr("missing key 'training_gear.gpu_type'"));
}

TEST_F(PlanFile, ErrorsPointAtTheValue) {
    const std::string message = refused("\"num_gpus\": 2", "\"num_gpus\": \"two\"");
    EXPECT_THAT(message, StartsWith((folder_ / "plan.jsonc").string() + ":3:53: error: "));
    EXPECT_THAT(message, AllOf(HasSubstr("training_gear.num_gpus must be an integer >= 1"),
                               HasSubstr("found \"two\""), HasSubstr("\n  ")));
    EXPECT_EQ(message.back(), '^');
}

TEST_F(PlanFile, UnknownKeysAndSectionsGetTheNearestSpelling) {
    EXPECT_THAT(refused("num_gpus", "num_gpu"),
                AllOf(HasSubstr("unknown key 'training_gear.num_gpu'"),
                      HasSubstr("did you mean 'num_gpus'")));
    EXPECT_THAT(refused("training_gear", "training_gears"),
                AllOf(HasSubstr("unknown section 'training_gears'"),
                      HasSubstr("did you mean 'training_gear'")));
    EXPECT_THAT(refused("n_layer", "n_layerz"),
                AllOf(HasSubstr("plan.jsonc:2:"), HasSubstr("n_layerz")));
    EXPECT_THAT(refused("\"n_layer\": 2", "\"n_layer\": 2, \"colour\": 1"),
                AllOf(HasSubstr("plan.jsonc:2:"), HasSubstr("unknown key 'colour'")));
}

TEST_F(PlanFile, HuggingFaceArchitecturesMayCarryForeignKeys) {
    std::string text(kPlan);
    text.replace(
        text.find("\"n_layer\": 2"), 12,
        R"("model_type": "llama", "intermediate_size": 172, "torch_dtype": "bfloat16", "n_layer": 2)");
    EXPECT_EQ(read(text).architecture.model_type, "llama");
}

TEST_F(PlanFile, ForeignSizesOfTheArchitectureAreNoted) {
    std::string text(kPlan);
    text.replace(
        text.find("\"n_layer\": 2"), 12,
        R"("model_type": "llama", "intermediate_size": 172, "ffn_width_": 3, "n_layer": 2)");
    EXPECT_THAT(read(text).notes, ElementsAre(HasSubstr("ffn_width_")));
}

TEST_F(PlanFile, OtherUnitsAreRecognised) {
    EXPECT_THAT(refusal([&] { return read(kPlan, {"peak_flops_per_gpu=989"}); }),
                AllOf(HasSubstr("looks like TFLOP/s"), HasSubstr("989e12")));
    EXPECT_THAT(refusal([&] { return read(kPlan, {"expected_mfu=45"}); }),
                HasSubstr("45 % is 0.45"));
    EXPECT_THAT(read(kPlan, {"available_hours=2592000"}).notes,
                ElementsAre(AllOf(HasSubstr("296 years"), HasSubstr("write 720"))));
    EXPECT_THAT(read(kPlan, {"dataset_size=300"}).notes,
                ElementsAre(HasSubstr("write 300000000000")));
    EXPECT_THAT(read(kPlan, {"available_hours=8760"}).notes, IsEmpty());
    EXPECT_THAT(read(kPlan, {"training_tokens=15"}).notes, ElementsAre(HasSubstr("write 15e9")));
}

TEST_F(PlanFile, LaterRefusalsPointAtTheFileUnlessTheCommandLineSetTheKey) {
    const PlanKeys keys = read(kPlan);
    EXPECT_THAT(located(keys, "training_gear.gpu_type", "no such GPU"),
                AllOf(HasSubstr("plan.jsonc:"), HasSubstr("error: no such GPU"), HasSubstr("^")));
    EXPECT_EQ(located(read(kPlan, {"gpu_type=X1"}), "training_gear.gpu_type", "no"), "no");
    EXPECT_EQ(located(PlanKeys(), "training_gear.gpu_type", "no"), "no");
}

TEST_F(PlanFile, ContradictionsAreLocated) {
    EXPECT_THAT(refused("\"n_head\": 4", "\"n_head\": 5"),
                AllOf(HasSubstr("plan.jsonc:2:"), HasSubstr("num_attention_heads")));
    EXPECT_THAT(refused("\"n_head\": 4", "\"n_head\": 4, \"n_kv_head\": 3"),
                AllOf(HasSubstr("plan.jsonc:2:"), HasSubstr("num_key_value_heads")));
}

TEST_F(PlanFile, KeysInSeveralSectionsMustBeQualified) {
    EXPECT_THAT(refusal([&] { return read(kPlan, {"use_flash_attention=true"}); }),
                AllOf(HasSubstr("architecture.use_flash_attention"),
                      HasSubstr("training_efficiency.use_flash_attention")));
    EXPECT_EQ(read(kPlan, {"training_efficiency.use_flash_attention=false"})
                  .training_efficiency.backend(),
              cost::AttentionBackend::manual);
}

// Hugging Face's architecture.dtype has no effect; the one that has is meant.
TEST_F(PlanFile, KeysWithoutEffectMakeNothingAmbiguous) {
    EXPECT_EQ(read(kPlan, {"dtype=fp16"}).training_gear.dtype, DType::float16);
}

/// Keys with numbers, and what no plan may have there.
TEST_F(PlanFile, EveryNumberHasItsRange) {
    const struct {
        const char* key;
        std::vector<const char*> refused;
    } cases[] = {
        {"training_gear.num_gpus",
         {"0", "-1", "1.5", "1e8", "1e300", "true", "\"8\"", "[8]", "NaN", "inf", ""}},
        {"training_gear.available_hours",
         {"0", "-1", "1e8", "NaN", "Infinity", "true", "ten", "-0.0"}},
        {"training_gear.peak_flops_per_gpu", {"0", "-1e12", "1e21", "nan", "{}"}},
        {"training_efficiency.expected_mfu", {"0", "-0.1", "1.01", "45", "NaN", "0.4.5", "50%"}},
        {"training_efficiency.batch_size", {"0", "-4", "2.5", "1e7", "null"}},
        {"training_efficiency.gradient_accumulation_steps", {"0", "-4", "2.5", "1e7", "null"}},
        {"training_efficiency.loss_chunk", {"-1", "0.5", "1e17"}},
        {"dataset_constraints.dataset_size", {"0", "-1", "0.5", "1e17", "9223372036854775808"}},
        {"dataset_constraints.max_epochs", {"0", "-1", "1e7", "null"}},
        {"dataset_constraints.sequence_length", {"0", "-1", "1.5", "1e9"}},
        {"dataset_constraints.training_tokens", {"0", "-1", "0.5", "1e17", "NaN", "ten"}},
        {"scaling_law.target_loss", {"0", "-1", "1001", "NaN", "low"}},
        {"scaling_law.E", {"-1", "101", "NaN"}},
        {"scaling_law.A", {"0", "-1", "1e13"}},
        {"scaling_law.B", {"0", "-1", "1e13"}},
        {"scaling_law.alpha", {"0", "-1", "11"}},
        {"scaling_law.beta", {"0", "-1", "11"}},
        {"architecture.num_hidden_layers", {"0", "-1", "1.5", "65537", "1e300"}},
        {"architecture.hidden_size", {"0", "-1", "1.5", "1e9"}},
        {"architecture.num_attention_heads", {"0", "-1", "1.5", "65537"}},
        {"architecture.vocab_size", {"0", "-1", "1.5", "1e10"}},
    };
    for (const auto& item : cases) {
        for (const char* value : item.refused) {
            const std::string message =
                refusal([&] { return read(kPlan, {std::string(item.key) + "=" + value}); });
            EXPECT_THAT(message, AllOf(HasSubstr("override"), HasSubstr(item.key)))
                << item.key << "=" << value;
        }
    }
}

}  // namespace
}  // namespace isoflop::recipe
