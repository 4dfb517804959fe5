// Going on with a log: what happened after the checkpoint is forgotten, crashes leave it readable.
#include <gmock/gmock.h>

#include "isoflop/base/error.hpp"
#include "isoflop/run_log/run_log.hpp"
#include "run_log/run_log_test_support.hpp"

namespace isoflop::run_log {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;

class ResumedLog : public RunLogTest {
protected:
    /// Iterations 0 to 9, an evaluation and a checkpoint at 5, and the end.
    void SetUp() override {
        RunLog log = example_log(folder());
        for (std::int64_t iter = 0; iter < 10; ++iter) {
            log.add(example_iteration(iter));
            if (iter == 5) {
                log.add(example_evaluation(5, 4.5));
                log.add(CheckpointRecord{5, 4.5, "step", "now"});
            }
        }
        log.finish(EndState::stopped);
    }

    [[nodiscard]] std::filesystem::path metrics() const { return folder() / "metrics.jsonl"; }
    [[nodiscard]] ordered_json document() const {
        return ordered_json::parse(derive_run_json(metrics()));
    }
    [[nodiscard]] std::vector<std::int64_t> logged_iterations() const {
        std::vector<std::int64_t> iterations;
        const ordered_json logged = document();
        for (const ordered_json& record : logged["training_iterations"]) {
            iterations.push_back(record["iter"]);
        }
        return iterations;
    }
    void expect_read_error(const std::string& text) const {
        try {
            const std::string derived = derive_run_json(metrics());
            FAIL() << "derived from a damaged log: " << derived.substr(0, 200);
        } catch (const IoError& error) {
            EXPECT_THAT(error.what(), HasSubstr(text));
            EXPECT_THAT(error.what(), HasSubstr(metrics().string()));
        }
    }
};

TEST_F(ResumedLog, HasEveryIterationOnce) {
    RunLog log = RunLog::resume(folder(), 6);
    for (std::int64_t iter = 6; iter < 12; ++iter) log.add(example_iteration(iter));
    log.finish(EndState::finished);
    EXPECT_THAT(logged_iterations(), ElementsAre(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11));
    EXPECT_EQ(document()["end_state"], "finished");
    EXPECT_EQ(document()["summary"]["total_iterations"], 12);
    EXPECT_EQ(document()["eval_steps"].size(), 1U);
    EXPECT_EQ(document()["resumes"][0]["iter"], 6);
    EXPECT_EQ(text_of(folder() / "run_test.json"), derive_run_json(metrics()));
}

TEST_F(ResumedLog, ForgetsTheEndAndWhatCameAfter) {
    const RunLog log = RunLog::resume(folder(), 3);
    EXPECT_THAT(logged_iterations(), ElementsAre(0, 1, 2));
    EXPECT_EQ(document()["end_state"], "running");
    EXPECT_TRUE(document()["eval_steps"].empty());
    EXPECT_TRUE(document()["checkpoints"].empty());
    EXPECT_EQ(log.summary().total_iterations, 3);
    EXPECT_EQ(log.summary().best_val_loss, std::nullopt);
}

TEST_F(ResumedLog, KeepsTheEvaluationAtItsStartOnRequest) {
    { const RunLog log = RunLog::resume(folder(), 5, {.keep_boundary = true}); }
    EXPECT_THAT(logged_iterations(), ElementsAre(0, 1, 2, 3, 4));
    EXPECT_EQ(document()["eval_steps"].size(), 1U);
    EXPECT_EQ(document()["checkpoints"].size(), 1U);
    { const RunLog log = RunLog::resume(folder(), 5); }
    EXPECT_TRUE(document()["eval_steps"].empty());
    EXPECT_TRUE(document()["checkpoints"].empty());
}

TEST_F(ResumedLog, KeepsLinesByteForByte) {
    const std::string before = text_of(metrics());
    { const RunLog log = RunLog::resume(folder(), 1000); }
    const std::string after = text_of(metrics());
    const std::size_t end_of_records = before.find(R"({"type":"end")");
    ASSERT_NE(end_of_records, std::string::npos);
    EXPECT_EQ(after.substr(0, end_of_records), before.substr(0, end_of_records));
}

TEST_F(ResumedLog, LeavesNoTemporaryFile) {
    { const RunLog log = RunLog::resume(folder(), 6); }
    for (const auto& entry : std::filesystem::directory_iterator(folder())) {
        EXPECT_THAT(entry.path().filename().string(),
                    testing::AnyOf("metrics.jsonl", "run_test.json"));
    }
}

TEST_F(ResumedLog, LeavesOutALineThatACrashCutShort) {
    const std::string text = text_of(metrics());
    const std::size_t last_record = text.find(R"({"type":"iteration","iter":9)");
    // Cut at every place within the record, its line break included.
    for (std::size_t kept = 1; kept < 60; kept += 7) {
        write_text(metrics(), text.substr(0, last_record + kept));
        EXPECT_EQ(logged_iterations().size(), 9U) << kept;
    }
    { const RunLog log = RunLog::resume(folder(), 9); }
    EXPECT_EQ(logged_iterations().size(), 9U);
    EXPECT_EQ(text_of(metrics()).back(), '\n');
}

TEST_F(ResumedLog, LeavesOutALastLineOfRubbish) {
    const std::string text = text_of(metrics());
    const std::size_t last_record = text.find(R"({"type":"iteration","iter":9)");
    write_text(metrics(), text.substr(0, last_record) + std::string(40, '\0') + "\n");
    EXPECT_EQ(logged_iterations().size(), 9U);
}

TEST_F(ResumedLog, RefusesDamageInTheMiddleAndNamesTheLine) {
    std::string text = text_of(metrics());
    text[text.find(R"({"type":"iteration","iter":4)")] = '#';
    write_text(metrics(), text);
    expect_read_error("damaged in line 6");
    EXPECT_THROW(static_cast<void>(RunLog::resume(folder(), 8)), IoError);
    EXPECT_EQ(text_of(metrics()), text) << "the damaged file was changed";
    EXPECT_FALSE(std::filesystem::exists(metrics().string() + ".writing"));
}

TEST_F(ResumedLog, RefusesAFileThatIsNoLog) {
    write_text(metrics(), "");
    expect_read_error("does not start with the header");
    write_text(metrics(), "{\"type\":\"iteration\",\"iter\":0}\n");
    expect_read_error("does not start with the header");
    std::filesystem::remove(metrics());
    expect_read_error("No such file or directory");
}

}  // namespace
}  // namespace isoflop::run_log
