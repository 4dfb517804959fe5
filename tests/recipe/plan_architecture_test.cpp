// Architectures of plans in files of their own.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "isoflop/recipe/plan_keys.hpp"
#include "support/plans.hpp"

namespace isoflop::recipe {
namespace {

using test::refusal;
using ::testing::AllOf;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

constexpr std::string_view kModel =
    R"({"arch_preset": "llama", "n_layer": 2, "n_embd": 64, "n_head": 4, "n_kv_head": 4,
  "intermediate_size": 128, "vocab_size": 100, "block_size": 32, "tie_word_embeddings": false})";
constexpr std::string_view kHuggingFace = R"({"architectures": ["LlamaForCausalLM"],
  "model_type": "llama", "hidden_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4,
  "intermediate_size": 128, "vocab_size": 500, "max_position_embeddings": 256, "use_cache": true})";

class ArchitectureFile : public ::testing::Test {
protected:
    void SetUp() override {
        std::string pattern =
            (std::filesystem::temp_directory_path() / "isoflop-arch-XXXXXX").string();
        ASSERT_NE(mkdtemp(pattern.data()), nullptr);
        folder_ = pattern;
        std::filesystem::create_directory(folder_ / "models");
        write("models/small.jsonc", kModel);
        write("models/config.json", kHuggingFace);
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    std::filesystem::path write(std::string_view name, std::string_view text) const {
        std::ofstream(folder_ / name, std::ios::binary) << text;
        return folder_ / name;
    }
    /// A plan whose architecture is this JSON value.
    std::filesystem::path plan(std::string_view architecture) const {
        return write("plan.jsonc", "{\n  \"architecture\": " + std::string(architecture) + R"(,
  "training_gear": {"gpu_type": "H100", "num_gpus": 2, "available_hours": 1.5},
  "training_efficiency": {"expected_mfu": 0.4}
})");
    }

    std::filesystem::path folder_;
};

const std::vector<std::string> kBudget{"gpu_type=H100", "num_gpus=2", "available_hours=1.5",
                                       "expected_mfu=0.4"};

TEST_F(ArchitectureFile, IsRelativeToTheFolderOfThePlan) {
    const PlanKeys keys = read_plan_keys(plan("\"models/small.jsonc\""));
    EXPECT_EQ(keys.architecture.num_hidden_layers, 2);
    EXPECT_EQ(keys.training_gear.num_gpus, 2);
    EXPECT_EQ(read_plan_keys(plan("\"models/config.json\"")).architecture.hidden_size, 96);
    const std::string absolute = "\"" + (folder_ / "models/small.jsonc").string() + "\"";
    EXPECT_EQ(read_plan_keys(plan(absolute)).architecture.num_hidden_layers, 2);
}

TEST_F(ArchitectureFile, GivesThePlanOfTheSameKeysInThePlan) {
    const PlanKeys referenced = read_plan_keys(plan("\"models/small.jsonc\""));
    const PlanKeys inside = read_plan_keys(plan(kModel));
    EXPECT_EQ(test::plan_of(referenced).loss.total, test::plan_of(inside).loss.total);
    EXPECT_EQ(test::plan_of(referenced).run.memory.total_bytes(),
              test::plan_of(inside).run.memory.total_bytes());
}

TEST_F(ArchitectureFile, SingleKeysAreSetOnTopOfIt) {
    const PlanKeys keys = read_plan_keys(plan("\"models/small.jsonc\""),
                                         std::vector<std::string>{"num_hidden_layers=16"});
    EXPECT_EQ(keys.architecture.num_hidden_layers, 16);
    EXPECT_EQ(keys.architecture.hidden_size, 64);
}

TEST_F(ArchitectureFile, OverridesNameOneRelativeToTheWorkingFolder) {
    const std::string file = (folder_ / "models/config.json").string();
    for (const auto* architecture : {"\"models/small.jsonc\"", "\"missing.json\""}) {
        const PlanKeys keys =
            read_plan_keys(plan(architecture),
                           std::vector<std::string>{"num_hidden_layers=5", "architecture=" + file});
        EXPECT_EQ(keys.architecture.hidden_size, 96);
        EXPECT_EQ(keys.architecture.num_hidden_layers, 5);
    }
    // It replaces a section as a whole.
    const PlanKeys keys = read_plan_keys(plan(R"({"n_layer": 7, "n_embd": 8, "bias": true})"),
                                         std::vector<std::string>{"architecture=" + file});
    EXPECT_EQ(keys.architecture.num_hidden_layers, 3);
    EXPECT_THAT(refusal([&] {
                    return read_plan_keys(plan("\"models/small.jsonc\""),
                                          std::vector<std::string>{"architecture=no/such.json"});
                }),
                AllOf(HasSubstr("override: architecture no/such.json"), HasSubstr("no such")));
}

TEST_F(ArchitectureFile, AFileThatCannotBeReadIsAFaultOfThePlan) {
    for (const auto& [reference, reason] :
         {std::pair{"\"models/smal.jsonc\"", "did you mean"}, std::pair{"\"models\"", "directory"},
          std::pair{"\"\"", "empty"}, std::pair{"\"nowhere/x.json\"", "no folder"}}) {
        const std::filesystem::path path = plan(reference);
        EXPECT_THAT(refusal([&] { return read_plan_keys(path); }),
                    AllOf(HasSubstr("plan.jsonc:2:19: error: architecture"), HasSubstr(reason)));
    }
}

TEST_F(ArchitectureFile, FaultsOfItsContentsAreInIt) {
    write("models/bad.jsonc", "{\"n_layer\": 2,\n \"n_embd\": -64}");
    EXPECT_THAT(refusal([&] { return read_plan_keys(plan("\"models/bad.jsonc\"")); }),
                AllOf(HasSubstr("models/bad.jsonc:2:12: error: "), HasSubstr("n_embd")));
    write("models/broken.jsonc", "{\"n_layer\": 2,,}");
    EXPECT_THAT(refusal([&] { return read_plan_keys(plan("\"models/broken.jsonc\"")); }),
                HasSubstr("models/broken.jsonc:1:15: error: "));
    write("models/heads.jsonc",
          "{\"n_layer\": 2, \"n_embd\": 64,\n\"n_head\": 5, \"vocab_size\": 9, \"block_size\": 8}");
    EXPECT_THAT(refusal([&] { return read_plan_keys(plan("\"models/heads.jsonc\"")); }),
                HasSubstr("models/heads.jsonc:2:"));
    write("models/odd.jsonc", R"({"n_layer": 2, "n_embd": 64, "n_hed": 4})");
    EXPECT_THAT(refusal([&] { return read_plan_keys(plan("\"models/odd.jsonc\"")); }),
                AllOf(HasSubstr("models/odd.jsonc:1:"), HasSubstr("n_hed")));
    write("models/plan.jsonc", R"({"training_gear": {}})");
    EXPECT_THAT(refusal([&] { return read_plan_keys(plan("\"models/plan.jsonc\"")); }),
                AllOf(HasSubstr("models/plan.jsonc: error: "), HasSubstr("plan config")));
    EXPECT_THAT(refusal([&] { return read_plan_keys(plan("7")); }),
                AllOf(HasSubstr("plan.jsonc:2:19: error: "), HasSubstr("or a file name")));
}

TEST_F(ArchitectureFile, NotesAreThoseOfTheModel) {
    EXPECT_THAT(read_plan_keys(plan("\"models/small.jsonc\"")).notes, IsEmpty());
    write("models/params.json",
          R"({"dim": 64, "n_layers": 2, "n_heads": 4, "norm_eps": 1e-5, "vocab_size": 100,
              "multiple_of": 16})");
    const auto notes = read_plan_keys(plan("\"models/params.json\"")).notes;
    EXPECT_THAT(notes,
                Contains(AllOf(HasSubstr("models/params.json is read as a "), HasSubstr("Meta"))));
    EXPECT_THAT(notes, Contains(AllOf(HasSubstr("assumed: "), HasSubstr("max_position"))));
    write("models/wide.json", R"({"model_type": "llama", "hidden_size": 96, "num_hidden_layers": 3,
        "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 500,
        "max_position_embeddings": 256, "num_experts": 8})");
    EXPECT_THAT(read_plan_keys(plan("\"models/wide.json\"")).notes,
                Contains(HasSubstr("num_experts")));
}

TEST_F(ArchitectureFile, AModelFileIsAPlanWithTheRestFromOverrides) {
    const PlanKeys keys = read_plan_keys(folder_ / "models/config.json", kBudget);
    EXPECT_EQ(keys.architecture.hidden_size, 96);
    EXPECT_EQ(keys.training_gear.gpu_type, "H100");
    EXPECT_GT(test::plan_of(keys).tokens.n_tokens, 0);
}

TEST_F(ArchitectureFile, AModelFileAloneNamesAllFlagsThatAreMissing) {
    const std::vector<std::string> some{kBudget.begin(), kBudget.begin() + 1};
    EXPECT_THAT(refusal([&] { return read_plan_keys(folder_ / "models/config.json", some); }),
                AllOf(HasSubstr("models/config.json: error: this is a Hugging Face config.json"),
                      HasSubstr("--expected_mfu=NUMBER"), Not(HasSubstr("--gpu_type"))));
    EXPECT_THAT(refusal([&] { return read_plan_keys(folder_ / "models/small.jsonc"); }),
                AllOf(HasSubstr("model config"), HasSubstr("--gpu_type=NAME"),
                      HasSubstr("--expected_mfu=NUMBER")));
}

TEST_F(ArchitectureFile, PointsAtKeysOfTheRightFile) {
    const PlanKeys keys = read_plan_keys(plan("\"models/config.json\""));
    EXPECT_THAT(located(keys, "architecture.vocab_size", "x"), HasSubstr("models/config.json:3:"));
    EXPECT_THAT(located(keys, "training_gear.gpu_type", "x"), HasSubstr("plan.jsonc:3:"));
}

}  // namespace
}  // namespace isoflop::recipe
