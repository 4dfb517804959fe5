#include "isoflop/text/sections.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "isoflop/base/text.hpp"

namespace isoflop::text {

namespace {

/// "mamba2 of 80 heads in 24 layers".
std::string recurrence_text(const model::ModelConfig& config) {
    const std::int64_t layers =
        std::count_if(config.layers.begin(), config.layers.end(),
                      [](const model::LayerKind& kind) { return kind.recurrence; });
    const model::Recurrence& mixer = *config.recurrence;
    const std::string heads =
        mixer.num_heads > 1 ? fmt::format(" of {} heads", mixer.num_heads) : std::string();
    return fmt::format("{}{} in {} layers", to_string(mixer.kind), heads, layers);
}

}  // namespace

std::string architecture_line(const model::ModelConfig& config) {
    std::string heads = fmt::format("{} heads", config.num_attention_heads);
    if (config.num_key_value_heads != config.num_attention_heads) {
        heads += fmt::format(" ({} kv)", config.num_key_value_heads);
    }
    std::string ffn =
        fmt::format("FFN {} {}", config.intermediate_size, to_string(config.ffn_type));
    if (config.moe) {
        ffn += fmt::format(", {} experts of {} ({} active + {} shared)", config.moe->num_experts,
                           config.moe->intermediate_size, config.moe->num_experts_per_token,
                           config.moe->num_shared_experts);
    }
    const std::int64_t attention_layers = config.num_attention_layers();
    if (attention_layers == 0) {
        heads = recurrence_text(config);
    } else if (config.recurrence) {
        heads += fmt::format(" in {} layers, {}", attention_layers, recurrence_text(config));
    }
    if (config.num_dense_layers() + config.num_moe_layers() == 0) ffn = "no FFN";
    return fmt::format("{}: {} layers, hidden {}, {}, {}, vocabulary {}, {} head",
                       config.model_type, config.num_hidden_layers, config.hidden_size, heads, ffn,
                       config.vocab_size, config.tie_word_embeddings ? "tied" : "untied");
}

std::string execution_line(const cost::Execution& execution) {
    return fmt::format("{} storage, {}, recompute {}, {} over {}, micro-batch {} x {} tokens",
                       to_string(execution.storage_dtype()), to_string(execution.attention_backend),
                       to_string(execution.recompute), to_string(execution.parallelism),
                       execution.world_size, execution.micro_batch_size, execution.sequence_length);
}

std::string flop_count(double flops, int decimals) {
    struct Unit {
        double size;
        std::string_view name;
    };
    // Counts per token of all models but the largest are compared in GFLOP.
    static constexpr std::array<Unit, 3> kUnits{{{1e9, "GFLOP"}, {1e6, "MFLOP"}, {1e3, "KFLOP"}}};
    constexpr double kTera = 1e12;
    const double magnitude = std::abs(flops);
    if (magnitude >= 10 * kTera) return fmt::format("{:.{}f} TFLOP", flops / kTera, decimals);
    for (const Unit& unit : kUnits) {
        if (magnitude >= unit.size)
            return fmt::format("{:.{}f} {}", flops / unit.size, decimals, unit.name);
    }
    return fmt::format("{:.0f} FLOP", flops);
}

std::string flop_difference(double flops) {
    return (flops < 0 ? "" : "+") + flop_count(flops);
}

void parameter_rows(TextReport& report, const model::ParameterTotals& totals) {
    for (std::size_t i = 0; i < model::kComponentCount; ++i) {
        if (totals.by_component[i] == 0) continue;
        const auto component = static_cast<model::Component>(i);
        report.row(fmt::format("  {}", to_string(component)),
                   human_count(static_cast<double>(totals.by_component[i])),
                   fmt::format("{:5.2f} %  {}",
                               static_cast<double>(totals.by_component[i]) /
                                   static_cast<double>(totals.total) * 100,
                               with_separators(totals.by_component[i])));
    }
}

void flop_rows(TextReport& report, const std::vector<cost::MatrixProduct>& products,
               std::int64_t tokens) {
    const auto total = static_cast<double>(cost::total_flops(products));
    const auto groups = cost::flops_by_group(products);
    for (std::size_t i = 0; i < cost::kFlopGroupCount; ++i) {
        if (groups[i] == 0) continue;
        const double share = static_cast<double>(groups[i]);
        report.row(fmt::format("  {}", to_string(static_cast<cost::FlopGroup>(i))),
                   flop_count(share / static_cast<double>(tokens)),
                   fmt::format("{:5.2f} % of forward", share / total * 100));
    }
}

void memory_rows(TextReport& report, const cost::MemoryPlan& plan) {
    const auto bytes = plan.peak_by_category();
    for (std::size_t i = 0; i < cost::kMemoryCategoryCount; ++i) {
        if (bytes[i] == 0) continue;
        report.row(fmt::format("  {}", to_string(static_cast<cost::MemoryCategory>(i))),
                   human_bytes(static_cast<double>(bytes[i])));
    }
}

void convention_row(TextReport& report, const std::array<double, cost::kConventionCount>& flops,
                    cost::Convention convention) {
    report.row(fmt::format("Training, {}", to_string(convention)),
               flop_count(flops[static_cast<std::size_t>(convention)]), cost::formula(convention));
}

void convention_table(TextReport& report, const std::array<double, cost::kConventionCount>& flops) {
    report.line("Training FLOPs per token by convention:");
    for (std::size_t i = 0; i < cost::kConventionCount; ++i) {
        const auto convention = static_cast<cost::Convention>(i);
        report.row(fmt::format("  {}", to_string(convention)), flop_count(flops[i]),
                   cost::formula(convention));
    }
}

}  // namespace isoflop::text
