// Trials of attention backends: errors, tolerances, flops, and the comparison made of them.
#include "isoflop/attention_lab/attention_trial.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "attention_lab/attention_reference.hpp"
#include "isoflop/attention_lab/attention_comparison.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::attention_lab {
namespace {

using ::testing::HasSubstr;

class AttentionTrialTest : public ::testing::Test {
protected:
    [[nodiscard]] AttentionTrials run(const attention::Shape& shape, double products = 2e9) {
        return try_attention(context_, shape, kAttentionBackends,
                             {.repeats = 1, .reference_products = products});
    }
    device::ThreadPool pool_{2};
    device::Context context_{pool_};
};

TEST_F(AttentionTrialTest, AllBackendsAgreeWithTheReference) {
    for (const attention::Shape& shape :
         {attention::self_attention(1, 1, 1, 1, 1), attention::self_attention(2, 33, 6, 2, 24),
          attention::self_attention(1, 17, 3, 1, 40, false),
          attention::self_attention(3, 2, 2, 2, 8)}) {
        const AttentionTrials trials = run(shape);
        EXPECT_EQ(trials.part, "");
        for (const AttentionTrial& trial : trials.backends) {
            ASSERT_TRUE(trial.ran) << trial.reason;
            ASSERT_TRUE(trial.errors);
            EXPECT_TRUE(trial.passed()) << attention_shape_text(shape) << " "
                                        << to_string(trial.backend) << " " << trial.errors->worst();
            EXPECT_GT(trial.forward_seconds, 0);
            EXPECT_GT(trial.backward_seconds, 0);
        }
    }
}

// d_o is zero outside the part, so the gradients of keys and values are of the part alone.
TEST_F(AttentionTrialTest, PartOfALargeShapeIsComparedExactly) {
    for (const bool causal : {true, false}) {
        const attention::Shape shape = attention::self_attention(2, 200, 4, 2, 16, causal);
        const AttentionTrials trials = run(shape, 7.0 * 2 * 70 * 200 * 16);
        EXPECT_EQ(trials.part,
                  "the last 64 of 200 queries, 1 of 2 sequences, 1 of 2 key/value heads");
        for (const AttentionTrial& trial : trials.backends)
            EXPECT_TRUE(trial.errors && trial.passed()) << to_string(trial.backend);
    }
}

TEST_F(AttentionTrialTest, WithoutAReferenceThereAreTimesAlone) {
    for (const AttentionTrial& trial : run(attention::self_attention(1, 16, 2, 2, 8), 0).backends) {
        EXPECT_TRUE(trial.ran && trial.passed());
        EXPECT_FALSE(trial.errors);
    }
}

TEST_F(AttentionTrialTest, WhatABackendCannotRunIsSaid) {
    const AttentionTrials trials = run(attention::self_attention(1, 8, 1, 1, 300));
    EXPECT_FALSE(trials.backends[0].ran);
    EXPECT_EQ(trials.backends[0].reason, "head_dim 300 is over 256");
    EXPECT_TRUE(trials.backends[0].passed());
    EXPECT_TRUE(trials.backends[2].ran);
    try {
        (void)run(attention::self_attention(1 << 20, 1 << 20, 16, 16, 64), 0);
        FAIL();
    } catch (const Error& error) {
        EXPECT_EQ(error.exit_code(), ExitCode::out_of_memory);
    }
    const std::array manual = {cost::AttentionBackend::manual};
    const AttentionTrials long_one =
        try_attention(context_, attention::self_attention(1, 1 << 20, 1, 1, 1), manual,
                      {.reference_products = 0});
    EXPECT_FALSE(long_one.backends[0].ran);
    EXPECT_THAT(long_one.backends[0].reason, HasSubstr("needs "));
}

TEST_F(AttentionTrialTest, MemoryIsWhatTheBackendKeeps) {
    const AttentionTrials trials = run(attention::self_attention(2, 32, 4, 2, 8), 0);
    EXPECT_EQ(trials.backends[0].saved_bytes, 2U * 4 * 32 * 4);
    EXPECT_EQ(trials.backends[0].scratch_bytes, 2U * 4 * 32 * 4);
    EXPECT_EQ(trials.backends[2].saved_bytes, 2U * 4 * 32 * 32 * 4);
    EXPECT_EQ(trials.backends[2].bytes(), 2U * 2 * 4 * 32 * 32 * 4);
}

TEST(AttentionErrorsTest, NaNIsNeverWithinATolerance) {
    AttentionTrial trial{
        .ran = true, .errors = AttentionErrors{}, .tolerance = {.values = 1, .lse = 1}};
    EXPECT_TRUE(trial.passed());
    trial.errors->d_key = std::numeric_limits<double>::quiet_NaN();
    EXPECT_FALSE(trial.passed());
    trial.errors->d_key = 0;
    trial.errors->lse = std::numeric_limits<double>::quiet_NaN();
    EXPECT_FALSE(trial.passed());
    trial.errors->lse = 2;
    EXPECT_FALSE(trial.passed());
}

TEST(AttentionErrorsTest, AWrongResultIsFound) {
    device::ThreadPool pool(1);
    const attention::Shape shape = attention::self_attention(1, 2, 1, 1, 1, false);
    const AttentionInputs inputs{.q = {0, 0}, .k = {1, 1}, .v = {1, 3}, .d_o = {1, 1}};
    const AttentionReference reference(pool, shape, reference_part(shape, 1e9), inputs);
    AttentionResults results{.o = {2, 2},
                             .lse = {std::log(2.0F), std::log(2.0F)},
                             .d_q = {0, 0},
                             .d_k = {0, 0},
                             .d_v = {1, 1}};
    EXPECT_LT(reference.errors(results).worst(), 1e-12);
    EXPECT_LT(reference.errors(results).lse, 1e-7);
    results.o[1] = 4;
    results.lse[0] = 3;
    EXPECT_NEAR(reference.errors(results).output, std::sqrt(4.0 / 8.0), 1e-12);
    EXPECT_NEAR(reference.errors(results).lse, 3 - std::log(2.0), 1e-6);
    results.lse = {std::nanf(""), 0};
    EXPECT_TRUE(std::isnan(reference.errors(results).lse));
}

TEST(AttentionFlops, FollowTheConvention) {
    const double forward = 4.0 * 2 * 3 * 100 * 100 * 64;
    EXPECT_EQ(attention_forward_flops(attention::self_attention(2, 100, 3, 1, 64, false)), forward);
    EXPECT_EQ(attention_forward_flops(attention::self_attention(2, 100, 3, 1, 64)), forward / 2);
    EXPECT_EQ(attention_backward_flops(attention::self_attention(2, 100, 3, 1, 64)),
              2.5 * forward / 2);
}

TEST(AttentionShapes, AreReadAndWritten) {
    for (const std::string text : {"8,1024,16,4,64", "1,1,1,1,1,full"})
        EXPECT_EQ(attention_shape_text(parse_attention_shape(text)), text);
    EXPECT_TRUE(parse_attention_shape("1,2,3,3,4,causal").causal);
    for (const auto& [text, found] :
         {std::pair("8,1024", "it has 2 parts"), std::pair("", "it has 1 part;"),
          std::pair("1,2,3,2,4", "3 heads cannot share 2"),
          std::pair("1,0,1,1,1", "sequence length is \"0\""),
          std::pair("1,2,3x,3,4", "heads is \"3x\""), std::pair("1,2,3,3,-4", "head size"),
          std::pair("1,2,3,3,4,none", "\"none\""), std::pair("1,2,3,3,4,full,5", "7 parts"),
          std::pair("16777216,16777216,16777216,1,1", "too large")}) {
        try {
            (void)parse_attention_shape(text);
            ADD_FAILURE() << text;
        } catch (const ConfigError& error) {
            EXPECT_THAT(error.what(), HasSubstr(found)) << text;
            EXPECT_THAT(error.what(), HasSubstr("B,S,H,Hkv,D")) << text;
        }
    }
}

TEST(AttentionShapes, GoFromAQuarterToTwiceTheSequenceLength) {
    const auto shapes = shapes_to_compare(attention::self_attention(2, 64, 4, 4, 8), false);
    ASSERT_EQ(shapes.size(), 4U);
    EXPECT_EQ(attention_shape_text(shapes.front()), "1,16,4,4,8");
    EXPECT_EQ(attention_shape_text(shapes.back()), "1,128,4,4,8");
    const auto on_gpu = shapes_to_compare(attention::self_attention(8, 64, 4, 4, 8), true);
    EXPECT_EQ(attention_shape_text(on_gpu.front()), "32,16,4,4,8");
    EXPECT_EQ(attention_shape_text(on_gpu.back()), "4,128,4,4,8");
    const auto large = shapes_to_compare(attention::self_attention(1, 8192, 32, 32, 128), false);
    EXPECT_LT(large.back().query_length, 8192) << "a CPU would take minutes";
    EXPECT_EQ(shapes_to_compare(attention::self_attention(2, 1, 4, 4, 8), false).size(), 1U);
}

AttentionComparison sample_comparison() {
    AttentionComparison comparison{.device = "a <device> & more", .rate_unit = {"TFLOP/s", 1e12}};
    for (const std::int64_t length : {512, 4096}) {
        ComparedShape compared{attention::self_attention(1, length, 4, 2, 64), {}, 1e14};
        compared.trials.backends = {
            {.backend = cost::AttentionBackend::flash_attn_2,
             .ran = true,
             .errors = AttentionErrors{.output = 1e-3},
             .tolerance = {.values = 4e-3, .lse = 1e-4},
             .forward_seconds = 1e-3,
             .backward_seconds = 2e-3,
             .saved_bytes = 1024},
            {.backend = cost::AttentionBackend::sdpa, .reason = "no CUDA kernel yet"}};
        comparison.shapes.push_back(compared);
    }
    return comparison;
}

TEST(AttentionComparisonTest, TextAndJsonHaveTheFigures) {
    const AttentionComparison comparison = sample_comparison();
    const std::string text = attention_comparison_text(comparison, text::Colour::off);
    for (const char* part : {"1,512,4,2,64", "TFLOP/s", "predicted", "100.0", "1.0e-03",
                             "no CUDA kernel yet", "1.000", "2.000"})
        EXPECT_THAT(text, HasSubstr(part));
    const nlohmann::ordered_json json = attention_comparison_json(comparison);
    EXPECT_TRUE(json.at("passed").get<bool>());
    const auto& first = json.at("shapes").at(0);
    EXPECT_EQ(first.at("sequence_length"), 512);
    EXPECT_EQ(first.at("backends").at(0).at("forward_ms"), 1.0);
    EXPECT_EQ(first.at("backends").at(0).at("flops_per_second"),
              3.5 * 2 * 4 * 512 * 512 * 64 / 3e-3);
    EXPECT_EQ(first.at("backends").at(1).at("reason"), "no CUDA kernel yet");
}

TEST(AttentionComparisonTest, AFailureOrAnErrorOutOfToleranceFails) {
    AttentionComparison comparison = sample_comparison();
    EXPECT_TRUE(comparison.passed());
    comparison.shapes[0].trials.backends[0].errors->d_query = 1;
    EXPECT_FALSE(comparison.passed());
    EXPECT_THAT(attention_comparison_text(comparison, text::Colour::off), HasSubstr("OUT"));
    comparison = sample_comparison();
    comparison.shapes[1].trials.backends[1].failed = true;
    EXPECT_FALSE(comparison.passed());
}

TEST(AttentionComparisonTest, ThePageIsSelfContainedAndEscaped) {
    const std::string page = attention_comparison_html(sample_comparison());
    for (const char* part : {"<svg", "polyline", "a &lt;device&gt; &amp; more", "tokens",
                             "TFLOP/s, forward and backward", "ms, forward and backward",
                             "prefers-color-scheme: dark", "flash_attn_2, predicted"})
        EXPECT_THAT(page, HasSubstr(part));
    for (const char* part : {"<script", "src=", "href=", "nan", "inf,"})
        EXPECT_THAT(page, ::testing::Not(HasSubstr(part)));
}

}  // namespace
}  // namespace isoflop::attention_lab
