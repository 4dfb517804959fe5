// The built-in ground truth itself, the closed forms of papers against our counts, and every row of
// the published measurements where their files are present.
#include "isoflop/validation/validation.hpp"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <string>

#include "isoflop/cost/flop_count.hpp"

namespace isoflop::validation {
namespace {

ValidationCase example_case() {
    return {.group = "flops",
            .name = "example",
            .expected = 100,
            .got = 101,
            .tolerance = 0.02,
            .unit = "FLOP",
            .source = "here",
            .note = {}};
}

TEST(ValidationCase, RelativeToleranceIsAFractionOfTheExpectedValue) {
    ValidationCase example = example_case();
    EXPECT_TRUE(example.passed());
    EXPECT_DOUBLE_EQ(example.error(), 0.01);
    example.got = 97.5;
    EXPECT_FALSE(example.passed());
    EXPECT_DOUBLE_EQ(example.error(), -0.025);
}

TEST(ValidationCase, AbsoluteToleranceIsInItsUnit) {
    ValidationCase example = example_case();
    example.relative = false;
    example.tolerance = 0.5;
    EXPECT_FALSE(example.passed());
    EXPECT_DOUBLE_EQ(example.error(), 1);
    example.tolerance = 1;
    EXPECT_TRUE(example.passed());
}

TEST(ValidationCase, NegativeExpectedValuesHaveATolerance) {
    ValidationCase example = example_case();
    example.expected = -100;
    example.got = -101;
    EXPECT_TRUE(example.passed());
}

TEST(ValidationCase, ToleranceZeroMeansEqual) {
    ValidationCase example = example_case();
    example.tolerance = 0;
    example.got = example.expected;
    EXPECT_TRUE(example.passed());
    example.got = std::nextafter(example.expected, 200.0);
    EXPECT_FALSE(example.passed());
}

TEST(ValidationCase, NanAndInfinityFail) {
    for (const bool relative : {false, true}) {
        ValidationCase example = example_case();
        example.relative = relative;
        example.got = std::numeric_limits<double>::quiet_NaN();
        EXPECT_FALSE(example.passed());
        example.got = std::numeric_limits<double>::infinity();
        EXPECT_FALSE(example.passed());
        example = example_case();
        example.tolerance = std::numeric_limits<double>::quiet_NaN();
        EXPECT_FALSE(example.passed());
    }
}

TEST(Validation, EveryCasePasses) {
    for (const ValidationCase& validation_case : run_validation()) {
        EXPECT_TRUE(validation_case.passed())
            << validation_case.group << ": " << validation_case.name << ": expected "
            << validation_case.expected << ", got " << validation_case.got << ", error "
            << validation_case.error() << " of " << validation_case.tolerance;
    }
}

TEST(Validation, EveryCaseCanFail) {
    for (ValidationCase validation_case : run_validation()) {
        const double scale = validation_case.relative ? std::abs(validation_case.expected) : 1.0;
        validation_case.got =
            validation_case.expected + scale * (1.01 * validation_case.tolerance + 1e-12);
        EXPECT_FALSE(validation_case.passed()) << validation_case.name;
        // A tolerance that forgives a factor of two, or a point of utilisation, would test nothing.
        const double allowed = validation_case.relative
                                   ? validation_case.tolerance
                                   : validation_case.tolerance / validation_case.expected;
        EXPECT_LE(allowed, 0.06) << validation_case.name;
    }
}

TEST(Validation, EveryCaseHasASourceAUnitAndAUniqueName) {
    std::set<std::string> names;
    for (const auto& cases : {run_validation(), run_compat_validation()}) {
        for (const ValidationCase& validation_case : cases) {
            EXPECT_TRUE(names.insert(validation_case.name).second) << validation_case.name;
            EXPECT_FALSE(validation_case.source.empty()) << validation_case.name;
            EXPECT_FALSE(validation_case.unit.empty()) << validation_case.name;
        }
    }
}

TEST(Validation, CoversEveryGroup) {
    std::map<std::string, int> counts;
    for (const ValidationCase& validation_case : run_validation()) ++counts[validation_case.group];
    EXPECT_EQ(counts["parameters"], 135 + 25);  // totals, and active ones of mixtures
    EXPECT_GE(counts["flops"], 18);
    EXPECT_GE(counts["utilisation"], 50);
    EXPECT_GE(counts["scaling laws"], 60);
    EXPECT_EQ(counts.size(), 4U);
}

TEST(CompatValidation, EveryCasePassesExactly) {
    const std::vector<ValidationCase> cases = run_compat_validation();
    EXPECT_GT(cases.size(), 100U);
    for (const ValidationCase& validation_case : cases) {
        EXPECT_TRUE(validation_case.passed()) << validation_case.name;
        EXPECT_EQ(validation_case.tolerance, 0) << validation_case.name;
        EXPECT_EQ(validation_case.group, "compat dsc180_a06");
    }
}

TEST(Validation, ParameterCountsHaveNoTolerance) {
    for (const ValidationCase& validation_case : run_validation()) {
        if (validation_case.group != "parameters") continue;
        EXPECT_EQ(validation_case.tolerance, 0) << validation_case.name;
    }
}

// --- Closed forms of papers against our lists of products --------------------------------------

struct GptShape {
    std::int64_t layers, hidden, heads;
    std::int64_t head_dim = 0;  ///< 0: hidden / heads
    std::int64_t vocabulary = 51200;
};

model::ModelConfig gpt_config(const GptShape& shape) {
    model::ModelConfig config;
    config.num_hidden_layers = shape.layers;
    config.hidden_size = shape.hidden;
    config.num_attention_heads = shape.heads;
    config.num_key_value_heads = shape.heads;
    config.head_dim = shape.head_dim > 0 ? shape.head_dim : shape.hidden / shape.heads;
    config.intermediate_size = 4 * shape.hidden;
    config.vocab_size = shape.vocabulary;
    config.max_position_embeddings = 2048;
    config.ffn_type = model::FfnType::standard;
    return config;
}

/// Shapes of Table 1 of Narayanan 2021, which Korthikanti 2022 also uses.
constexpr auto kMegatronShapes = std::to_array<GptShape>({{24, 2304, 24},
                                                          {30, 3072, 32},
                                                          {36, 4096, 32},
                                                          {40, 6144, 48},
                                                          {48, 6144, 64},
                                                          {48, 8192, 64},
                                                          {60, 10240, 80},
                                                          {80, 12288, 96},
                                                          {96, 12288, 96},
                                                          {96, 16384, 128},
                                                          {105, 20480, 128},
                                                          {128, 25600, 160}});

struct ForwardFlops {
    double total = 0, head = 0, core = 0;
};

ForwardFlops forward_flops(const model::ModelConfig& config, std::int64_t batch,
                           std::int64_t sequence_length) {
    const auto products =
        cost::forward_products(config, batch, sequence_length, cost::AttentionMask::full);
    const auto groups = cost::flops_by_group(products);
    const auto group = [&](cost::FlopGroup which) {
        return static_cast<double>(groups[static_cast<std::size_t>(which)]);
    };
    return {.total = static_cast<double>(cost::total_flops(products)),
            .head = group(cost::FlopGroup::lm_head),
            .core = group(cost::FlopGroup::attention_core)};
}

constexpr double kRounding = 1e-14;  // a handful of double operations

TEST(PublishedFormula, NarayananEquation3IsOurCountWithAllLayersRecomputed) {
    constexpr double B = 4, s = 2048, V = 51200;
    for (const GptShape& shape : kMegatronShapes) {
        const auto l = static_cast<double>(shape.layers);
        const auto h = static_cast<double>(shape.hidden);
        const ForwardFlops forward = forward_flops(gpt_config(shape), 4, 2048);
        const double ours = 3 * forward.total + (forward.total - forward.head);
        const double published = 96 * B * s * l * h * h * (1 + s / (6 * h) + V / (16 * l * h));
        EXPECT_NEAR(ours / published, 1, kRounding) << shape.hidden;
    }
}

TEST(PublishedFormula, KorthikantiModelFlopsAreThreeForwardPasses) {
    constexpr double B = 4, s = 2048, v = 51200;
    for (const GptShape& shape : kMegatronShapes) {
        const auto L = static_cast<double>(shape.layers);
        const auto h = static_cast<double>(shape.hidden);
        const ForwardFlops forward = forward_flops(gpt_config(shape), 4, 2048);
        const double published = 72 * B * L * s * h * h * (1 + s / (6 * h) + v / (12 * h * L));
        EXPECT_NEAR(3 * forward.total / published, 1, kRounding) << shape.hidden;
    }
}

// One more forward pass of the attention core makes 4 of it: s / 4.5 h. The paper prints s / 3 h,
// which is 6.
TEST(PublishedFormula, KorthikantiHardwareFlopsCountTheCoreSixTimesWhereFourAreExecuted) {
    constexpr double B = 4, s = 2048, v = 51200;
    for (const GptShape& shape : kMegatronShapes) {
        const auto L = static_cast<double>(shape.layers);
        const auto h = static_cast<double>(shape.hidden);
        const ForwardFlops forward = forward_flops(gpt_config(shape), 4, 2048);
        const double layers = 72 * B * L * s * h * h;
        const double head = v / (12 * h * L);
        EXPECT_NEAR((3 * forward.total + 3 * forward.core) / (layers * (1 + s / (3 * h) + head)), 1,
                    kRounding);
        EXPECT_NEAR((3 * forward.total + forward.core) / (layers * (1 + s / (4.5 * h) + head)), 1,
                    kRounding);
        // What the trainer issues with unfused attention recomputed is the latter.
        cost::Execution execution;
        execution.micro_batch_size = 4;
        execution.sequence_length = 2048;
        execution.attention_backend = cost::AttentionBackend::manual;
        execution.recompute = cost::Recompute::attention;
        const auto executed = cost::executed_products(gpt_config(shape), execution);
        EXPECT_NEAR(
            static_cast<double>(cost::total_flops(executed)) / (3 * forward.total + forward.core),
            1, kRounding);
    }
}

struct ChinchillaRow {
    GptShape shape;
    double ratio;
};

// Shapes of Table A4 of Hoffmann 2022: layers, width, heads and key width.
constexpr auto kChinchillaTableA4 =
    std::to_array<ChinchillaRow>({{{10, 640, 10, 64, 32000}, 1.03},
                                  {{20, 1024, 16, 64, 32000}, 1.10},
                                  {{24, 1280, 10, 128, 32000}, 1.08},
                                  {{26, 1792, 14, 128, 32000}, 1.04},
                                  {{28, 2048, 16, 128, 32000}, 1.03},
                                  {{40, 3584, 28, 128, 32000}, 0.99}});

// Their FLOPs of a sequence over 6 N D. The printed ratios come out when embedding and logits are
// left out of the FLOPs and N holds a fifth attention projection, that of the relative positions; a
// softmax is charged 3 per score.
TEST(PublishedFormula, ChinchillaTableA4FlopRatios) {
    constexpr double S = 2048;
    for (const ChinchillaRow& row : kChinchillaTableA4) {
        const model::ModelConfig config = gpt_config(row.shape);
        const ForwardFlops forward = forward_flops(config, 1, 2048);
        const auto L = static_cast<double>(config.num_hidden_layers);
        const auto d = static_cast<double>(config.hidden_size);
        const auto heads = static_cast<double>(config.num_attention_heads);
        const auto width = static_cast<double>(config.query_width());
        const double softmax = L * 3 * heads * S * S;
        const double n_params = 32000 * d + L * (5 * d * width + 2 * d * 4 * d);
        const double ratio = 3 * (forward.total - forward.head + softmax) / (6 * n_params * S);
        EXPECT_NEAR(ratio, row.ratio, 0.005) << "published to two decimals; width " << d;
    }
}

}  // namespace
}  // namespace isoflop::validation
