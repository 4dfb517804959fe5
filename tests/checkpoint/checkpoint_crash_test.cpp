// Processes that are killed while they write, and disks that fill up.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstring>
#include <nlohmann/json.hpp>
#include <thread>

#include "checkpoint_test_support.hpp"

namespace isoflop::checkpoint {
namespace {

using nlohmann::ordered_json;
using test::error_of;
using test::TemporaryDirectory;
using test::TrainerTensors;
using ::testing::HasSubstr;

void save(const std::filesystem::path& run, std::int64_t step, std::size_t rows = 37,
          const CheckpointOptions& options = {.keep_checkpoints = 2}) {
    const TrainerTensors tensors(static_cast<std::uint32_t>(step), rows);
    write_checkpoint(run, step, tensors.weights, tensors.moments, {{"iteration", step}}, options);
}

/// A child that saves without end, from the step after `step` on; half of the time it replaces the
/// same step.
pid_t start_saving(const std::filesystem::path& run, std::int64_t step) {
    const pid_t child = ::fork();
    if (child != 0) return child;
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);  // never outlives the test
    try {
        while (true) {
            ++step;
            save(run, step, 2000);
            save(run, step, 2000);
        }
    } catch (...) {
        ::_exit(1);
    }
}

/// Until `latest` names another step, a minute at most.
void wait_for_progress(const std::filesystem::path& run, std::int64_t step) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    const auto is_there = [&] {
        return std::filesystem::read_symlink(run / "latest").filename() == checkpoint_name(step);
    };
    while (is_there() && std::chrono::steady_clock::now() < deadline) {
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
}

TEST(KilledWriter, LatestAlwaysLoads) {
    const TemporaryDirectory run;
    const auto begin = std::chrono::steady_clock::now();
    save(run.path(), 0, 2000);
    const auto one_save = std::min<std::chrono::steady_clock::duration>(
        std::chrono::steady_clock::now() - begin, std::chrono::milliseconds(300));
    std::int64_t step = 0;
    bool left_something = false;
    constexpr int kRounds = 25;
    for (int round = 0; round < kRounds; ++round) {
        const pid_t child = start_saving(run.path(), step);
        ASSERT_GT(child, 0);
        // From at once to several checkpoints later; the last one for sure after one.
        std::this_thread::sleep_for(one_save * (5 * round) / kRounds);
        if (round == kRounds - 1) wait_for_progress(run.path(), step);
        ASSERT_EQ(::kill(child, SIGKILL), 0);
        int status = 0;
        ASSERT_EQ(::waitpid(child, &status, 0), child);
        ASSERT_TRUE(WIFSIGNALED(status)) << "the writer failed";

        const auto reader =
            open_latest(run.path(), [](const auto& path, const std::string& reason) {
                ADD_FAILURE() << path << " is damaged: " << reason;
            });
        ASSERT_TRUE(reader);
        ASSERT_GE(reader->step(), step) << "a checkpoint was lost";
        step = reader->step();
        EXPECT_EQ(reader->trainer_state().at("iteration"), step);
        EXPECT_TRUE(test::holds(*reader, TrainerTensors(static_cast<std::uint32_t>(step), 2000)));
        EXPECT_NO_THROW(static_cast<void>(CheckpointReader::open(run.path() / "latest")));
        for (const auto& entry : std::filesystem::directory_iterator(run.path() / "checkpoints")) {
            left_something = left_something || entry.path().filename().string().starts_with(".");
        }
    }
    EXPECT_GT(step, 0) << "every writer was killed before its first checkpoint";
    EXPECT_TRUE(left_something) << "no writer was killed in the act";
    save(run.path(), step + 1);
    for (const auto& entry : std::filesystem::directory_iterator(run.path() / "checkpoints")) {
        EXPECT_FALSE(entry.path().filename().string().starts_with("."))
            << "left over: " << entry.path();
    }
}

/// The message, after checking that the older checkpoint is whole and nothing of the new one is
/// left.
std::string failing_save(const std::filesystem::path& run, std::size_t rows) {
    const std::string message = error_of([&] { save(run, 2, rows); });
    EXPECT_EQ(CheckpointReader::open(run).step(), 1);
    EXPECT_TRUE(test::holds(CheckpointReader::open(run / "latest"), TrainerTensors(1)));
    for (const auto& entry : std::filesystem::directory_iterator(run / "checkpoints")) {
        EXPECT_EQ(entry.path().filename(), "step_00000001");
    }
    return message;
}

TEST(FullDisk, OlderCheckpointsStayAndNothingIsLeft) {
    const TemporaryDirectory folder;
    if (::mount("tmpfs", folder.path().c_str(), "tmpfs", 0, "size=1m") != 0) {
        GTEST_SKIP() << "mounting a small file system is not permitted here: "
                     << std::strerror(errno);
    }
    struct Unmount {
        const std::filesystem::path& path;
        ~Unmount() { ::umount2(path.c_str(), MNT_DETACH); }
    } const unmount{folder.path()};
    save(folder.path(), 1);
    // Too large in the first file, in the second, or in a small file at the very end.
    for (const std::size_t rows : {40'000U, 10'000U}) {
        const std::string message = failing_save(folder.path(), rows);
        EXPECT_THAT(message, HasSubstr("No space left"));
        EXPECT_THAT(message, HasSubstr(".safetensors"));
        EXPECT_THAT(message, HasSubstr("earlier ones are untouched"));
        EXPECT_THAT(message, HasSubstr("free there"));
    }
    save(folder.path(), 2);
    EXPECT_EQ(CheckpointReader::open(folder.path()).step(), 2);
}

/// A limit on the size of a file fails the write as a full disk does, without privileges.
TEST(FullDisk, AFileSizeLimitIsReportedTheSameWay) {
    const TemporaryDirectory folder;
    save(folder.path(), 1);
    struct rlimit before {};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    auto* const old_handler = std::signal(SIGXFSZ, SIG_IGN);
    const struct rlimit limited = {.rlim_cur = 100'000, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limited), 0);
    const std::string message = failing_save(folder.path(), 40'000);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    std::signal(SIGXFSZ, old_handler);
    EXPECT_THAT(message, HasSubstr("model.safetensors"));
    EXPECT_THAT(message, HasSubstr("was not saved"));
}

/// Each file of the checkpoint in turn cannot be created.
TEST(FailedWrite, IsNoticedInEveryFile) {
    for (const char* name : {"model.safetensors", "optimizer.safetensors", "record-00001.json",
                             "trainer_state.json", "manifest.json"}) {
        const TemporaryDirectory run;
        save(run.path(), 1);
        const TrainerTensors tensors(2);
        const auto folder = begin_checkpoint(run.path(), 2);
        std::filesystem::create_directory(folder / (std::string(name) + ".writing"));
        const std::string message = error_of([&] {
            write_shard(run.path(), 2, {}, tensors.weights, tensors.moments);
            commit_checkpoint(run.path(), 2, 1, ordered_json::object());
        });
        EXPECT_THAT(message, HasSubstr("cannot write"));
        EXPECT_THAT(message, HasSubstr(name));
        abandon_checkpoint(run.path(), 2);
        EXPECT_EQ(CheckpointReader::open(run.path()).step(), 1);
    }
}

TEST(UnwritableFolder, IsAnIoErrorThatNamesIt) {
    const TemporaryDirectory folder;
    test::write_file(folder.path() / "run", "a file where the run's folder should be");
    EXPECT_THAT(error_of([&] { save(folder.path() / "run", 1); }), HasSubstr("run"));
}

}  // namespace
}  // namespace isoflop::checkpoint
