// One checkpoint by several ranks at once, which are threads here.
#include <gmock/gmock.h>

#include <atomic>
#include <barrier>
#include <nlohmann/json.hpp>
#include <thread>

#include "checkpoint/checkpoint_test_support.hpp"

namespace isoflop::checkpoint {
namespace {

using test::TemporaryDirectory;
using test::TrainerTensors;
using testing::HasSubstr;

/// Two ranks: the first writes the weights, the second the moments.
class TwoRanks {
public:
    explicit TwoRanks(const std::filesystem::path& run_dir) : run_dir_(run_dir) {}

    /// A checkpoint with this trainer state, which the first rank writes.
    void write_state(std::int64_t step, const TrainerTensors& tensors,
                     nlohmann::ordered_json state) {
        state_ = std::move(state);
        write(step, tensors);
    }
    void write(std::int64_t step, const TrainerTensors& tensors, bool second_fails = false) {
        std::thread second([&] { write_as(1, step, {}, tensors, second_fails); });
        write_as(0, step, tensors.weights, tensors, false);
        second.join();
    }
    std::filesystem::path folder[2];
    std::string error[2];

private:
    void write_as(int rank, std::int64_t step, std::span<const NamedTensor> weights,
                  const TrainerTensors& tensors, bool fails) {
        const CheckpointRanks ranks{
            .shard = {.index = rank, .count = 2},
            .any_failed = [this, fails](bool failed) { return any_failed(failed || fails); }};
        const bool first = rank == 0;
        const std::vector<NamedTensor> none;
        try {
            folder[rank] = write_checkpoint(ranks, run_dir_, step, weights,
                                            first ? none : tensors.moments, state_);
        } catch (const IoError& caught) {
            error[rank] = caught.what();
        } catch (const std::exception& caught) {
            error[rank] = std::string("not of the disk: ") + caught.what();
        }
    }
    bool any_failed(bool failed) {
        if (failed) failed_ = true;
        barrier_.arrive_and_wait();
        const bool any = failed_;
        barrier_.arrive_and_wait();
        return any;
    }

    std::filesystem::path run_dir_;
    nlohmann::ordered_json state_ = nlohmann::ordered_json::object();
    std::atomic<bool> failed_ = false;
    std::barrier<> barrier_{2};
};

TEST(SharedCheckpoint, HoldsWhatEveryRankWrote) {
    const TemporaryDirectory run;
    const TrainerTensors tensors(4);
    TwoRanks ranks(run.path());
    ranks.write(7, tensors);
    EXPECT_EQ(ranks.error[0] + ranks.error[1], "");
    EXPECT_EQ(ranks.folder[0].filename(), checkpoint_name(7));
    EXPECT_TRUE(ranks.folder[1].empty());
    EXPECT_TRUE(test::holds(CheckpointReader::open(run.path()), tensors));
}

TEST(SharedCheckpoint, ARankThatCannotWriteFailsAllAndTheOlderCheckpointStays) {
    const TemporaryDirectory run;
    const TrainerTensors tensors(4);
    TwoRanks(run.path()).write(7, tensors);
    TwoRanks ranks(run.path());
    ranks.write(8, tensors, true);
    EXPECT_THAT(ranks.error[0], HasSubstr("another rank could not write"));
    EXPECT_NE(ranks.error[1], "");
    EXPECT_EQ(open_latest(run.path())->directory().filename(), checkpoint_name(7));
    EXPECT_EQ(CheckpointReader::open(run.path()).step(), 7);
}

// Without the fix the second rank waits for the first without end.
TEST(SharedCheckpoint, AnyExceptionOfARankEndsAll) {
    const TemporaryDirectory run;
    const TrainerTensors tensors(4);
    TwoRanks(run.path()).write(7, tensors);
    TwoRanks ranks(run.path());
    ranks.write_state(8, tensors, nlohmann::ordered_json::array());
    EXPECT_THAT(ranks.error[0],
                HasSubstr("not of the disk: checkpoint: the trainer state must be"));
    EXPECT_THAT(ranks.error[1], HasSubstr("another rank could not write"));
    EXPECT_EQ(CheckpointReader::open(run.path()).step(), 7);
}

}  // namespace
}  // namespace isoflop::checkpoint
