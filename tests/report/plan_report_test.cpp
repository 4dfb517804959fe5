// Backward plans: the text shows the numbers of the JSON, and the JSON has what its readers rely
// on.
#include "isoflop/report/plan_report.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "isoflop/base/text.hpp"
#include "isoflop/text/sections.hpp"
#include "report/report_test_support.hpp"
#include "support/plans.hpp"

namespace isoflop::report {
namespace {

using text::Colour;

using nlohmann::ordered_json;
using planner::BackwardPlan;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::StartsWith;

struct NamedConfig {
    std::string name;
    recipe::PlanKeys config;
};
std::ostream& operator<<(std::ostream& out, const NamedConfig& named) {
    return out << named.name;
}

/// Shipped plans, a constrained one, one under Kaplan's law, and one of every architecture.
std::vector<NamedConfig> plans() {
    std::vector<NamedConfig> list;
    for (const auto& path : test::shipped_plans()) {
        list.push_back({path.stem().string(), test::plan_config(path.stem().string())});
    }
    list.push_back(
        {"constrained", test::plan_config("hoffmann", {"dataset_size=50e9", "max_epochs=2"})});
    list.push_back({"kaplan", test::plan_config("auto", {"base=kaplan_2020"})});
    list.push_back({"fsdp", test::plan_config(
                                "auto", {"parallelism=fsdp", "dataset_size=null", "num_gpus=64"})});
    for (const test::NamedModel& named : test::all_models()) {
        list.push_back({"on_" + named.name, test::plan_config_for(named)});
    }
    return list;
}

PlanTextOptions everything() {
    PlanTextOptions options;
    options.all_conventions = true;
    options.megatron_memory = true;
    return options;
}

class ReportOf : public ::testing::TestWithParam<NamedConfig> {
protected:
    BackwardPlan plan_ = test::plan_of(GetParam().config);
    ordered_json json_ = plan_json(plan_);
    std::string text_ = plan_text(plan_, everything());

    [[nodiscard]] double number(std::string_view pointer) const {
        return json_.at(nlohmann::json_pointer<std::string>(std::string(pointer))).get<double>();
    }
    [[nodiscard]] std::string row(const std::string& label) const { return row_of(text_, label); }
};
INSTANTIATE_TEST_SUITE_P(Every, ReportOf, ::testing::ValuesIn(plans()), test::model_name);

TEST_P(ReportOf, TextShowsTheHeadlinesOfTheJson) {
    EXPECT_THAT(row("Compute C"), StartsWith(human_flops(number("/compute_flops")) + " FLOP"));
    EXPECT_THAT(row("Parameters N"), StartsWith(human_count(number("/n_params"))));
    EXPECT_THAT(row("Parameters N"),
                HasSubstr(with_separators(json_["n_params"].get<std::int64_t>())));
    EXPECT_THAT(row("Non-embedding"), StartsWith(human_count(number("/parameters/non_embedding"))));
    EXPECT_THAT(row("Tokens D"), StartsWith(human_count(number("/n_tokens"))));
    EXPECT_THAT(row("Loss"), StartsWith(fmt::format("{:.4f}", number("/predicted_loss"))));
    EXPECT_THAT(row("Peak per GPU"),
                StartsWith(fmt::format("{:.1f} TFLOP/s", number("/peak_flops_per_gpu") / 1e12)));
    EXPECT_THAT(row("MFU"),
                AllOf(StartsWith(fmt::format("{:.1f} %", number("/hardware/expected_mfu") * 100)),
                      HasSubstr(json_["hardware"]["flop_convention"].get<std::string>())));
    EXPECT_THAT(row("Forward"), StartsWith(text::flop_count(number("/forward_flops_per_token"))));
    EXPECT_THAT(row("Training"), StartsWith(text::flop_count(number("/training_flops_per_token"))));
    EXPECT_THAT(row("Tokens per parameter"),
                StartsWith(fmt::format("{:.1f}", number("/optimum/tokens_per_parameter"))));
    EXPECT_THAT(text_, StartsWith(fmt::format(
                           "Backward plan: N {}, D {}, C {}, loss {:.4f}\n",
                           human_count(number("/n_params")), human_count(number("/n_tokens")),
                           human_flops(number("/compute_flops")), number("/predicted_loss"))));
}

TEST_P(ReportOf, TextShowsTheMemoryOfTheJson) {
    EXPECT_THAT(row("Total"), StartsWith(human_bytes(number("/memory/total_bytes"))));
    EXPECT_THAT(row("GPU memory"), StartsWith(human_bytes(number("/memory/capacity_bytes"))));
    EXPECT_THAT(row("fits"), StartsWith(json_["memory"]["fits"].get<bool>() ? "yes" : "no"));
    EXPECT_THAT(row("fits"), HasSubstr(human_bytes(std::abs(number("/memory/headroom_bytes")))));
    for (const auto& [category, bytes] : json_["memory"]["by_category"].items()) {
        if (bytes.get<double>() == 0) continue;
        EXPECT_THAT(row("  " + category), StartsWith(human_bytes(bytes.get<double>())));
    }
    EXPECT_THAT(row("Megatron estimate"),
                StartsWith(human_bytes(number("/memory/megatron_estimate/total_bytes"))));
    if (!json_["memory"]["change"].is_null()) {
        EXPECT_THAT(row("Cheapest change"),
                    StartsWith(json_["memory"]["change"]["description"].get<std::string>()));
    }
}

TEST_P(ReportOf, TextShowsTheScheduleOfTheJson) {
    EXPECT_THAT(row("Global batch"),
                StartsWith(human_count(number("/schedule/sequences_per_step")) + " sequences"));
    EXPECT_THAT(
        row("Global batch"),
        HasSubstr(with_separators(static_cast<std::int64_t>(number("/schedule/tokens_per_step"))) +
                  " tokens"));
    EXPECT_THAT(row("Steps"),
                StartsWith(with_separators(static_cast<std::int64_t>(number("/schedule/steps")))));
    EXPECT_THAT(row("Throughput"),
                StartsWith(human_count(number("/schedule/tokens_per_second")) + " tokens/s"));
    for (const auto& collective : json_["communication_per_step"]["collectives"]) {
        EXPECT_THAT(row(collective["name"]),
                    StartsWith(human_bytes(collective["bytes_sent"].get<double>())));
    }
}

TEST_P(ReportOf, TextShowsTheVerificationOfTheJson) {
    EXPECT_THAT(row("C recomputed from N and D"),
                StartsWith(human_flops(number("/verification/recomputed_compute_flops"))));
    EXPECT_THAT(row("6 N D rule"),
                StartsWith(text::flop_count(number("/verification/six_nd_flops_per_token"))));
    EXPECT_THAT(row("  + attention"),
                StartsWith(text::flop_difference(number("/verification/difference/attention"))));
    for (const auto& [convention, flops] : json_["flops_per_token_by_convention"].items()) {
        EXPECT_THAT(row("  " + convention), StartsWith(text::flop_count(flops.get<double>())));
    }
}

TEST_P(ReportOf, TextShowsTheOptimumOfTheJson) {
    const std::string closed = row("C = 6 N D (closed form)");
    EXPECT_THAT(closed, HasSubstr(human_count(number("/optimum/n_params"))));
    EXPECT_THAT(closed, HasSubstr(human_count(number("/optimum/n_tokens"))));
    EXPECT_THAT(closed, HasSubstr(fmt::format("{:.4f}", number("/optimum/loss"))));
    const std::string exact = row("exact FLOPs, same proportions");
    EXPECT_THAT(exact, HasSubstr(human_count(number("/optimum/exact/n_params"))));
    EXPECT_THAT(exact, HasSubstr(fmt::format("{:.4f}", number("/optimum/exact/loss"))));
    EXPECT_THAT(row("Verdict"), HasSubstr(fmt::format("{:+.4f}", number("/optimum/loss_gap"))));
}

TEST_P(ReportOf, ConstrainedPlansSaySoInBoth) {
    const bool constrained = json_["constrained"].get<bool>();
    EXPECT_EQ(constrained, GetParam().name == "constrained");
    EXPECT_EQ(text_.find("limited by the data") != std::string::npos, constrained);
    if (!constrained) return;
    EXPECT_THAT(row("Unused compute"), StartsWith(human_flops(number("/unused_compute_flops"))));
    EXPECT_THAT(row("Epochs"), StartsWith(fmt::format("{:.3g}", number("/epochs"))));
}

TEST_P(ReportOf, JsonHasWhatItsReadersRelyOn) {
    for (const char* key :
         {"n_params", "n_tokens", "compute_flops", "predicted_loss", "training_flops_per_token",
          "forward_flops_per_token", "peak_flops_per_gpu", "epochs"}) {
        EXPECT_TRUE(json_.at(key).is_number()) << key;
    }
    EXPECT_TRUE(json_.at("constrained").is_boolean());
    EXPECT_TRUE(json_.at("memory").at("total_bytes").is_number_unsigned());
    EXPECT_TRUE(json_.at("memory").at("fits").is_boolean());
    for (const char* key : {"n_params", "n_tokens", "loss"}) {
        EXPECT_TRUE(json_.at("optimum").at(key).is_number()) << key;
    }
}

// Every double that JSON shows reads back as the same double.
TEST_P(ReportOf, JsonHasFullPrecision) {
    const ordered_json again = ordered_json::parse(json_.dump());
    EXPECT_EQ(again.at("n_tokens").get<double>(), plan_.tokens.n_tokens);
    EXPECT_EQ(again.at("compute_flops").get<double>(), plan_.budget.compute_flops);
    EXPECT_EQ(again.at("predicted_loss").get<double>(), plan_.loss_with_repetition.total);
    EXPECT_EQ(again.at("optimum").at("exact").at("n_params").get<double>(),
              plan_.optimum.exact->continuous.n_params);
    EXPECT_EQ(again.at("memory").at("total_bytes").get<std::uint64_t>(),
              plan_.run.memory.total_bytes());
}

TEST_P(ReportOf, NothingIsInfiniteOrUndefined) {
    EXPECT_FALSE(mentions_no_number(text_)) << text_;
    EXPECT_FALSE(has_non_finite(json_));
}

TEST_P(ReportOf, QuietTextIsTheFourResultsAndMemory) {
    PlanTextOptions options;
    options.quiet = true;
    const auto lines = lines_of(plan_text(plan_, options));
    ASSERT_EQ(lines.size(), 5U);
    EXPECT_EQ(lines[0], "N " + human_count(number("/n_params")));
    EXPECT_EQ(lines[1], "D " + human_count(number("/n_tokens")));
    EXPECT_EQ(lines[2], "C " + human_flops(number("/compute_flops")));
    EXPECT_EQ(lines[3], fmt::format("loss {:.4f}", number("/predicted_loss")));
    EXPECT_EQ(lines[4],
              fmt::format("memory {} (fits: {})", human_bytes(number("/memory/total_bytes")),
                          json_["memory"]["fits"].get<bool>() ? "yes" : "no"));
}

TEST_P(ReportOf, LinesAreTrimmedAndWithoutEscapesUnlessColoured) {
    for (const std::string& line : lines_of(text_)) {
        EXPECT_TRUE(line.empty() || line.back() != ' ') << "'" << line << "'";
        EXPECT_EQ(line.find('\033'), std::string::npos);
    }
    PlanTextOptions coloured = everything();
    coloured.colour = Colour::on;
    EXPECT_THAT(plan_text(plan_, coloured), HasSubstr("\033[1m"));
}

TEST(PlanText, ShowsOnlyWhatIsAskedFor) {
    const BackwardPlan plan = test::plan_of("hoffmann");
    PlanTextOptions options;
    options.show_breakdown = false;
    options.verify_calculations = false;
    const std::string text = plan_text(plan, options);
    EXPECT_THAT(text, Not(HasSubstr("Verification")));
    EXPECT_THAT(text, Not(HasSubstr("token_embedding")));
    EXPECT_THAT(text, Not(HasSubstr("palm")));
    options.convention = cost::Convention::palm;
    EXPECT_THAT(plan_text(plan, options), HasSubstr("Training, palm"));
}

TEST(PlanText, NamesTheConventionOfTheMfu) {
    const BackwardPlan plan = test::plan_of("hoffmann", {"flop_convention=palm"});
    const std::string text = plan_text(plan, {});
    EXPECT_THAT(text, HasSubstr("model FLOPs, palm convention"));
    EXPECT_THAT(text, HasSubstr("FLOPs by palm"));
    EXPECT_THAT(text, HasSubstr("Training, palm"));
    EXPECT_EQ(plan_json(plan)["hardware"]["flop_convention"], "palm");
    EXPECT_THAT(comparison_text(std::vector<NamedPlan>{{"a", plan}}, Colour::off),
                HasSubstr("45.0 % palm"));
}

TEST(Comparison, PutsPlansSideBySide) {
    const std::vector<NamedPlan> plans{{"hoffmann", test::plan_of("hoffmann")},
                                       {"besiroglu", test::plan_of("besiroglu")}};
    const std::string text = comparison_text(plans, Colour::off);
    EXPECT_THAT(text, HasSubstr("hoffmann"));
    EXPECT_THAT(text, HasSubstr("besiroglu_2024"));
    EXPECT_THAT(text, HasSubstr("2.1500"));
    EXPECT_THAT(text, HasSubstr("2.1494"));
    const ordered_json json = comparison_json(plans);
    ASSERT_EQ(json["plans"].size(), 2U);
    EXPECT_EQ(json["plans"][1]["name"], "besiroglu");
    EXPECT_EQ(json["plans"][1]["predicted_loss"].get<double>(), plans[1].plan.loss.total);
}

/// Log-uniform between the bounds.
double between(std::mt19937_64& random, double low, double high) {
    return std::exp(std::uniform_real_distribution<double>(std::log(low), std::log(high))(random));
}

// Plans of any size that the config accepts: each is either refused or printed without infinities.
TEST(RandomPlans, AreFiniteOrRefused) {
    std::mt19937_64 random(20240607);
    const std::vector<test::NamedModel> models = test::all_models();
    const auto laws = scaling_law::laws();
    int planned = 0;
    for (int i = 0; i < 3000; ++i) {
        recipe::PlanKeys config = test::plan_config_for(models[random() % models.size()]);
        auto& gear = config.training_gear;
        gear.num_gpus = static_cast<std::int64_t>(between(random, 1, 1e7));
        gear.available_hours = between(random, 1e-12, 1e7);
        if (random() % 2 == 0) gear.peak_flops_per_gpu = between(random, 1e-3, 1e20);
        auto& efficiency = config.training_efficiency;
        efficiency.expected_mfu = between(random, 1e-12, 1);
        efficiency.batch_size = static_cast<std::int64_t>(between(random, 1, 1e6));
        efficiency.gradient_accumulation_steps = static_cast<std::int64_t>(between(random, 1, 1e6));
        efficiency.parallelism = static_cast<cost::Parallelism>(random() % 4);
        efficiency.recompute = static_cast<cost::Recompute>(random() % 3);
        efficiency.attention_backend = static_cast<cost::AttentionBackend>(random() % 3);
        config.dataset_constraints.sequence_length =
            static_cast<std::int64_t>(between(random, 1, 1e8));
        if (random() % 2 == 0) {
            config.dataset_constraints.dataset_size =
                static_cast<std::int64_t>(between(random, 1, 9e15));
            config.dataset_constraints.max_epochs = between(random, 1e-6, 1e6);
        }
        config.scaling_law.base = laws[random() % laws.size()].id;
        if (random() % 4 == 0) {
            config.scaling_law.base = "custom";
            config.scaling_law.E = between(random, 1e-9, 100);
            config.scaling_law.A = between(random, 1e-9, 1e12);
            config.scaling_law.B = between(random, 1e-9, 1e12);
            config.scaling_law.alpha = between(random, 1e-6, 10);
            config.scaling_law.beta = between(random, 1e-6, 10);
        }
        try {
            const BackwardPlan plan = test::plan_of(config);
            const std::string text = plan_text(plan, everything());
            ASSERT_FALSE(mentions_no_number(text)) << text;
            ASSERT_FALSE(has_non_finite(plan_json(plan))) << text;
            ASSERT_THAT(row_of(text, "Steps"), Not(StartsWith("-")));
            ++planned;
        } catch (const ConfigError&) {
            // refused, with a message that other tests read
        }
    }
    EXPECT_GT(planned, 500);
}

}  // namespace
}  // namespace isoflop::report
