#include "isoflop/report/compat_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "isoflop/text/sections.hpp"

namespace isoflop::report {

using nlohmann::ordered_json;
namespace compat = planner::compat;

namespace {

constexpr std::string_view kDisclaimer =
    "Figures of the earlier system, reproduced to the digit. They are not exact: see "
    "docs/differences.md.";

// Its DeepSeek formulas err in other ways than its LLaMA formulas.
std::string forward_reason(const compat::ModelAnalysis& result) {
    return result.active_params ? "plain 8 H^2 + 4 S H attention, no latent ranks, no LM head"
                                : "attention charged a/2 times too often, LM head missing";
}

std::string ratio_reason(const compat::ModelAnalysis& result) {
    return result.active_params ? "its FFN is 4 H F per active expert, attention without the core"
                                : "its FFN is 12 H^2 for every F";
}

text::Table difference_table() {
    return text::Table({{"", text::Align::left},
                        {"dsc180_a06"},
                        {"exact"},
                        {"why", text::Align::left, text::Wrap::yes}});
}

}  // namespace

std::string compat_backward_text(const compat::BackwardResult& result,
                                 const planner::BackwardPlan& exact, text::Colour colour) {
    text::TextReport report(colour);
    report.title("Backward plan (--compat dsc180_a06)");
    report.line(kDisclaimer);
    report.section("Result");
    text::Table table = difference_table();
    table.row({"N", human_count(result.n_params),
               human_count(static_cast<double>(exact.run.parameters.total)),
               result.n_params == static_cast<double>(exact.run.parameters.total)
                   ? ""
                   : "always counted as a dense LLaMA"});
    table.row({"C", human_flops(result.compute_flops), human_flops(exact.budget.compute_flops),
               "its H100, RTX 4090 and some fp32 peaks are wrong"});
    table.row({"D", human_count(result.n_tokens), human_count(exact.tokens.n_tokens),
               "D = C / training FLOPs per token"});
    table.row({"loss", fmt::format("{:.4f}", result.loss),
               fmt::format("{:.4f}", exact.loss_with_repetition.total), ""});
    table.row({"epochs", fmt::format("{:.4g}", result.epochs),
               fmt::format("{:.4g}", exact.tokens.epochs), ""});
    table.row({"forward GFLOPs per token",
               fmt::format("{:.2f}", result.forward_flops_per_token / 1e9),
               fmt::format("{:.2f}", exact.forward_flops_per_token / 1e9),
               "attention charged a/2 times too often, LM head missing"});
    table.row({"training GFLOPs per token",
               fmt::format("{:.2f}", result.training_flops_per_token / 1e9),
               fmt::format("{:.2f}", exact.run.exact_flops_per_token / 1e9), "3 x forward"});
    report.table(table);
    if (result.constrained) report.line("Limited by the data: part of the compute is unused.");
    return report.str();
}

ordered_json compat_backward_json(const compat::BackwardResult& result,
                                  const planner::BackwardPlan& exact) {
    return {{"kind", "backward"},
            {"compat", "dsc180_a06"},
            {"n_params", result.n_params},
            {"n_tokens", result.n_tokens},
            {"compute_flops", result.compute_flops},
            {"compute_used_flops", result.compute_used_flops},
            {"predicted_loss", result.loss},
            {"epochs", result.epochs},
            {"constrained", result.constrained},
            {"training_flops_per_token", result.training_flops_per_token},
            {"forward_flops_per_token", result.forward_flops_per_token},
            {"exact",
             {{"n_params", exact.run.parameters.total},
              {"n_tokens", exact.tokens.n_tokens},
              {"compute_flops", exact.budget.compute_flops},
              {"predicted_loss", exact.loss_with_repetition.total},
              {"training_flops_per_token", exact.run.exact_flops_per_token},
              {"forward_flops_per_token", exact.forward_flops_per_token}}}};
}

std::string compat_model_text(const compat::ModelAnalysis& result,
                              const planner::ModelAnalysis& exact, text::Colour colour) {
    text::TextReport report(colour);
    report.title("Model analysis (--compat dsc180_a06): " + text::architecture_line(exact.model));
    report.line(kDisclaimer);
    report.section("Result");
    text::Table table = difference_table();
    const auto gflops = [](double flops) { return fmt::format("{:.2f}", flops / 1e9); };
    table.row({"parameters", with_separators(static_cast<std::int64_t>(result.n_params)),
               with_separators(exact.parameters.total), ""});
    if (result.active_params) {
        table.row({"active parameters",
                   with_separators(static_cast<std::int64_t>(*result.active_params)),
                   with_separators(exact.parameters.active), "one layer, two of three matrices"});
    }
    table.row({"forward TFLOPs", fmt::format("{:.2f}", result.forward_flops / 1e12),
               fmt::format("{:.2f}", static_cast<double>(exact.forward_flops_per_sequence) / 1e12),
               fmt::format("of one sequence of {:.0f} tokens", result.sequence_length)});
    table.row({"forward GFLOPs per token", gflops(result.forward_flops_per_token),
               gflops(exact.forward_flops_per_token), forward_reason(result)});
    table.row({"training GFLOPs per token", gflops(result.training_flops_per_token),
               gflops(exact.training_flops_per_token), "3 x forward"});
    table.row({"training FLOPs, 1T tokens", human_flops(result.training_flops_1t_tokens),
               human_flops(exact.training_flops_1t_tokens), ""});
    table.row({"attention / FFN", fmt::format("{:.3f}", result.attention_ffn_ratio),
               fmt::format("{:.3f}", exact.attention_to_ffn_ratio()), ratio_reason(result)});
    report.table(table);
    report.section("Memory (GiB, printed as GB)");
    const auto gb = [](double gib) { return fmt::format("{:.2f} GB", gib); };
    report.row("Model", gb(result.memory.model_gib), "2 bytes per parameter");
    report.row("Gradients", gb(result.memory.gradient_gib), "2 bytes");
    report.row("Optimizer", gb(result.memory.optimizer_gib), "8 bytes; no fp32 master weights");
    report.row("Activations", gb(result.memory.activation_gib),
               "2 (4H + F) per token and layer, scores if stored");
    report.row(
        "Total", gb(result.memory.total_gib()),
        fmt::format("exact: {}", human_bytes(static_cast<double>(exact.memory.total_bytes()))));
    return report.str();
}

ordered_json compat_model_json(const compat::ModelAnalysis& result,
                               const planner::ModelAnalysis& exact) {
    ordered_json parameters{{"total", result.n_params}};
    if (result.active_params) parameters["active"] = *result.active_params;
    return {{"kind", "model"},
            {"compat", "dsc180_a06"},
            {"parameters", parameters},
            {"sequence_length", result.sequence_length},
            {"forward_flops", result.forward_flops},
            {"forward_flops_per_token", result.forward_flops_per_token},
            {"training_flops_per_token", result.training_flops_per_token},
            {"training_flops_1t_tokens", result.training_flops_1t_tokens},
            {"memory",
             {{"model_gib", result.memory.model_gib},
              {"gradient_gib", result.memory.gradient_gib},
              {"optimizer_gib", result.memory.optimizer_gib},
              {"activation_gib", result.memory.activation_gib},
              {"total_gib", result.memory.total_gib()}}},
            {"component_breakdown",
             {{"attention_flops", result.attention_flops},
              {"ffn_flops", result.ffn_flops},
              {"attention_ffn_ratio", result.attention_ffn_ratio}}},
            {"exact",
             {{"parameters", exact.parameters.total},
              {"forward_flops_per_token", exact.forward_flops_per_token},
              {"training_flops_per_token", exact.training_flops_per_token},
              {"memory_total_bytes", exact.memory.total_bytes()}}}};
}

}  // namespace isoflop::report
