// Forward analyses: the text shows the numbers of the JSON.
#include "isoflop/report/model_report.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "isoflop/text/sections.hpp"
#include "report/report_test_support.hpp"
#include "support/shipped_configs.hpp"

namespace isoflop::report {
namespace {

using nlohmann::ordered_json;
using ::testing::HasSubstr;
using ::testing::StartsWith;

class ModelReportOf : public ::testing::TestWithParam<test::NamedModel> {
protected:
    planner::ModelAnalysis analysis_ = planner::analyze_model(GetParam().config, {}, cost::kAdamW);
    ordered_json json_ = model_json(analysis_);
    std::string text_ = model_text(analysis_, {.all_conventions = true, .megatron_memory = true});

    [[nodiscard]] double number(std::string_view pointer) const {
        return json_.at(nlohmann::json_pointer<std::string>(std::string(pointer))).get<double>();
    }
    [[nodiscard]] std::string row(const std::string& label) const { return row_of(text_, label); }
};
INSTANTIATE_TEST_SUITE_P(Every, ModelReportOf, ::testing::ValuesIn(test::all_models()),
                         test::model_name);

TEST_P(ModelReportOf, TextShowsTheParametersOfTheJson) {
    for (const auto& [label, pointer] : {std::pair{"Total", "/parameters/total"},
                                         {"Non-embedding", "/parameters/non_embedding"},
                                         {"In matrix products", "/parameters/matmul"}}) {
        EXPECT_THAT(row(label), StartsWith(human_count(number(pointer)))) << label;
        EXPECT_THAT(row(label),
                    HasSubstr(with_separators(static_cast<std::int64_t>(number(pointer)))))
            << label;
    }
    for (const auto& [component, parameters] : json_["parameters"]["by_component"].items()) {
        if (parameters.get<std::int64_t>() == 0) continue;
        EXPECT_THAT(row("  " + component), StartsWith(human_count(parameters.get<double>())));
        EXPECT_THAT(row("  " + component),
                    HasSubstr(with_separators(parameters.get<std::int64_t>())));
    }
    EXPECT_EQ(text_.find("Active per token") != std::string::npos,
              json_["parameters"]["active"] != json_["parameters"]["total"]);
}

TEST_P(ModelReportOf, TextShowsTheFlopsOfTheJson) {
    EXPECT_THAT(row("Forward per token"),
                StartsWith(text::flop_count(number("/forward_flops_per_token"))));
    EXPECT_THAT(row("Forward per sequence"),
                StartsWith(text::flop_count(number("/forward_flops_per_sequence"))));
    EXPECT_THAT(
        row("Training per token"),
        HasSubstr(with_separators(static_cast<std::int64_t>(number("/training_flops_per_token"))) +
                  " FLOP"));
    EXPECT_THAT(row("Training on 1T tokens"),
                StartsWith(human_flops(number("/training_flops_1t_tokens"))));
    EXPECT_THAT(row("Attention share"),
                StartsWith(fmt::format("{:.1f} %", number("/attention_core_share") * 100)));
    EXPECT_THAT(row("Attention / FFN"),
                StartsWith(fmt::format("{:.3f}", number("/attention_to_ffn_ratio"))));
    const double S = number("/sequence_length");
    const std::string section = text_.substr(text_.find("2. FLOPs"));
    for (const auto& [group, flops] : json_["forward_flops_by_group"].items()) {
        if (flops.get<double>() == 0) continue;
        EXPECT_THAT(row_of(section, "  " + group),
                    StartsWith(text::flop_count(flops.get<double>() / S)));
    }
    for (const auto& [convention, flops] : json_["flops_per_token_by_convention"].items()) {
        EXPECT_THAT(row("  " + convention), StartsWith(text::flop_count(flops.get<double>())));
    }
}

TEST_P(ModelReportOf, ProductsSumToTheForwardPass) {
    std::uint64_t flops = 0;
    for (const auto& product : json_["forward_products"])
        flops += product["flops"].get<std::uint64_t>();
    EXPECT_EQ(flops, json_["forward_flops_per_sequence"].get<std::uint64_t>());
}

TEST_P(ModelReportOf, TextShowsTheMemoryOfTheJson) {
    const std::size_t memory = text_.find("3. Training memory");
    ASSERT_NE(memory, std::string::npos);
    const std::string section = text_.substr(memory);
    EXPECT_THAT(row_of(section, "Total"), StartsWith(human_bytes(number("/memory/total_bytes"))));
    EXPECT_THAT(row_of(section, "Megatron estimate"),
                StartsWith(human_bytes(number("/memory/megatron_estimate_bytes"))));
    for (const auto& [category, bytes] : json_["memory"]["by_category"].items()) {
        if (bytes.get<double>() == 0) continue;
        EXPECT_THAT(row_of(section, "  " + category), StartsWith(human_bytes(bytes.get<double>())));
    }
    for (const auto& buffer : json_["layer_activations"]) {
        EXPECT_THAT(row_of(section, "  " + buffer["name"].get<std::string>()),
                    StartsWith(human_bytes(buffer["bytes"].get<double>())));
    }
}

TEST_P(ModelReportOf, ScalingTableShowsThePointsOfTheJson) {
    const std::size_t scaling = text_.find("5. Scaling");
    ASSERT_NE(scaling, std::string::npos);
    const auto lines = lines_of(text_.substr(scaling));
    const auto& points = json_["scaling"];
    ASSERT_EQ(lines.size(), points.size() + 2);
    for (std::size_t i = 0; i < points.size(); ++i) {
        EXPECT_THAT(lines[i + 2],
                    HasSubstr(with_separators(points[i]["sequence_length"].get<std::int64_t>())));
        EXPECT_THAT(
            lines[i + 2],
            HasSubstr(text::flop_count(points[i]["forward_flops_per_token"].get<double>())));
        EXPECT_THAT(lines[i + 2],
                    HasSubstr(human_bytes(points[i]["manual_activation_bytes"].get<double>())));
    }
}

TEST_P(ModelReportOf, JsonHasWhatItsReadersRelyOn) {
    for (const char* key : {"total", "active", "non_embedding"}) {
        EXPECT_TRUE(json_.at("parameters").at(key).is_number_integer()) << key;
    }
    EXPECT_FALSE(has_non_finite(json_));
    EXPECT_FALSE(mentions_no_number(text_)) << text_;
}

TEST_P(ModelReportOf, QuietTextIsThreeLines) {
    const auto lines = lines_of(model_text(analysis_, {.quiet = true}));
    ASSERT_EQ(lines.size(), 3U);
    EXPECT_EQ(lines[0],
              "parameters " + with_separators(json_["parameters"]["total"].get<std::int64_t>()));
    EXPECT_EQ(lines[2], "memory " + human_bytes(number("/memory/total_bytes")));
}

}  // namespace
}  // namespace isoflop::report
