// Reading training configs.
#include "isoflop/recipe/train_keys.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "isoflop/recipe/recipe.hpp"
#include "support/plans.hpp"

namespace isoflop::recipe {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

// The model's table knows dtype too, as a key of Hugging Face files without effect.
TEST(TrainKeys, DtypeOfAFileHasAnEffect) {
    const TrainKeys keys = parse_train_keys(
        R"({"dtype": "float16", "device": "cuda", "max_iters": 1})", "train.jsonc");
    EXPECT_EQ(keys.execution.dtype, DType::float16);
    EXPECT_EQ(recipe_of(keys).execution.dtype, DType::float16);
}

// What is executed is HFU's numerator: an MFU does not count it.
TEST(TrainKeys, MfuCountsEveryConventionButWhatIsExecuted) {
    for (const char* convention : {"exact", "palm", "megatron", "titan", "kaplan", "6nd"}) {
        const TrainKeys keys =
            parse_train_keys(fmt::format(R"({{"flop_convention": "{}"}})", convention), "a.jsonc");
        EXPECT_EQ(to_string(keys.run.flop_convention), convention);
    }
    EXPECT_EQ(TrainKeys().run.flop_convention, cost::Convention::exact);
    EXPECT_THAT(test::refusal([] {
                    return parse_train_keys(R"({"flop_convention": "executed"})", "a.jsonc");
                }),
                AllOf(HasSubstr("a.jsonc:1"), HasSubstr("exact"), HasSubstr("6nd")));
}

TEST(TrainKeys, GpuTypeIsAGpuOfTheTableOnWhichTheTrainerRuns) {
    EXPECT_EQ(parse_train_keys(R"({"gpu_type": "H100"})", "a.jsonc").run.gpu_type, "H100");
    const auto refused = [](const char* name, const std::vector<std::string>& overrides) {
        const config::Document document =
            config::parse_jsonc(fmt::format("{{\n  \"gpu_type\": \"{}\"}}", name), "a.jsonc");
        return test::refusal([&] { return recipe_of(read_train_keys(document, overrides)); });
    };
    EXPECT_THAT(refused("TPU-v4", {}),
                AllOf(HasSubstr("a.jsonc:2:15"), HasSubstr("the trainer does not run on TPU-v4")));
    EXPECT_THAT(refused("H900", {}), AllOf(HasSubstr("a.jsonc:2:15"), HasSubstr("unknown GPU")));
    EXPECT_THAT(refused("H100", {"gpu_type=V100-PCIe-16"}),
                AllOf(HasSubstr("the trainer does not run on V100"), Not(HasSubstr("a.jsonc"))));
    EXPECT_EQ(refused("H900", {"gpu_type=H100"}), "");
    const std::vector<std::string> flags{"gpu_type=TPU-v4"};
    EXPECT_THAT(test::refusal([&] { return recipe_of(train_keys_from(flags)); }),
                HasSubstr("gpu_type: the trainer does not run on TPU-v4"));
}

// They were dropped without a word.
TEST(TrainKeys, UnknownKeysAreRefusedAllAtOnce) {
    EXPECT_THAT(test::refusal([] {
                    return parse_train_keys(R"({"lr": 0.1, "epochs": 3, "n_layer": 2})", "a.jsonc");
                }),
                AllOf(HasSubstr("a.jsonc:1:2"), HasSubstr("'lr'"), HasSubstr("'epochs'")));
    EXPECT_THAT(
        test::refusal([] { return parse_train_keys(R"({"model": {"n_layer": 2}})", "a.jsonc"); }),
        HasSubstr("unknown key 'model'"));
}

// Llama 3 trains at 8192 and is stretched afterwards; nobody pays for 131,072 unasked.
TEST(TrainingContext, IsNeverAHugeContextUnasked) {
    PlanKeys keys;
    model::ModelConfig model;
    model.max_position_embeddings = 131072;
    EXPECT_EQ(training_context(keys, model).length, 8192);
    EXPECT_THAT(training_context(keys, model).note,
                AllOf(HasSubstr("8,192"), HasSubstr("131,072")));
    model.rope_scaling.emplace().original_max_position_embeddings = 4096;
    EXPECT_EQ(training_context(keys, model).length, 4096);
    keys.dataset_constraints.sequence_length = 131072;
    EXPECT_EQ(training_context(keys, model).length, 131072);
    EXPECT_EQ(training_context(keys, model).note, "");
    model.max_position_embeddings = 2048;
    EXPECT_EQ(training_context(PlanKeys(), model).length, 2048);
    EXPECT_EQ(training_context(PlanKeys(), model).note, "");
}

TEST(Recipe, NotesEveryChangeOfPrecision) {
    const auto note = [](const char* dtype, cost::DeviceKind device) {
        const TrainKeys keys =
            parse_train_keys(fmt::format(R"({{"dtype": "{}"}})", dtype), "train.jsonc");
        return recipe_of(keys, {1, device}).dtype_note;
    };
    for (const char* dtype : {"tf32", "bfloat16", "float16"}) {
        EXPECT_EQ(note(dtype, cost::DeviceKind::cpu),
                  fmt::format("dtype {} runs as float32 on a CPU", dtype));
        EXPECT_EQ(note(dtype, cost::DeviceKind::cuda), "");
    }
    EXPECT_EQ(note("float32", cost::DeviceKind::cpu), "");
}

// A container with one GPU of a machine sees that one's number only.
TEST(Recipe, FindsAGpuByAnyNumberOfItsDeviceFile) {
    const std::filesystem::path folder =
        std::filesystem::temp_directory_path() /
        ("isoflop_device_files_" + std::to_string(std::random_device()()));
    std::filesystem::create_directories(folder);
    const auto with_file = [&](const char* name) {
        std::ofstream(folder / name) << "";
        const bool found = has_gpu_files(folder);
        std::filesystem::remove(folder / name);
        return found;
    };
    for (const char* name : {"nvidia0", "nvidia3", "nvidia12", "dxg"})
        EXPECT_TRUE(with_file(name)) << name;
    for (const char* name : {"nvidia", "nvidiactl", "nvidia-uvm", "nvidia3x", "null"})
        EXPECT_FALSE(with_file(name)) << name;
    std::filesystem::remove_all(folder);
    EXPECT_FALSE(has_gpu_files(folder));
}

TEST(Recipe, AutoTakesTheDeviceOfTheMachine) {
    const TrainKeys keys = parse_train_keys(R"({"max_iters": 1})", "train.jsonc");
    const Recipe on_gpu = recipe_of(keys, {2, cost::DeviceKind::cuda});
    EXPECT_EQ(on_gpu.execution.device, cost::DeviceKind::cuda);
    EXPECT_EQ(on_gpu.execution.dtype, DType::bfloat16);
    EXPECT_EQ(on_gpu.execution.world_size, 2);
    EXPECT_FALSE(on_gpu.execution.reproducible);
    const Recipe on_cpu = recipe_of(keys);
    EXPECT_EQ(on_cpu.execution.device, cost::DeviceKind::cpu);
    EXPECT_EQ(on_cpu.execution.dtype, DType::float32);
    EXPECT_TRUE(on_cpu.execution.reproducible);
}

}  // namespace
}  // namespace isoflop::recipe
