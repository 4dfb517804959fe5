// train compare: the ranking, runs without an end, logs of the earlier system, and errors.
#include "isoflop/run_log/compare.hpp"

#include <gmock/gmock.h>

#include "isoflop/base/error.hpp"
#include "run_log/run_log_test_support.hpp"

namespace isoflop::run_log {
namespace {

using nlohmann::ordered_json;
using testing::ElementsAre;
using testing::HasSubstr;
using Paths = std::vector<std::filesystem::path>;

class CompareRuns : public RunLogTest {
protected:
    /// A run folder with 10 iterations; without an end when `killed`.
    std::filesystem::path run(const std::string& name, const std::string& preset,
                              std::optional<double> val_loss, bool killed = false) {
        RunLog log = RunLog::create(folder() / name, name, example_config(preset),
                                    example_metadata(), example_startup(), {.save_json = !killed});
        for (std::int64_t iter = 0; iter < 10; ++iter) log.add(example_iteration(iter));
        if (val_loss) {
            log.add(example_evaluation(8, *val_loss + 1));
            log.add(example_evaluation(9, *val_loss));
        }
        if (!killed) log.finish(EndState::finished);
        return folder() / name;
    }
    std::filesystem::path file(const std::string& name, const std::string& text) {
        write_text(folder() / name, text);
        return folder() / name;
    }
    static std::vector<std::string> names(const Comparison& comparison) {
        std::vector<std::string> result;
        for (const ComparedRun& run : comparison.runs) result.push_back(run.name);
        return result;
    }
    static void expect_error(const Paths& paths, const std::string& text) {
        try {
            static_cast<void>(compare_runs(paths));
            FAIL() << "no error for " << paths[0];
        } catch (const IoError& error) {
            EXPECT_EQ(error.exit_code(), ExitCode::io);
            EXPECT_THAT(error.what(), HasSubstr(text));
            EXPECT_THAT(error.what(), HasSubstr(paths.back().filename().string()));
        }
    }
};

/// As the earlier Python system wrote it, NaN included.
constexpr const char* kEarlierLog = R"({
  "run_name": "run_20250103_143022", "start_time": "2025-01-03T14:30:22.123456",
  "config": {"arch_preset": "llama", "normalization": "layernorm_nobias", "position_encoding": "learned_absolute",
             "ffn_type": "standard", "attention_backend": "sdpa", "note": "NaN \" Infinity"},
  "training_iterations": [
    {"iter": 0, "loss": NaN, "time_ms": 900.0, "mfu": -100.0}, {"iter": 1, "loss": 4.0, "time_ms": 100.0, "mfu": -100.0},
    {"iter": 2, "loss": 4.0, "time_ms": 100.0, "mfu": -100.0}, {"iter": 3, "loss": 4.0, "time_ms": 100.0, "mfu": -100.0},
    {"iter": 4, "loss": 4.0, "time_ms": 100.0, "mfu": -100.0},
    {"iter": 5, "loss": 3.9, "time_ms": 50.0, "mfu": {"mfu": 0.3, "mfu_percent": 30.0},
     "memory": {"allocated_gb": 1.0, "max_allocated_gb": 2.0}},
    {"iter": 6, "loss": 3.9, "time_ms": 60.0, "mfu": {"mfu": 0.32, "mfu_percent": 32.0},
     "memory": {"allocated_gb": 1.0, "max_allocated_gb": 2.5}}],
  "eval_steps": [{"iter": 0, "train_loss": 4.1, "val_loss": 4.0}, {"iter": 6, "train_loss": 3.5, "val_loss": 3.75}],
  "checkpoints": [], "metadata": {"world_size": 1})";

TEST_F(CompareRuns, RanksByTheBestValidationLoss) {
    const Comparison comparison =
        compare_runs(Paths{run("worse", "gpt2", 4.0), run("unevaluated", "llama", std::nullopt),
                           run("best", "llama", 3.0)});
    EXPECT_THAT(names(comparison), ElementsAre("best", "worse", "unevaluated"));
    EXPECT_DOUBLE_EQ(comparison.improvement_percent.value(), 25);
    const ComparedRun& best = comparison.runs[0];
    EXPECT_EQ(best.architecture, "llama(rmsnorm/rope/swiglu)");
    EXPECT_EQ(best.requested_backend, "flash_attn_2");
    EXPECT_EQ(best.used_backend, "sdpa");
    EXPECT_EQ(best.end_state, "finished");
    EXPECT_EQ(best.iterations, 10);
    EXPECT_DOUBLE_EQ(best.mfu_percent.value(), 40);
    EXPECT_DOUBLE_EQ(best.time_ms.value(), 100.6);
    EXPECT_DOUBLE_EQ(best.memory_gb.value(), 0.375);
}

TEST_F(CompareRuns, AveragesByPreset) {
    const Comparison comparison = compare_runs(
        Paths{run("a", "llama", 3.0), run("b", "llama", 4.0), run("c", "gpt2", std::nullopt)});
    ASSERT_EQ(comparison.presets.size(), 2U);
    EXPECT_EQ(comparison.presets[0].preset, "llama");
    EXPECT_EQ(comparison.presets[0].runs, 2);
    EXPECT_DOUBLE_EQ(comparison.presets[0].val_loss.value(), 3.5);
    EXPECT_EQ(comparison.presets[1].val_loss, std::nullopt);
}

TEST_F(CompareRuns, PrintsATable) {
    EXPECT_EQ(
        comparison_text(compare_runs(Paths{run("worse", "gpt2", 4.0), run("best", "llama", 3.0),
                                           run("killed", "llama", std::nullopt, true)})),
        R"(Rank  Run     Architecture                Backend  Val loss  MFU %  Time/iter    Memory
   1  best    llama(rmsnorm/rope/swiglu)  sdpa       3.0000  40.00   100.6 ms  0.38 GiB
   2  worse   gpt2(rmsnorm/rope/swiglu)   sdpa       4.0000  40.00   100.6 ms  0.38 GiB
   -  killed  llama(rmsnorm/rope/swiglu)  sdpa            -  40.00   100.6 ms  0.38 GiB

Best: best, llama(rmsnorm/rope/swiglu), validation loss 3.0000
Improvement over the worst: 25.00 %
MFU counts model FLOPs by exact.
Note: killed has no end: it still runs, or was killed (10 iterations logged)

Averages by preset
Preset  Runs  Val loss  MFU %  Time/iter
llama      2    3.0000  40.00   100.6 ms
gpt2       1    4.0000  40.00   100.6 ms
)");
}

TEST_F(CompareRuns, SaysHowMfuCountsFlops) {
    const auto palm = run("b_palm", "llama", 3.5);
    for (const char* name : {"metrics.jsonl", "run_b_palm.json"}) {
        std::string text = text_of(palm / name);
        // As logs were written before the key flop_convention.
        for (const std::string field :
             {R"("flop_convention":"exact",)", "\"flop_convention\": \"exact\",\n    "}) {
            while (text.find(field) != std::string::npos)
                text.erase(text.find(field), field.size());
        }
        ASSERT_EQ(text.find("flop_convention\":\"exact"), std::string::npos);
        write_text(palm / name, text);
    }
    run("a_exact", "llama", 3.0);
    const Comparison comparison = compare_runs(Paths{folder()});
    EXPECT_EQ(comparison.runs[0].flop_convention, "exact");
    EXPECT_EQ(comparison.runs[1].flop_convention, "palm");
    EXPECT_EQ(comparison.presets[0].mfu_percent, std::nullopt) << "no mean of two conventions";
    EXPECT_THAT(comparison_text(comparison),
                HasSubstr("Note: MFU cannot be compared between conventions:\n  exact: a_exact\n  "
                          "palm: b_palm\n"));
    EXPECT_EQ(comparison_json(comparison)["runs"][1]["flop_convention"], "palm");
    EXPECT_EQ(compare_runs(Paths{palm / "run_b_palm.json"}).runs[0].flop_convention, "palm");
}

// After a resume with another convention, the mean is that of the later iterations.
TEST_F(CompareRuns, AveragesNoMfuOfTwoConventions) {
    RunLog log = example_log(folder() / "run");
    for (std::int64_t iter = 0; iter < 20; ++iter) {
        IterationRecord record = example_iteration(iter);
        if (iter >= 10) {
            record.utilisation->convention = "palm";
            record.utilisation->mfu = 0.5;
        }
        log.add(record);
    }
    EXPECT_EQ(log.summary().flop_convention, "palm");
    EXPECT_DOUBLE_EQ(log.summary().avg_mfu.value(), 50);
}

TEST_F(CompareRuns, KilledRunsCountWithWhatTheyLogged) {
    const auto killed = run("killed", "llama", 2.5, true);
    write_text(killed / "metrics.jsonl", text_of(killed / "metrics.jsonl") + R"({"type":"iterat)");
    const Comparison comparison = compare_runs(Paths{killed});
    EXPECT_EQ(comparison.runs[0].val_loss, 2.5);
    EXPECT_EQ(comparison.runs[0].end_state, "running");
    EXPECT_EQ(comparison.improvement_percent, std::nullopt);
}

TEST_F(CompareRuns, ReadsFoldersFilesAndFoldersOfRuns) {
    const auto a = run("a", "llama", 3.0);
    run("b", "gpt2", 4.0);
    std::filesystem::create_directory(folder() / "empty");
    std::filesystem::create_directory_symlink("a", folder() / "latest");
    EXPECT_THAT(names(compare_runs(Paths{folder()})), ElementsAre("a", "b"));
    const Comparison from_document = compare_runs(Paths{a / "run_a.json"});
    ComparedRun expected = compare_runs(Paths{a}).runs[0];
    EXPECT_EQ(from_document.runs[0].val_loss, expected.val_loss);
    EXPECT_EQ(from_document.runs[0].time_ms, expected.time_ms);
    EXPECT_EQ(from_document.runs[0].architecture, expected.architecture);
    EXPECT_EQ(from_document.runs[0].used_backend, "sdpa");
    EXPECT_EQ(from_document.runs[0].end_state, "finished");
}

// It logged the defaults of the single choices while it built the preset, and a run that was killed
// has no summary.
TEST_F(CompareRuns, ReadsLogsOfTheEarlierSystem) {
    const Comparison comparison =
        compare_runs(Paths{file("run_20250103_143022.json", std::string(kEarlierLog) + "}")});
    const ComparedRun& run = comparison.runs[0];
    EXPECT_EQ(run.name, "run_20250103_143022");
    EXPECT_EQ(run.architecture, "llama(rmsnorm/rope/swiglu)");
    EXPECT_EQ(run.requested_backend, "sdpa");
    EXPECT_EQ(run.used_backend, "") << "it did not record what ran";
    EXPECT_EQ(run.val_loss, 3.75);
    EXPECT_EQ(run.mfu_percent, 31.0) << "without the -100 of the first five";
    EXPECT_EQ(run.time_ms, 55.0);
    EXPECT_EQ(run.memory_gb, 2.5);
    EXPECT_EQ(run.end_state, "running");
    EXPECT_THAT(comparison_text(comparison), HasSubstr("llama(rmsnorm/rope/swiglu)  -  "));
}

TEST_F(CompareRuns, UsesTheSummaryOfAnEarlierLogWithoutIterations) {
    const Comparison comparison =
        compare_runs(Paths{file("run_x.json", R"({"run_name": "x", "config": {},
        "training_iterations": [], "end_time": "2025-01-04T02:15:33",
        "summary": {"total_iterations": 10000, "best_val_loss": 3.1234, "avg_time_ms": 4312.5, "avg_mfu": 33.78}})")});
    const ComparedRun& run = comparison.runs[0];
    EXPECT_EQ(run.val_loss, 3.1234);
    EXPECT_EQ(run.iterations, 10000);
    EXPECT_EQ(run.mfu_percent, 33.78);
    EXPECT_EQ(run.end_state, "finished");
    EXPECT_EQ(run.architecture, "");
}

TEST_F(CompareRuns, NamesTheFileThatItCannotRead) {
    const auto good = run("good", "llama", 3.0);
    expect_error({good, folder() / "missing"}, "No such file or directory");
    expect_error({good, file("run_cut.json", kEarlierLog)}, "is not JSON, or is cut short");
    expect_error({good, file("run_other.json", "{}")}, "has no training_iterations");
    expect_error({file("other.json", "{}")}, "has no training_iterations");
    expect_error({good, file("run_odd.json", R"({"training_iterations": [1], "config": 3})")},
                 "is not the log of a run");
    std::filesystem::create_directory(folder() / "empty");
    expect_error({folder() / "empty"}, "holds no run");
    EXPECT_THROW(static_cast<void>(compare_runs({})), ConfigError);
}

TEST_F(CompareRuns, SkipsWhatIsNoRunBesideRuns) {
    const auto good = run("good", "llama", 3.0);
    std::filesystem::create_directory(folder() / "empty");
    const auto other = file("attention_probe.json", "{}");
    const Comparison comparison = compare_runs(Paths{folder() / "empty", good, other});
    ASSERT_EQ(comparison.runs.size(), 1U);
    EXPECT_EQ(comparison.skipped,
              (std::vector<std::string>{(folder() / "empty").string(), other.string()}));
    EXPECT_THAT(comparison_text(comparison), HasSubstr("empty holds no run, and is skipped"));
    EXPECT_EQ(comparison_json(comparison)["skipped"].size(), 2U);
}

TEST_F(CompareRuns, TableFitsItsWidth) {
    const auto first = run("20261130_205647_gpt2_flash_attn_2", "gpt2", 3.0);
    const std::string text = comparison_text(compare_runs(Paths{first}), text::Colour::off, 80);
    std::istringstream table(text.substr(0, text.find("\nBest: ")));
    for (std::string line; std::getline(table, line);) EXPECT_LE(line.size(), 80U) << line;
}

TEST_F(CompareRuns, GivesJsonForPrograms) {
    const ordered_json json = comparison_json(
        compare_runs(Paths{run("a", "llama", 3.0), run("b", "gpt2", std::nullopt)}));
    EXPECT_EQ(json["best"], "a");
    EXPECT_EQ(json["runs"][0]["rank"], 1);
    EXPECT_EQ(json["runs"][0]["val_loss"], 3.0);
    EXPECT_EQ(json["runs"][0]["architecture"], "llama(rmsnorm/rope/swiglu)");
    EXPECT_TRUE(json["runs"][1]["rank"].is_null());
    EXPECT_TRUE(json["runs"][1]["val_loss"].is_null());
    EXPECT_TRUE(json["improvement_percent"].is_null());
    EXPECT_EQ(json["presets"].size(), 2U);
}

}  // namespace
}  // namespace isoflop::run_log
