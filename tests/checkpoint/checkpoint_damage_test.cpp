// A damaged checkpoint is refused with the name of the file, and the one before it is taken.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint_test_support.hpp"

namespace isoflop::checkpoint {
namespace {

using nlohmann::ordered_json;
using test::error_of;
using test::TemporaryDirectory;
using test::TrainerTensors;
using ::testing::HasSubstr;

constexpr std::array kFiles = {"manifest.json", "model.safetensors", "optimizer.safetensors",
                               "trainer_state.json"};

class DamagedCheckpoint : public ::testing::TestWithParam<const char*> {
protected:
    DamagedCheckpoint() {
        for (const std::int64_t step : {100, 200}) {
            const TrainerTensors tensors(static_cast<std::uint32_t>(step));
            newest_ = write_checkpoint(run_.path(), step, tensors.weights, tensors.moments,
                                       {{"iteration", step}, {"val_loss", 1.25}});
        }
        file_ = newest_ / GetParam();
        content_ = test::read_file(file_);
    }

    /// The newest must be refused by name; the run must fall back to the one before.
    void expect_refused(const std::string& what) {
        const std::string message =
            error_of([&] { static_cast<void>(CheckpointReader::open(newest_)); });
        ASSERT_THAT(message, HasSubstr(file_.string())) << what;
        std::vector<std::filesystem::path> passed_over;
        const auto latest =
            open_latest(run_.path(), [&](const auto& path, const std::string& reason) {
                passed_over.push_back(path);
                EXPECT_EQ(reason, message);
            });
        ASSERT_TRUE(latest) << what;
        ASSERT_EQ(latest->directory().filename(), "step_00000100") << what;
        ASSERT_EQ(passed_over, std::vector{newest_}) << what;
    }

    TemporaryDirectory run_;
    std::filesystem::path newest_;
    std::filesystem::path file_;
    std::string content_;
};

TEST_P(DamagedCheckpoint, TruncationAnywhere) {
    const std::size_t stride = std::max<std::size_t>(content_.size() / 60, 1);
    std::vector<std::size_t> sizes = {1, 7, 8, 9, content_.size() - 1, content_.size() - 2};
    for (std::size_t size = 0; size < content_.size(); size += stride) sizes.push_back(size);
    for (const std::size_t size : sizes) {
        if (size >= content_.size()) continue;
        test::write_file(file_, content_.substr(0, size));
        expect_refused("truncated to " + std::to_string(size));
    }
}

TEST_P(DamagedCheckpoint, AFlippedBitAnywhere) {
    const std::size_t bits = content_.size() * 8;
    const std::size_t stride =
        std::max<std::size_t>(bits / 300, 1) | 1U;  // odd: all eight places in a byte
    std::vector<std::size_t> places = {0, 1, bits - 1, bits - 9};
    for (std::size_t bit = 0; bit < bits; bit += stride) places.push_back(bit);
    for (const std::size_t bit : places) {
        test::flip_bit(file_, bit);
        expect_refused("bit " + std::to_string(bit));
        test::flip_bit(file_, bit);
    }
}

TEST_P(DamagedCheckpoint, Deleted) {
    std::filesystem::remove(file_);
    expect_refused("deleted");
}

TEST_P(DamagedCheckpoint, AppendedTo) {
    test::write_file(file_, content_ + " ");
    expect_refused("one byte more");
}

TEST_P(DamagedCheckpoint, ReplacedByThatOfAnotherStep) {
    std::filesystem::copy_file(newest_.parent_path() / "step_00000100" / GetParam(), file_,
                               std::filesystem::copy_options::overwrite_existing);
    if (std::string(GetParam()) == "manifest.json") {
        // The manifest is valid; what it describes is not there.
        EXPECT_THAT(error_of([&] { static_cast<void>(CheckpointReader::open(newest_)); }),
                    HasSubstr(newest_.string()));
    } else {
        expect_refused("replaced");
    }
}

TEST_P(DamagedCheckpoint, AllDamagedIsAnErrorAndNoFreshStart) {
    for (const char* step : {"step_00000100", "step_00000200"}) {
        test::flip_bit(newest_.parent_path() / step / GetParam(), 100);
    }
    const std::string message = error_of([&] { static_cast<void>(open_latest(run_.path())); });
    EXPECT_THAT(message, HasSubstr("step_00000100"));
    EXPECT_THAT(message, HasSubstr("step_00000200"));
    EXPECT_THAT(message, HasSubstr(GetParam()));
}

INSTANTIATE_TEST_SUITE_P(Files, DamagedCheckpoint, ::testing::ValuesIn(kFiles),
                         [](const auto& instance) {
                             std::string name = instance.param;
                             return name.substr(0, name.find('.'));
                         });

}  // namespace
}  // namespace isoflop::checkpoint
