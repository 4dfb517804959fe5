// Whose checkpoint is whose, what `latest` is good for, and checkpoints whose state is replaced.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint_test_support.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"

namespace isoflop::checkpoint {
namespace {

using test::TemporaryDirectory;
using test::TrainerTensors;
using ::testing::ElementsAre;

void save(const std::filesystem::path& run, std::int64_t step, const std::string& lineage,
          std::int64_t keep = 2) {
    const TrainerTensors tensors(static_cast<std::uint32_t>(step));
    write_checkpoint(run, step, tensors.weights, tensors.moments, {{"iter", step}},
                     {.keep_checkpoints = keep, .lineage = lineage});
}

std::vector<std::int64_t> steps_in(const std::filesystem::path& run) {
    std::vector<std::int64_t> steps;
    for (const CheckpointEntry& entry : undamaged_checkpoints(run)) steps.push_back(entry.step);
    return steps;
}

TEST(Lineage, OnlyCheckpointsOfTheRunItselfAreRemoved) {
    const TemporaryDirectory run;
    save(run.path(), 100, "other");
    save(run.path(), 90, "");
    for (const std::int64_t step : {1, 2, 3, 4}) save(run.path(), step, "mine");
    EXPECT_THAT(steps_in(run.path()), ElementsAre(100, 90, 4, 3));
    EXPECT_EQ(CheckpointReader::open(run.path() / "latest").lineage(), "mine");
    EXPECT_NE(new_lineage(), new_lineage());
}

TEST(Lineage, LatestIsMadeAgainWhereItIsLostOrLeadsElsewhere) {
    const TemporaryDirectory run;
    EXPECT_FALSE(has_checkpoints(run.path()) || has_latest(run.path()));
    save(run.path(), 5, "mine");
    EXPECT_FALSE(repair_latest(run.path(), 5)) << "it is right";
    const auto latest = run.path() / "latest";
    std::filesystem::remove(latest);
    EXPECT_TRUE(repair_latest(run.path(), 5));
    std::filesystem::remove(latest);
    std::filesystem::create_directory_symlink("checkpoints/step_00000099", latest);
    EXPECT_TRUE(has_latest(run.path()));
    EXPECT_TRUE(repair_latest(run.path(), 5));
    std::filesystem::remove(latest);
    std::filesystem::create_directory(latest);
    test::write_file(latest / "file", "copied");
    EXPECT_TRUE(repair_latest(run.path(), 5));
    EXPECT_EQ(CheckpointReader::open(latest).step(), 5);
    EXPECT_EQ(test::read_file(run.path() / "latest.copied" / "file"), "copied");
}

TEST(Lineage, AReplacedStateKeepsTheTensors) {
    const TemporaryDirectory run;
    save(run.path(), 5, "mine");
    const TrainerTensors tensors(5);
    replace_state(run.path(), 5, {{"iter", 5}, {"val_loss", 1.5}}, {.lineage = "mine"});
    const auto reader = CheckpointReader::open(run.path());
    EXPECT_TRUE(test::holds(reader, tensors));
    EXPECT_EQ(reader.validation_loss(), 1.5);
    EXPECT_EQ(reader.lineage(), "mine");
    EXPECT_EQ(reader.trainer_state()["val_loss"], 1.5);
    EXPECT_THAT(steps_in(run.path()), ElementsAre(5));
}

TEST(Lineage, CheckpointsAfterADivergenceAreSetAside) {
    const TemporaryDirectory run;
    for (const std::int64_t step : {1, 2, 3, 4}) save(run.path(), step, "mine", 0);
    save(run.path(), 9, "other", 0);
    const auto moved = set_aside_after(run.path(), 2, "mine");
    EXPECT_EQ(moved.size(), 2U);
    EXPECT_THAT(steps_in(run.path()), ElementsAre(9, 2, 1));
    EXPECT_EQ(CheckpointReader::open(run.path() / "latest").step(), 2);
    EXPECT_EQ(CheckpointReader::open(run.path() / "checkpoints/diverged_step_00000004").step(), 4);
}

}  // namespace
}  // namespace isoflop::checkpoint
