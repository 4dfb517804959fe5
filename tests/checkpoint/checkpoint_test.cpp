// What a checkpoint holds, how it is found, and which ones stay.
#include "isoflop/checkpoint/checkpoint.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <set>

#include "checkpoint_test_support.hpp"
#include "isoflop/base/checksum.hpp"

namespace isoflop::checkpoint {
namespace {

using nlohmann::ordered_json;
using test::error_of;
using test::TemporaryDirectory;
using test::TrainerTensors;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::filesystem::path save(const std::filesystem::path& run, std::int64_t step,
                           const CheckpointOptions& options = {},
                           const ordered_json& state = ordered_json::object()) {
    const TrainerTensors tensors(static_cast<std::uint32_t>(step));
    return write_checkpoint(run, step, tensors.weights, tensors.moments, state, options);
}

std::set<std::string> names_in(const std::filesystem::path& folder) {
    std::set<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(folder))
        names.insert(entry.path().filename().string());
    return names;
}

TEST(Checkpoint, RoundTripIsBitExact) {
    const TemporaryDirectory run;
    const TrainerTensors tensors(7);
    const ordered_json state = {{"iteration", 200},
                                {"val_loss", 0.1 + 0.2},
                                {"smallest", std::numeric_limits<double>::denorm_min()},
                                {"tokens", std::int64_t{1} << 62},
                                {"nested", {{"name", "caf\xC3\xA9"}, {"list", {1, 2.5, nullptr}}}}};
    const auto folder = write_checkpoint(run.path(), 200, tensors.weights, tensors.moments, state);
    EXPECT_EQ(folder, run.path() / "checkpoints" / "step_00000200");
    EXPECT_THAT(names_in(folder), ElementsAre("manifest.json", "model.safetensors",
                                              "optimizer.safetensors", "trainer_state.json"));
    EXPECT_THAT(names_in(run.path()), ElementsAre("checkpoints", "latest"));
    EXPECT_THAT(names_in(run.path() / "checkpoints"), ElementsAre("step_00000200"));

    const auto reader = CheckpointReader::open(folder);
    EXPECT_TRUE(test::holds(reader, tensors));
    EXPECT_EQ(reader.step(), 200);
    EXPECT_EQ(reader.validation_loss(), 0.1 + 0.2);
    EXPECT_EQ(reader.trainer_state(), state);
    EXPECT_EQ(reader.tensors().size(), 6U);
}

TEST(Checkpoint, SpecialValuesSurvive) {
    const TemporaryDirectory run;
    std::vector<float> values = {0.0F, -0.0F, std::numeric_limits<float>::infinity(),
                                 std::numeric_limits<float>::quiet_NaN(),
                                 std::numeric_limits<float>::denorm_min()};
    const std::vector<NamedTensor> weights = {
        {.name = "w", .shape = {5}, .data = device::TensorView::of(std::span(values), {5})}};
    const auto folder = write_checkpoint(run.path(), 0, weights, {}, ordered_json::object());
    EXPECT_FALSE(std::filesystem::exists(folder / "optimizer.safetensors"))
        << "no optimizer, no file";
    const std::vector<float> found = test::read_all(CheckpointReader::open(folder), "w");
    EXPECT_EQ(std::memcmp(found.data(), values.data(), sizeof(float) * values.size()), 0);
}

TEST(Checkpoint, StoresTheTypesOfTheTrainer) {
    const TemporaryDirectory run;
    std::vector<std::uint16_t> half = {0x3F80, 0xBF80};
    std::vector<double> wide = {1.0 / 3.0, -2.0};
    const std::vector<NamedTensor> weights = {
        {.name = "half", .shape = {2}, .data = {half.data(), DType::bfloat16, {2}}},
        {.name = "wide", .shape = {2}, .data = device::TensorView::of(std::span(wide), {2})}};
    const auto reader = CheckpointReader::open(
        write_checkpoint(run.path(), 1, weights, {}, ordered_json::object()));
    EXPECT_EQ(reader.find("half")->type, ElementType::bf16);
    EXPECT_THAT(test::read_all(reader, "half"), ElementsAre(1.0F, -1.0F));
    std::vector<double> found(2);
    reader.read("wide", 0, std::span<double>(found));
    EXPECT_EQ(found, wide);
}

TEST(Checkpoint, ReadsPartsOfTensors) {
    const TemporaryDirectory run;
    const auto reader = CheckpointReader::open(save(run.path(), 3));
    const std::vector<float> all = test::read_all(reader, "model.embed_tokens.weight");
    std::vector<float> part(10);
    reader.read("model.embed_tokens.weight", 17, std::span<float>(part));
    EXPECT_TRUE(std::equal(part.begin(), part.end(), all.begin() + 17));
    EXPECT_THROW(reader.read("model.norm.weight", 3, std::span<float>(part)), std::out_of_range);
    EXPECT_THROW(reader.read("model.norm.weight", -1, std::span<float>(part)), std::out_of_range);
    EXPECT_THAT(error_of([&] { reader.read("none", 0, std::span<float>(part)); }),
                HasSubstr("no tensor 'none'"));
    const std::vector<std::int64_t> shape = {12};
    const std::vector<std::int64_t> other = {13};
    EXPECT_EQ(reader.require("model.norm.weight", shape).type, ElementType::f32);
    EXPECT_THAT(error_of([&] { reader.require("model.norm.weight", other); }),
                HasSubstr("is [12]; this model needs [13]"));
    EXPECT_THAT(error_of([&] { reader.require("lm_head.weight", other); }),
                HasSubstr("no tensor 'lm_head.weight'"));
}

TEST(Checkpoint, OpensARunItsLatestAndACopyElsewhere) {
    const TemporaryDirectory run;
    save(run.path(), 10);
    save(run.path(), 20);
    EXPECT_EQ(CheckpointReader::open(run.path()).step(), 20);
    EXPECT_EQ(CheckpointReader::open(run.path() / "latest").step(), 20);
    EXPECT_EQ(std::filesystem::read_symlink(run.path() / "latest"), "checkpoints/step_00000020");
    std::filesystem::rename(run.path() / "checkpoints" / "step_00000010", run.path() / "best");
    EXPECT_EQ(CheckpointReader::open(run.path() / "best").step(), 10);
    // Where a file system has no symbolic links, `latest` is a text file.
    std::filesystem::remove(run.path() / "latest");
    test::write_file(run.path() / "latest", "checkpoints/step_00000020\n");
    EXPECT_EQ(CheckpointReader::open(run.path() / "latest").step(), 20);
    test::write_file(run.path() / "latest", "checkpoints/step_00000099\n");
    EXPECT_THAT(error_of([&] { static_cast<void>(CheckpointReader::open(run.path() / "latest")); }),
                HasSubstr("step_00000099"));
}

TEST(Checkpoint, AnythingElseIsAnErrorThatNamesIt) {
    const TemporaryDirectory folder;
    const auto open = [](const std::filesystem::path& path) {
        return error_of([&] { static_cast<void>(CheckpointReader::open(path)); });
    };
    EXPECT_THAT(open(folder.path() / "none"), HasSubstr("no such folder"));
    EXPECT_THAT(open(folder.path()), HasSubstr("manifest.json"));
    std::filesystem::create_directory(folder.path() / "checkpoints");
    EXPECT_THAT(open(folder.path()), HasSubstr("has no checkpoint"));
    EXPECT_FALSE(open_latest(folder.path()));
    EXPECT_FALSE(open_latest(folder.path() / "none"));
}

/// With a checksum that is right.
void replace_in_manifest(const std::filesystem::path& path, const std::string& before,
                         const std::string& now) {
    std::string text = test::read_file(path);
    ASSERT_THAT(text, HasSubstr(before));
    text.replace(text.find(before), before.size(), now);
    const std::size_t tail = text.rfind(",\n  \"manifest_crc32c\": \"");
    text = text.substr(0, tail) + ",\n  \"manifest_crc32c\": \"" +
           checksum_text(crc32c(text.substr(0, tail))) + "\"\n}\n";
    test::write_file(path, text);
}

TEST(Checkpoint, AnotherFormatVersionIsNamedAsSuch) {
    const TemporaryDirectory run;
    replace_in_manifest(save(run.path(), 1) / "manifest.json", R"("format_version": 1)",
                        R"("format_version": 9)");
    EXPECT_THAT(error_of([&] { static_cast<void>(CheckpointReader::open(run.path() / "latest")); }),
                HasSubstr("format version 9"));
}

TEST(Checkpoint, SlicesLieInFilesOfItsFolder) {
    const TemporaryDirectory run;
    replace_in_manifest(save(run.path(), 1) / "manifest.json", R"("file": "model.safetensors")",
                        R"("file": "../model.safetensors")");
    EXPECT_THAT(error_of([&] { static_cast<void>(CheckpointReader::open(run.path() / "latest")); }),
                HasSubstr("'../model.safetensors' is no file name"));
}

TEST(Checkpoint, TheSameStepIsReplaced) {
    const TemporaryDirectory run;
    save(run.path(), 5);
    const TrainerTensors tensors(999);
    write_checkpoint(run.path(), 5, tensors.weights, tensors.moments, ordered_json::object());
    EXPECT_TRUE(test::holds(CheckpointReader::open(run.path()), tensors));
    EXPECT_THAT(names_in(run.path() / "checkpoints"), ElementsAre("step_00000005"));
}

TEST(Checkpoint, KeepsTheNewestAndTheBest) {
    const TemporaryDirectory run;
    const std::vector<double> losses = {3.0, 1.5, 2.0, 1.75, 1.5, 1.9, 2.5};
    for (std::size_t i = 0; i < losses.size(); ++i) {
        save(run.path(), static_cast<std::int64_t>(i) * 10, {.keep_checkpoints = 2},
             {{"val_loss", losses[i]}});
    }
    // 40 equals 10 in loss and is newer.
    EXPECT_THAT(names_in(run.path() / "checkpoints"),
                ElementsAre("step_00000040", "step_00000050", "step_00000060"));
    save(run.path(), 70, {.keep_checkpoints = 1, .keep_best = false}, {{"val_loss", nullptr}});
    EXPECT_THAT(names_in(run.path() / "checkpoints"), ElementsAre("step_00000070"));
    for (const std::int64_t step : {80, 90, 100}) save(run.path(), step, {.keep_checkpoints = 0});
    EXPECT_EQ(names_in(run.path() / "checkpoints").size(), 4U) << "0 keeps all";
}

TEST(Checkpoint, WithoutLossesOnlyTheNewestStay) {
    const TemporaryDirectory run;
    for (const std::int64_t step : {1, 2, 3}) save(run.path(), step, {.keep_checkpoints = 1});
    EXPECT_THAT(names_in(run.path() / "checkpoints"), ElementsAre("step_00000003"));
}

TEST(Checkpoint, NeverRemovesTheOnlyValidOne) {
    const TemporaryDirectory run;
    const CheckpointOptions keep_one = {.keep_checkpoints = 1, .keep_best = false};
    save(run.path(), 300, keep_one);
    test::flip_bit(run.path() / "checkpoints" / "step_00000300" / "model.safetensors", 5000);
    // Continued from an earlier step, the run writes a step below the damaged one.
    save(run.path(), 200, keep_one);
    EXPECT_EQ(CheckpointReader::open(run.path()).step(), 200);
    std::filesystem::remove(run.path() / "checkpoints" / "step_00000300" / "manifest.json");
    save(run.path(), 250, keep_one);
    EXPECT_THAT(names_in(run.path() / "checkpoints"),
                ElementsAre("step_00000250", "step_00000300"));
    EXPECT_EQ(CheckpointReader::open(run.path()).step(), 250);
}

TEST(Checkpoint, StepsSortByNumberAndForeignFoldersAreLeftAlone) {
    const TemporaryDirectory run;
    save(run.path(), 99'999'999);
    save(run.path(), 100'000'000);
    std::filesystem::create_directory(run.path() / "checkpoints" / "step_mine");
    std::filesystem::create_directory(run.path() / "checkpoints" / "notes");
    save(run.path(), 100'000'001, {.keep_checkpoints = 2});
    EXPECT_THAT(names_in(run.path() / "checkpoints"),
                ElementsAre("notes", "step_100000000", "step_100000001", "step_mine"));
    EXPECT_EQ(CheckpointReader::open(run.path()).step(), 100'000'001);
}

TEST(Checkpoint, MistakesOfTheCallerLeaveNothing) {
    const TemporaryDirectory run;
    TrainerTensors tensors(1);
    const auto write = [&](const ordered_json& state) {
        write_checkpoint(run.path(), 1, tensors.weights, {}, state);
    };
    EXPECT_THROW(write(ordered_json::array()), std::logic_error);
    tensors.weights[0].shape = {36, 12};
    EXPECT_THROW(write(ordered_json::object()), std::logic_error);
    EXPECT_TRUE(std::filesystem::is_empty(run.path() / "checkpoints"));
    // Less than the whole tensor, and no other rank that has the rest.
    tensors.weights[0].shape = {38, 12};
    EXPECT_THAT(error_of([&] { write(ordered_json::object()); }), HasSubstr("444 of 456 elements"));
    EXPECT_TRUE(std::filesystem::is_empty(run.path() / "checkpoints"));
}

// --- Several ranks ---

/// Rank `index` of `count` has the elements from size * index / count on.
std::vector<NamedTensor> slices(const std::vector<NamedTensor>& whole, std::int64_t index,
                                std::int64_t count) {
    std::vector<NamedTensor> parts;
    for (const NamedTensor& tensor : whole) {
        const std::int64_t size = tensor.data.size();
        const std::int64_t first = size * index / count;
        const std::int64_t last = size * (index + 1) / count;
        NamedTensor part = tensor;
        part.first_element = first;
        part.data = {tensor.data.as<float>().data() + first, DType::float32, {last - first}};
        parts.push_back(std::move(part));
    }
    return parts;
}

void write_sharded(const std::filesystem::path& run, std::int64_t step,
                   const TrainerTensors& tensors, std::int64_t ranks) {
    begin_checkpoint(run, step);
    for (std::int64_t rank = ranks - 1; rank >= 0; --rank) {
        write_shard(run, step, {.index = rank, .count = ranks},
                    slices(tensors.weights, rank, ranks), slices(tensors.moments, rank, ranks));
    }
    commit_checkpoint(run, step, ranks, {{"val_loss", 2.0}});
}

TEST(ShardedCheckpoint, AnyNumberOfRanksGivesTheSameTensors) {
    for (const std::int64_t ranks : {1, 2, 3, 8, 20}) {  // 20: more ranks than elements of the norm
        const TemporaryDirectory run;
        const TrainerTensors tensors(4);
        write_sharded(run.path(), 9, tensors, ranks);
        const auto reader = CheckpointReader::open(run.path());
        EXPECT_TRUE(test::holds(reader, tensors)) << ranks;
        EXPECT_EQ(reader.validation_loss(), 2.0);
        EXPECT_EQ(names_in(reader.directory()).size(), static_cast<std::size_t>(2 * ranks + 2));
        if (ranks == 8) {
            EXPECT_TRUE(names_in(reader.directory()).contains("model-00001-of-00008.safetensors"));
            EXPECT_TRUE(
                names_in(reader.directory()).contains("optimizer-00008-of-00008.safetensors"));
            std::vector<float> part(100);
            reader.read("model.embed_tokens.weight", 30, std::span<float>(part));
            EXPECT_TRUE(std::equal(part.begin(), part.end(), tensors.values[0].begin() + 30));
        }
    }
}

TEST(ShardedCheckpoint, MissingOverlappingAndContradictingSlicesAreRefused) {
    const TemporaryDirectory run;
    const TrainerTensors tensors(4);
    const auto attempt = [&](auto&& change) {
        begin_checkpoint(run.path(), 1);
        for (std::int64_t rank = 0; rank < 2; ++rank) {
            std::vector<NamedTensor> parts = slices(tensors.weights, rank, 2);
            if (rank == 1) change(parts);
            write_shard(run.path(), 1, {.index = rank, .count = 2}, parts, {});
        }
        const std::string message =
            error_of([&] { commit_checkpoint(run.path(), 1, 2, ordered_json::object()); });
        abandon_checkpoint(run.path(), 1);
        return message;
    };
    EXPECT_THAT(attempt([](auto& parts) { parts.erase(parts.begin()); }),
                HasSubstr("values for 222 of 444 elements"));
    EXPECT_THAT(attempt([](auto& parts) { parts[0].first_element -= 2; }),
                HasSubstr("two values for elements 220 to 222"));
    EXPECT_THAT(attempt([](auto& parts) {
                    parts[1].first_element += 1;
                    parts[1].data = {parts[1].data.data(), DType::float32, {5}};
                }),
                HasSubstr("no values for elements 6 to 7"));
    EXPECT_THAT(attempt([](auto& parts) { parts[0].shape = {12, 37}; }), HasSubstr("disagree"));
    EXPECT_TRUE(std::filesystem::is_empty(run.path() / "checkpoints"));
    EXPECT_THROW(write_shard(run.path(), 1, {.index = 2, .count = 2}, {}, {}), std::logic_error);
}

TEST(ShardedCheckpoint, ARankThatDidNotWriteIsMissed) {
    const TemporaryDirectory run;
    const TrainerTensors tensors(4);
    begin_checkpoint(run.path(), 1);
    write_shard(run.path(), 1, {.index = 0, .count = 2}, slices(tensors.weights, 0, 2), {});
    EXPECT_THAT(error_of([&] { commit_checkpoint(run.path(), 1, 2, ordered_json::object()); }),
                HasSubstr("record-00002.json"));
}

}  // namespace
}  // namespace isoflop::checkpoint
