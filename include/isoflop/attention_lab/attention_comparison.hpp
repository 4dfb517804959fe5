// `train compare-attention`: the backends on a list of shapes, as a table, JSON, or a page with
// plots.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/attention_lab/attention_trial.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::attention_lab {

/// "B,S,H,Hkv,D", with ",full" for attention without a causal mask. Throws ConfigError.
[[nodiscard]] attention::Shape parse_attention_shape(const std::string& text);
/// The inverse function.
[[nodiscard]] std::string attention_shape_text(const attention::Shape& shape);

/// The heads of `own` at its sequence length and at shorter and longer lengths, each with as many
/// tokens; on a CPU one sequence, and no length that would take many seconds.
[[nodiscard]] std::vector<attention::Shape> shapes_to_compare(const attention::Shape& own,
                                                              bool on_gpu);

struct ComparedShape {
    attention::Shape shape;
    AttentionTrials trials;
    /// Forward and backward together, FLOP/s of flash_attn_2 by cost::attention_time; nullopt where
    /// the model does not know the device.
    std::optional<double> predicted_rate = {};
};

struct AttentionComparison {
    std::string device;
    device::RateUnit rate_unit = {};
    DType dtype = DType::float32;
    std::vector<ComparedShape> shapes = {};

    /// True when no backend failed or exceeded its tolerance.
    [[nodiscard]] bool passed() const;
};

[[nodiscard]] AttentionComparison compare_attention(device::Context& context,
                                                    const std::vector<attention::Shape>& shapes,
                                                    const TrialOptions& options);

/// FLOP/s of forward and backward together.
[[nodiscard]] double attention_rate(const attention::Shape& shape, const AttentionTrial& trial);

[[nodiscard]] std::string attention_comparison_text(const AttentionComparison& comparison,
                                                    text::Colour colour);
[[nodiscard]] nlohmann::ordered_json attention_comparison_json(
    const AttentionComparison& comparison);
/// One self-contained page: rates and times over the sequence length, and the table.
[[nodiscard]] std::string attention_comparison_html(const AttentionComparison& comparison);

/// Rows of the table, for the text and the page; the last column says why a backend did not run.
struct ComparisonTable {
    std::vector<text::Column> columns;
    std::vector<std::vector<std::string>> rows;
    std::vector<std::string> notes;
};
[[nodiscard]] ComparisonTable attention_comparison_table(const AttentionComparison& comparison);

}  // namespace isoflop::attention_lab
