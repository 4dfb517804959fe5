// The run log: its schema, that the document follows from metrics.jsonl alone, and what it costs.
#include "isoflop/run_log/run_log.hpp"

#include <gmock/gmock.h>

#include <limits>
#include <sstream>

#include "isoflop/base/error.hpp"
#include "isoflop/base/version.hpp"
#include "run_log/run_log_test_support.hpp"

namespace isoflop::run_log {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsSupersetOf;
using testing::UnorderedElementsAreArray;
using Names = std::vector<std::string>;

/// 20 iterations, evaluations at 9 and 19, a checkpoint, and the end.
void log_whole_run(RunLog& log) {
    for (std::int64_t iter = 0; iter < 20; ++iter) {
        log.add(example_iteration(iter));
        if (iter % 10 == 9) log.add(example_evaluation(iter, iter == 9 ? 3.5 : 3.25));
    }
    log.add(CheckpointRecord{19, 3.25, "checkpoints/step_00000020", "2025-03-01T14:06:01+01:00"});
    log.finish(EndState::finished);
}

class RunDocumentSchema : public RunLogTest {
protected:
    void SetUp() override {
        RunLog log = example_log(folder());
        log_whole_run(log);
        document = json_of_file(folder() / "run_test.json");
    }
    ordered_json document;
};

// The lists are those of the earlier system's log; every name must stay.
TEST_F(RunDocumentSchema, HasEveryNameOfTheEarlierSystem) {
    EXPECT_THAT(keys_of(document),
                IsSupersetOf(Names{"run_name", "start_time", "config", "startup_info",
                                   "training_iterations", "eval_steps", "checkpoints", "metadata",
                                   "end_time", "summary"}));
    const ordered_json& startup = document["startup_info"];
    EXPECT_THAT(keys_of(startup), UnorderedElementsAreArray(Names{"timestamp", "model", "optimizer",
                                                                  "config", "hardware"}));
    EXPECT_THAT(keys_of(startup["model"]),
                UnorderedElementsAreArray(
                    Names{"total_params", "trainable_params", "non_embedding_params"}));
    EXPECT_THAT(keys_of(startup["optimizer"]),
                UnorderedElementsAreArray(Names{"type", "param_groups"}));
    EXPECT_THAT(keys_of(startup["hardware"]),
                UnorderedElementsAreArray(
                    Names{"gpu_name", "num_gpus", "gpu_memory_gb", "precision", "parallelism"}));
    EXPECT_THAT(keys_of(document["metadata"]),
                UnorderedElementsAreArray(
                    Names{"world_size", "device", "dtype", "compile", "use_zero1", "use_fsdp"}));
    EXPECT_THAT(
        keys_of(document["eval_steps"][0]),
        UnorderedElementsAreArray(Names{"iter", "train_loss", "val_loss", "timestamp", "lr"}));
    EXPECT_THAT(keys_of(document["checkpoints"][0]),
                UnorderedElementsAreArray(Names{"iter", "val_loss", "path", "timestamp"}));
    EXPECT_THAT(
        keys_of(document["summary"]),
        IsSupersetOf(Names{"total_iterations", "final_iter", "final_train_loss", "best_val_loss",
                           "avg_time_ms", "avg_mfu", "total_eval_steps", "total_checkpoints"}));
}

TEST_F(RunDocumentSchema, IterationsHaveEveryNameOfTheEarlierSystem) {
    const ordered_json& first = document["training_iterations"][0];
    const ordered_json& later = document["training_iterations"][10];
    EXPECT_THAT(keys_of(later),
                IsSupersetOf(Names{"iter", "loss", "time_ms", "mfu", "memory", "gradients"}));
    EXPECT_TRUE(first["mfu"].is_null());
    EXPECT_THAT(keys_of(later["mfu"]),
                IsSupersetOf(Names{"mfu", "mfu_percent", "flops_achieved", "flops_per_token",
                                   "tokens_per_sec", "hardware_peak_flops", "hardware_peak_tflops",
                                   "achieved_tflops", "gpu_name", "precision", "num_gpus",
                                   "attention_flops_per_layer", "ffn_flops_per_layer",
                                   "attention_to_ffn_ratio", "architecture"}));
    EXPECT_THAT(keys_of(later["memory"]),
                UnorderedElementsAreArray(
                    Names{"allocated_gb", "reserved_gb", "max_allocated_gb", "max_reserved_gb"}));
    EXPECT_THAT(keys_of(later["gradients"]),
                UnorderedElementsAreArray(Names{"global_norm", "mean_layer_norm", "max_layer_norm",
                                                "min_layer_norm", "grad_mean", "grad_std",
                                                "grad_min", "grad_max"}));
}

TEST_F(RunDocumentSchema, AddsVersionBackendsAndWhatAnIterationDid) {
    EXPECT_EQ(document["version"], version());
    EXPECT_EQ(document["requested_backend"], "flash_attn_2");
    EXPECT_EQ(document["used_backend"], "sdpa");
    EXPECT_EQ(document["end_state"], "finished");
    EXPECT_THAT(document["schema"]["gb"].get<std::string>(), HasSubstr("GiB (2^30 bytes)"));
    EXPECT_THAT(keys_of(document["training_iterations"][0]),
                IsSupersetOf(Names{"lr", "grad_norm", "tokens", "skipped"}));
}

TEST_F(RunDocumentSchema, KeepsValuesExactly) {
    EXPECT_EQ(document["config"], example_config());
    EXPECT_EQ(document["startup_info"]["config"], example_config());
    EXPECT_EQ(document["start_time"], "2025-03-01T14:05:09+01:00");
    ASSERT_EQ(document["training_iterations"].size(), 20U);
    for (std::int64_t iter = 0; iter < 20; ++iter) {
        const IterationRecord record = example_iteration(iter);
        const ordered_json& logged = document["training_iterations"][static_cast<size_t>(iter)];
        EXPECT_EQ(logged["iter"], iter);
        EXPECT_EQ(logged["loss"].get<double>(), record.loss);
        EXPECT_EQ(logged["lr"].get<double>(), record.lr);
        EXPECT_EQ(logged["tokens"], record.tokens);
        EXPECT_EQ(logged["mfu"].is_object(), iter >= 5);
    }
    const ordered_json& use = document["training_iterations"][5]["mfu"];
    EXPECT_DOUBLE_EQ(use["mfu_percent"].get<double>(), 40);
    EXPECT_DOUBLE_EQ(use["hardware_peak_tflops"].get<double>(), 0.16);
    EXPECT_DOUBLE_EQ(use["achieved_tflops"].get<double>(), 0.064);
}

TEST_F(RunDocumentSchema, SummaryCountsAndAverages) {
    const ordered_json& summary = document["summary"];
    EXPECT_EQ(summary["total_iterations"], 20);
    EXPECT_EQ(summary["final_iter"], 19);
    EXPECT_EQ(summary["final_train_loss"].get<double>(), 0.5);
    EXPECT_EQ(summary["best_val_loss"].get<double>(), 3.25);
    // Iterations 5 to 19 take 101 ms when odd (8 of them) and 100 ms when even (7).
    EXPECT_DOUBLE_EQ(summary["avg_time_ms"].get<double>(), 100 + 8.0 / 15.0);
    EXPECT_DOUBLE_EQ(summary["avg_mfu"].get<double>(), 40);  // percent
    EXPECT_EQ(summary["total_eval_steps"], 2);
    EXPECT_EQ(summary["total_checkpoints"], 1);
    EXPECT_EQ(summary["skipped_iterations"], 0);
}

TEST_F(RunLogTest, DocumentFollowsFromMetricsAlone) {
    RunLog log = example_log(folder(), {.log_save_interval = 1});
    EXPECT_EQ(text_of(log.json_path()), derive_run_json(log.metrics_path()));
    log.add(example_iteration(0));
    EXPECT_EQ(text_of(log.json_path()), derive_run_json(log.metrics_path()));
    log.add(example_evaluation(0, 4));
    log.add(example_iteration(1));
    EXPECT_EQ(text_of(log.json_path()), derive_run_json(log.metrics_path()));
    log.finish(EndState::stopped);
    const std::string document = text_of(log.json_path());
    EXPECT_EQ(document, derive_run_json(log.metrics_path()));
    EXPECT_EQ(ordered_json::parse(document)["end_state"], "stopped");
}

TEST_F(RunLogTest, EveryRecordIsOnDiskAtOnce) {
    RunLog log = example_log(folder(), {.save_json = false});
    const auto lines = [&] {
        const std::string text = text_of(log.metrics_path());
        return std::count(text.begin(), text.end(), '\n');
    };
    EXPECT_EQ(lines(), 1);
    log.add(example_iteration(0));
    EXPECT_EQ(lines(), 2);
    log.add(example_evaluation(0, 4));
    EXPECT_EQ(lines(), 3);
    EXPECT_FALSE(std::filesystem::exists(log.json_path()));
    const ordered_json document = ordered_json::parse(derive_run_json(log.metrics_path()));
    EXPECT_EQ(document["training_iterations"].size(), 1U);
    EXPECT_EQ(document["end_state"], "running");
    EXPECT_TRUE(document["end_time"].is_null());
    EXPECT_EQ(document["summary"]["best_val_loss"], 4.0);
}

TEST_F(RunLogTest, EveryLineSaysItsType) {
    RunLog log = example_log(folder());
    log.add(example_iteration(0));
    log.add(example_evaluation(0, 4));
    log.add(CheckpointRecord{0, std::nullopt, "step_00000001", ""});
    log.finish(EndState::failed);
    std::istringstream lines(text_of(log.metrics_path()));
    Names types;
    for (std::string line; std::getline(lines, line);) {
        types.push_back(ordered_json::parse(line)["type"]);
    }
    EXPECT_THAT(types, ElementsAre("header", "iteration", "eval", "checkpoint", "end"));
}

TEST_F(RunLogTest, NumbersThatAreNotFiniteBecomeNull) {
    constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    RunLog log = example_log(folder());
    IterationRecord record = example_iteration(10);
    record.loss = kNan;
    record.grad_norm = kInfinity;
    record.skipped = true;
    record.gradients->grad_min = -kInfinity;
    record.utilisation->attention_to_ffn_ratio = kNan;
    log.add(record);
    log.add(example_evaluation(10, kNan));
    log.finish(EndState::diverged);
    const ordered_json document = json_of_file(log.json_path());
    const ordered_json& logged = document["training_iterations"][0];
    EXPECT_TRUE(logged["loss"].is_null());
    EXPECT_TRUE(logged["grad_norm"].is_null());
    EXPECT_TRUE(logged["gradients"]["grad_min"].is_null());
    EXPECT_TRUE(logged["mfu"]["attention_to_ffn_ratio"].is_null());
    EXPECT_EQ(logged["skipped"], true);
    EXPECT_TRUE(document["eval_steps"][0]["val_loss"].is_null());
    EXPECT_TRUE(document["summary"]["best_val_loss"].is_null());
    EXPECT_TRUE(document["summary"]["final_train_loss"].is_null());
    EXPECT_EQ(document["summary"]["skipped_iterations"], 1);
}

TEST_F(RunLogTest, TextThatIsNotUtf8IsRepaired) {
    RunLog log = example_log(folder());
    log.add(CheckpointRecord{0, 1.0, "out/\xFF/step", ""});
    log.finish(EndState::finished);
    EXPECT_EQ(json_of_file(log.json_path())["checkpoints"][0]["path"], "out/\uFFFD/step");
}

TEST_F(RunLogTest, NeverOverwritesAnotherRun) {
    { const RunLog first = example_log(folder()); }
    try {
        const RunLog second = example_log(folder());
        FAIL() << "a second log in the same folder";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(), HasSubstr("already holds the log of a run"));
    }
}

// Were the document rewritten every 100 iterations, 10,000 of them would write 100 documents, 50
// times the size of the last one on average.
TEST_F(RunLogTest, TenThousandIterationsWriteElevenTimesTheirSize) {
    RunLog log = example_log(folder());
    std::uintmax_t written = 0;
    auto last_write = std::filesystem::last_write_time(log.json_path());
    for (std::int64_t iter = 0; iter < 10'000; ++iter) {
        log.add(example_iteration(iter));
        const auto write_time = std::filesystem::last_write_time(log.json_path());
        if (write_time != last_write) written += std::filesystem::file_size(log.json_path());
        last_write = write_time;
        if (iter == 199) {
            EXPECT_EQ(json_of_file(log.json_path())["training_iterations"].size(), 200U);
        }
    }
    EXPECT_LE(written, 11 * std::filesystem::file_size(log.metrics_path()));
    log.finish(EndState::finished);
    EXPECT_EQ(text_of(log.json_path()), derive_run_json(log.metrics_path()));
}

TEST(Timestamp, IsIso8601WithTheOffset) {
    EXPECT_THAT(timestamp_now(),
                testing::MatchesRegex(
                    "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}[+-][0-9]{2}:[0-9]{2}"));
}

class SizeOfTheLog : public RunLogTest {};

TEST_F(SizeOfTheLog, AnIterationTakes200BytesAtMostHoweverLongItsNumbers) {
    RunLog log = example_log(folder());
    const auto before = std::filesystem::file_size(log.metrics_path());
    IterationRecord record = example_iteration(0);
    record.iter = 9'999'999'999;              // 10^10 iterations of
    record.tokens = 999'999'999'999'999'999;  // 10^8 tokens
    record.loss = 10.0 / 3.0;
    record.lr = 1.23456789012345678e-15;
    record.grad_norm = 1.0 / 3e10;
    record.time_ms = 1e6 / 7.0;
    record.skipped = true;
    record.detailed = false;
    record.gradients.reset();  // of every gradient_log_interval-th
    log.add(record);
    EXPECT_LE(std::filesystem::file_size(log.metrics_path()) - before, 200U);
}

}  // namespace
}  // namespace isoflop::run_log
