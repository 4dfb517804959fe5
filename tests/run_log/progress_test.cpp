// The line of an iteration, the remaining time, and what a terminal and a file get to see.
#include "isoflop/run_log/progress.hpp"

#include <gmock/gmock.h>

#include <cmath>
#include <limits>
#include <sstream>

#include "isoflop/base/text.hpp"
#include "run_log/run_log_test_support.hpp"

namespace isoflop::run_log {
namespace {

using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

TEST(IterationLine, SaysEverything) {
    EXPECT_EQ(iteration_line(example_iteration(12), 2000, 588.0),
              "iter   12/2000  loss  0.7692  lr 3.33e-04    100.0 ms   10,173 tok/s  MFU 40.0%  "
              "HFU 45.0%   64.0/160.0 GFLOP/s  mem 0.25/0.38 GiB  norm  1.250  ETA 9.8 min");
}

TEST(IterationLine, HasADashForWhatIsNotKnown) {
    IterationRecord record = example_iteration(0);
    record.memory.reset();
    const std::string line = iteration_line(record, 2000, std::nullopt);
    EXPECT_THAT(line, HasSubstr("- tok/s  MFU     -  HFU     -"));
    EXPECT_THAT(line, HasSubstr("ETA -"));
}

TEST(IterationLine, WarmUpIsAsWideAsTheRest) {
    EXPECT_EQ(iteration_line(example_iteration(0), 2000, std::nullopt).size(),
              iteration_line(example_iteration(9), 2000, std::nullopt).size());
}

TEST(IterationLine, SaysWhenTheUpdateWasSkipped) {
    IterationRecord record = example_iteration(3);
    record.skipped = true;
    record.loss = std::numeric_limits<double>::quiet_NaN();
    record.grad_norm = 0;
    EXPECT_THAT(iteration_line(record, 10, std::nullopt),
                HasSubstr("skipped: every target is ignored"));
    record.grad_norm = std::numeric_limits<double>::infinity();
    EXPECT_THAT(iteration_line(record, 10, std::nullopt),
                HasSubstr("skipped: gradients not finite"));
}

TEST(IterationLine, ColoursOnlyOnRequest) {
    const IterationRecord record = example_iteration(3);
    EXPECT_THAT(iteration_line(record, 10, 1.0), Not(HasSubstr("\033")));
    EXPECT_THAT(iteration_line(record, 10, 1.0, text::Colour::on), HasSubstr("\033[1m"));
}

TEST(IterationLine, FitsEightyColumnsWithTheRemainingTime) {
    for (const std::int64_t max_iters : {10LL, 2000LL, 600'000LL, 100'000'000LL}) {
        for (const double left : {0.0, 119.9, 119.9 * 60, 47.9 * 3600, 9'999.0 * 86'400}) {
            for (const bool skipped : {false, true}) {
                IterationRecord record = example_iteration(9);
                record.skipped = skipped;
                const std::string line =
                    iteration_line(record, max_iters, left, text::Colour::off, 80);
                EXPECT_LE(line.size(), 80U) << line;
                EXPECT_THAT(line, HasSubstr("ETA " + human_seconds(left)));
                EXPECT_THAT(line, HasSubstr("loss"));
            }
        }
    }
    EXPECT_EQ(iteration_line(example_iteration(12), 2000, 588.0, text::Colour::off, 80),
              "iter   12/2000  loss  0.7692   10,173 tok/s  MFU 40.0%  ETA 9.8 min");
}

TEST(IterationLine, HasTheSameFiguresThroughoutARun) {
    const std::string early =
        iteration_line(example_iteration(0), 2000, std::nullopt, text::Colour::off, 80);
    const std::string late =
        iteration_line(example_iteration(1999), 2000, 40'000.0, text::Colour::on, 80);
    for (const char* label : {"tok/s", "MFU", "ETA"}) {
        EXPECT_THAT(early, HasSubstr(label));
        EXPECT_THAT(late, HasSubstr(label));
    }
    EXPECT_THAT(early, Not(HasSubstr("norm")));
    EXPECT_THAT(late, Not(HasSubstr("norm")));
}

TEST(DetailBlock, FitsEightyColumns) {
    IterationRecord record = example_iteration(10);
    record.gradients->grad_mean = -1e-6;
    std::istringstream lines(detail_block(record));
    for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 80U) << line;
}

TEST(FlopRates, TakeTheUnitOfThePeak) {
    EXPECT_EQ(flop_rates(66.3e9, 161e9), "66.3/161.0 GFLOP/s");
    EXPECT_EQ(flop_rates(400e12, 989e12), "400.0/989.0 TFLOP/s");
    EXPECT_EQ(flop_rates(3e15, 18e15), "3.0/18.0 PFLOP/s");
    EXPECT_EQ(flop_rates(0, 0), "0.0/0.0 MFLOP/s");
}

TEST(DetailBlock, HasLayerNormsAndTheDistributionOfGradients) {
    const std::string block = detail_block(example_iteration(10));
    EXPECT_THAT(block, HasSubstr("min 1.000e-01  mean 5.000e-01  max 9.000e-01"));
    EXPECT_THAT(block, HasSubstr("mean 1.000e-06  std 1.000e-03  min -5.000e-01  max 4.000e-01"));
    EXPECT_EQ(detail_block(example_iteration(11)), "");
}

TEST(RemainingTime, IsUnknownBeforeTheFirstStep) {
    EXPECT_EQ(RemainingTime().seconds_for(10), std::nullopt);
}

TEST(RemainingTime, FollowsTheStepTimeOfLate) {
    RemainingTime remaining;
    for (int step = 0; step < 10; ++step) remaining.add_step(1000);
    EXPECT_DOUBLE_EQ(remaining.seconds_for(100).value(), 100);
    for (int step = 0; step < 50; ++step) remaining.add_step(200);
    EXPECT_DOUBLE_EQ(remaining.seconds_for(100).value(), 20);
    EXPECT_EQ(remaining.seconds_for(-3), 0.0);
}

TEST(RemainingTime, IsNotMovedByOneHiccup) {
    RemainingTime remaining;
    for (int step = 0; step < 49; ++step) remaining.add_step(100);
    remaining.add_step(60'000);
    // The hiccup counts as 300 ms: (49 x 100 + 300) / 50 = 104 ms a step.
    EXPECT_DOUBLE_EQ(remaining.seconds_for(1000).value(), 104);
}

TEST(RemainingTime, IncludesPausesForEvaluation) {
    RemainingTime remaining;
    for (int step = 0; step < 20; ++step) remaining.add_step(100);
    remaining.add_pause(1000);
    EXPECT_DOUBLE_EQ(remaining.seconds_for(100).value(), 15);
    remaining.add_step(std::numeric_limits<double>::quiet_NaN());
    EXPECT_DOUBLE_EQ(remaining.seconds_for(100).value(), 15);
}

TEST(Progress, PrintsPlainLinesIntoAFile) {
    std::ostringstream out;
    Progress progress(out, {.max_iters = 6, .log_interval = 3});
    for (std::int64_t iter = 0; iter < 6; ++iter) {
        IterationRecord record = example_iteration(iter);
        record.gradients.reset();
        progress.iteration(record);
    }
    progress.evaluation(example_evaluation(5, 3.5), 3.25);
    std::istringstream lines(out.str());
    std::vector<std::string> starts;
    for (std::string line; std::getline(lines, line);) starts.push_back(line.substr(0, 8));
    EXPECT_THAT(starts, testing::ElementsAre("iter 0/6", "iter 3/6", "iter 5/6", "eval 5  "));
    EXPECT_THAT(out.str(), Not(HasSubstr("\r")));
    EXPECT_THAT(out.str(), Not(HasSubstr("\033")));
    EXPECT_THAT(out.str(), HasSubstr("val loss 3.5000  lr 1.00e-03  best 3.2500\n"));
}

TEST(Progress, RewritesALiveLineOnATerminal) {
    std::ostringstream out;
    Progress progress(out, {.max_iters = 100, .log_interval = 10, .terminal = true, .width = 40});
    progress.iteration(example_iteration(1));
    const std::string live = out.str();
    EXPECT_THAT(live, StartsWith("\riter   1/100"));
    EXPECT_THAT(live, Not(HasSubstr("\n")));
    EXPECT_LE(live.find("\033[K"), 40U) << "a carriage return and 39 columns";
    EXPECT_THAT(live, HasSubstr("ETA "));
    out.str("");
    progress.line("saved");
    EXPECT_EQ(out.str(), "\r\033[Ksaved\n");
    out.str("");
    progress.clear();
    EXPECT_EQ(out.str(), "");
}

TEST(Progress, ShowsDetailsBelowTheirIteration) {
    std::ostringstream out;
    Progress progress(out, {.max_iters = 100, .log_interval = 7});
    progress.iteration(example_iteration(10));
    EXPECT_THAT(out.str(), StartsWith("iter  10/100"));
    EXPECT_THAT(out.str(), HasSubstr("\n    layer norms"));
}

}  // namespace
}  // namespace isoflop::run_log
