// What a file is, from its structure.
#include "isoflop/recipe/file_kind.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <map>
#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"
#include "isoflop/model/model_reader.hpp"
#include "support/shipped_configs.hpp"

namespace isoflop::recipe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

std::optional<FileKind> kind_of(const std::string& text) {
    return file_kind(config::parse_jsonc(text, "file.json"));
}

TEST(FileKind, ShippedFilesAreWhatTheirFolderSays) {
    const std::map<std::string, FileKind> folders = {{"configs/plan", FileKind::plan},
                                                     {"configs/train", FileKind::training},
                                                     {"configs/models", FileKind::model}};
    for (const auto& [folder, kind] : folders) {
        for (const auto& path : test::files_in(folder, ".jsonc"))
            EXPECT_EQ(file_kind(config::read_jsonc_file(path)), kind) << path;
    }
}

// Without the name of a schema, the rest of the structure says the same; models of a Hugging Face
// type read as Hugging Face files.
TEST(FileKind, TheNameOfASchemaIsNotNeeded) {
    for (const std::string folder : {"configs/plan", "configs/train", "configs/models"}) {
        for (const auto& path : test::files_in(folder, ".jsonc")) {
            const config::Document document = config::read_jsonc_file(path);
            std::string text = document.text;
            if (const auto at = text.find("\"$schema\""); at != std::string::npos)
                text.replace(at, 9, "\"_schema\"");
            const config::Document renamed = config::parse_jsonc(text, "file.json");
            const FileKind expected = *file_kind(document) == FileKind::model &&
                                              document.root.find("model_type") != nullptr
                                          ? FileKind::hugging_face
                                          : *file_kind(document);
            EXPECT_EQ(file_kind(renamed), expected) << path;
        }
    }
}

/// A small config.json of every model type that is known, as tests/model has them from
/// transformers.
std::map<std::string, nlohmann::ordered_json> hugging_face_configs() {
    std::ifstream file(test::source_path("tests/model/hf_cases.json"));
    std::map<std::string, nlohmann::ordered_json> configs;
    const auto all = nlohmann::ordered_json::parse(file);
    for (const auto& one : all.at("cases"))
        configs.emplace(one.at("config").at("model_type"), one.at("config"));
    return configs;
}

// transformers 4 writes torch_dtype, transformers 5 dtype and rope_parameters; both write the
// class, the version and generation settings.
TEST(FileKind, ConfigsOfTransformersAreNoTrainingConfigs) {
    const auto configs = hugging_face_configs();
    EXPECT_GE(configs.size(), 15U);
    for (const auto& [type, sizes] : configs) {
        nlohmann::ordered_json four = sizes;
        four["architectures"] = {"SomethingForCausalLM"};
        four["torch_dtype"] = "bfloat16";
        four["transformers_version"] = "4.57.1";
        four["use_cache"] = true;
        nlohmann::ordered_json five = sizes;
        five["architectures"] = {"SomethingForCausalLM"};
        five["dtype"] = "float32";
        five["transformers_version"] = "5.0.0";
        five["ignore_index"] = -100;
        five["layer_types"] = nullptr;
        nlohmann::ordered_json bare = sizes;
        bare["dtype"] = "bfloat16";
        for (const auto& json : {sizes, four, five, bare}) {
            EXPECT_EQ(kind_of(json.dump()), FileKind::hugging_face) << json;
            // It is also read as such: the same model, whatever dtype stands beside it.
            const auto read = model::parse_model(json.dump(), "config.json");
            EXPECT_EQ(read.config.hidden_size, model::parse_model(sizes.dump()).config.hidden_size);
        }
    }
}

TEST(FileKind, KeysOfARunMakeATrainingConfig) {
    EXPECT_EQ(kind_of(R"({"n_layer": 2, "max_iters": 10})"), FileKind::training);
    EXPECT_EQ(kind_of(R"({"dataset": "builtin"})"), FileKind::training);
    EXPECT_EQ(kind_of(R"({"model_type": "qwen3", "hidden_size": 64, "batch_size": 2,
                          "learning_rate": 1e-3})"),
              FileKind::training);
    EXPECT_EQ(kind_of(R"({"architectures": ["A"], "batch_size": 2, "max_iters": 1})"),
              FileKind::training);
}

TEST(FileKind, KeysThatSeveralKindsShareDecideNothing) {
    EXPECT_EQ(kind_of(R"({"n_layer": 2, "dtype": "bfloat16"})"), FileKind::model);
    EXPECT_EQ(kind_of(R"({"hidden_size": 2, "torch_dtype": "bfloat16"})"), FileKind::model);
    EXPECT_EQ(kind_of(R"({"model_type": "llama", "dtype": "bfloat16"})"), FileKind::hugging_face);
    EXPECT_EQ(kind_of(R"({"architecture": "llama", "n_layer": 2})"), FileKind::model);
    EXPECT_EQ(kind_of(R"({"architecture": {}, "n_layer": 2})"), FileKind::plan);
    EXPECT_EQ(kind_of("{}"), std::nullopt);
    EXPECT_EQ(kind_of("[1]"), std::nullopt);
    EXPECT_EQ(kind_of(R"({"nothing": "known"})"), std::nullopt);
}

std::string refusal(const std::string& text, std::initializer_list<FileKind> taken) {
    try {
        refuse_other_kinds(config::parse_jsonc(text, "x.json"), taken);
    } catch (const ConfigError& error) {
        return error.what();
    }
    return {};
}

TEST(FileKind, AFileOfAnotherKindIsAnsweredWithItsCommand) {
    const std::string training = R"({"max_iters": 1})";
    const std::string plan = R"({"training_gear": {}})";
    EXPECT_EQ(refusal(training, {FileKind::training}), "");
    EXPECT_THAT(refusal(training, {FileKind::plan}),
                AllOf(HasSubstr("training config"), HasSubstr("`scaling-plan model x.json`"),
                      HasSubstr("`train x.json`")));
    EXPECT_THAT(refusal(plan, {FileKind::training}),
                AllOf(HasSubstr("plan config"), HasSubstr("`scaling-plan backward x.json "
                                                          "--emit-train-config FILE`")));
    EXPECT_THAT(refusal(R"({"model_type": "llama"})", {FileKind::training}),
                AllOf(HasSubstr("Hugging Face config.json"), HasSubstr("init_from"),
                      HasSubstr("`scaling-plan model x.json`")));
    EXPECT_EQ(refusal("{}", {FileKind::plan}), "");
}

}  // namespace
}  // namespace isoflop::recipe
