#include "isoflop/report/model_report.hpp"

#include <fmt/format.h>

#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "isoflop/text/sections.hpp"
#include "report/common_json.hpp"

namespace isoflop::report {
namespace {

using planner::ModelAnalysis;

void parameters_section(text::TextReport& report, const ModelAnalysis& analysis) {
    const model::ParameterTotals& totals = analysis.parameters;
    report.section("1. Parameters");
    report.row("Total", human_count(static_cast<double>(totals.total)),
               with_separators(totals.total));
    if (totals.active != totals.total) {
        report.row("Active per token", human_count(static_cast<double>(totals.active)),
                   with_separators(totals.active));
    }
    report.row("Non-embedding", human_count(static_cast<double>(totals.non_embedding)),
               with_separators(totals.non_embedding));
    report.row("In matrix products", human_count(static_cast<double>(totals.matmul)),
               with_separators(totals.matmul));
    text::parameter_rows(report, totals);
}

void flops_section(text::TextReport& report, const ModelAnalysis& analysis,
                   const ModelTextOptions& options) {
    const std::int64_t S = analysis.execution.sequence_length;
    report.section(fmt::format("2. FLOPs at S = {} (exact: every matrix product, full attention)",
                               with_separators(S)));
    report.row("Forward per token", text::flop_count(analysis.forward_flops_per_token));
    text::flop_rows(report, cost::forward_products(analysis.model, 1, S, cost::AttentionMask::full),
                    S);
    report.row("Forward per sequence",
               text::flop_count(static_cast<double>(analysis.forward_flops_per_sequence)));
    report.row(
        "Training per token", text::flop_count(analysis.training_flops_per_token),
        fmt::format("{} FLOP = 3 x forward",
                    with_separators(static_cast<std::int64_t>(analysis.training_flops_per_token))));
    report.row("Training on 1T tokens", human_flops(analysis.training_flops_1t_tokens) + " FLOP");
    report.row("Attention share", fmt::format("{:.1f} %", analysis.attention_core_share() * 100),
               "scores and values, of forward");
    report.row("Attention / FFN", fmt::format("{:.3f}", analysis.attention_to_ffn_ratio()));
    report.row("Elementwise work",
               fmt::format("{:.3f} GOP/token", analysis.elementwise.total() / 1e9),
               "norms, softmax, rope, activations: in no convention");
    if (options.all_conventions) {
        text::convention_table(report, analysis.convention_flops_per_token);
    } else if (options.convention != cost::Convention::exact) {
        text::convention_row(report, analysis.convention_flops_per_token, options.convention);
    }
}

void memory_section(text::TextReport& report, const ModelAnalysis& analysis,
                    const ModelTextOptions& options) {
    report.section("3. Training memory on one GPU");
    report.row("Execution", text::execution_line(analysis.execution));
    if (analysis.attention.fell_back()) {
        report.row("Attention backend", to_string(analysis.attention.used),
                   analysis.attention.explanation());
    }
    text::memory_rows(report, analysis.memory);
    report.row("Total", human_bytes(static_cast<double>(analysis.memory.total_bytes())),
               "arena exact for our trainer; context estimated");
    if (analysis.fit) recipe::fit_rows(report, *analysis.fit, analysis.gpu_id + " memory");
    if (options.megatron_memory) {
        report.row("Megatron estimate",
                   human_bytes(static_cast<double>(analysis.megatron.total_bytes())));
    }
    report.section("4. Saved activations of one layer");
    for (const cost::Buffer& buffer : analysis.layer_buffers) {
        report.row("  " + std::string(buffer.name()),
                   human_bytes(static_cast<double>(buffer.bytes())));
    }
    text::Table table({{"backend", text::Align::left},
                       {"recompute", text::Align::left},
                       {"per layer"},
                       {"all layers"}});
    for (const planner::ActivationChoice& choice : analysis.activation_choices) {
        table.row({fmt::format("{}{}", to_string(choice.attention_backend),
                               choice.runs ? "" : " (cannot run)"),
                   std::string(to_string(choice.recompute)),
                   human_bytes(static_cast<double>(choice.bytes_per_layer)),
                   human_bytes(static_cast<double>(choice.bytes))});
    }
    report.line("");
    report.table(table);
}

void scaling_section(text::TextReport& report, const ModelAnalysis& analysis) {
    report.section("5. Scaling with sequence length (one sequence)");
    text::Table table(
        {{"S"}, {"forward per token"}, {"attention share"}, {"activations, fused"}, {"manual"}});
    for (const planner::SequencePoint& point : analysis.scaling) {
        table.row({with_separators(point.sequence_length),
                   text::flop_count(point.forward_flops_per_token),
                   fmt::format("{:.1f} %", point.attention_core_share * 100),
                   human_bytes(static_cast<double>(point.fused_activation_bytes)),
                   human_bytes(static_cast<double>(point.manual_activation_bytes))});
    }
    report.table(table);
}

}  // namespace

std::string model_text(const ModelAnalysis& analysis, const ModelTextOptions& options) {
    if (options.quiet) {
        const std::string fits =
            !analysis.fit ? "" : fmt::format(" (fits: {})", analysis.fit->fits() ? "yes" : "no");
        return fmt::format("parameters {}\ntraining {}/token\nmemory {}{}\n",
                           with_separators(analysis.parameters.total),
                           text::flop_count(analysis.training_flops_per_token),
                           human_bytes(static_cast<double>(analysis.memory.total_bytes())), fits);
    }
    text::TextReport report(options.colour);
    report.title(text::architecture_line(analysis.model));
    if (!options.file_kind.empty()) report.line(fmt::format("Read as a {}.", options.file_kind));
    if (!options.assumed.empty()) {
        const std::vector<std::string_view> assumed(options.assumed.begin(), options.assumed.end());
        report.line("Assumed: " + join(assumed, "; ") + ".");
    }
    parameters_section(report, analysis);
    flops_section(report, analysis, options);
    memory_section(report, analysis, options);
    scaling_section(report, analysis);
    return report.str();
}

nlohmann::ordered_json model_json(const ModelAnalysis& analysis) {
    using nlohmann::ordered_json;
    ordered_json groups = ordered_json::object();
    for (std::size_t i = 0; i < cost::kFlopGroupCount; ++i) {
        groups[std::string(to_string(static_cast<cost::FlopGroup>(i)))] =
            analysis.forward_by_group[i];
    }
    ordered_json layer = ordered_json::array();
    for (const auto& buffer : analysis.layer_buffers) {
        layer.push_back({{"name", buffer.name()}, {"bytes", buffer.bytes()}});
    }
    ordered_json choices = ordered_json::array();
    for (const auto& choice : analysis.activation_choices) {
        choices.push_back({{"attention_backend", to_string(choice.attention_backend)},
                           {"recompute", to_string(choice.recompute)},
                           {"bytes_per_layer", choice.bytes_per_layer},
                           {"bytes", choice.bytes},
                           {"runs", choice.runs}});
    }
    ordered_json scaling = ordered_json::array();
    for (const auto& point : analysis.scaling) {
        scaling.push_back({{"sequence_length", point.sequence_length},
                           {"forward_flops_per_token", point.forward_flops_per_token},
                           {"attention_core_share", point.attention_core_share},
                           {"fused_activation_bytes", point.fused_activation_bytes},
                           {"manual_activation_bytes", point.manual_activation_bytes}});
    }
    const auto& work = analysis.elementwise;
    ordered_json json;
    json["kind"] = "model";
    json["model"] = to_json(analysis.model);
    json["parameters"] = to_json(analysis.parameters);
    json["sequence_length"] = analysis.execution.sequence_length;
    json["forward_flops_per_token"] = analysis.forward_flops_per_token;
    json["forward_flops_per_sequence"] = analysis.forward_flops_per_sequence;
    json["forward_flops_by_group"] = groups;
    json["forward_products"] = to_json(cost::forward_products(
        analysis.model, 1, analysis.execution.sequence_length, cost::AttentionMask::full));
    json["training_flops_per_token"] = analysis.training_flops_per_token;
    json["training_flops_1t_tokens"] = analysis.training_flops_1t_tokens;
    json["flops_per_token_by_convention"] = conventions_json(analysis.convention_flops_per_token);
    json["attention_core_share"] = analysis.attention_core_share();
    json["attention_to_ffn_ratio"] = analysis.attention_to_ffn_ratio();
    json["elementwise_operations_per_token"] = {
        {"norms", work.norms},       {"rope", work.rope},
        {"softmax", work.softmax},   {"activation", work.activation},
        {"residual", work.residual}, {"cross_entropy", work.cross_entropy}};
    json["execution"] = to_json(analysis.execution);
    json["attention"] = to_json(analysis.attention);
    json["memory"] = to_json(analysis.memory);
    json["memory"]["gpu"] =
        analysis.gpu_id.empty() ? ordered_json(nullptr) : ordered_json(analysis.gpu_id);
    if (analysis.fit) json["memory"].update(recipe::fit_json(*analysis.fit));
    json["memory"]["megatron_estimate_bytes"] = analysis.megatron.total_bytes();
    json["layer_activations"] = layer;
    json["activation_choices"] = choices;
    json["scaling"] = scaling;
    return json;
}

}  // namespace isoflop::report
