#include "isoflop/attention_lab/attention_comparison.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <nlohmann/json.hpp>

#include "isoflop/attention_lab/attention_probe.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/cost/attention_time.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::attention_lab {
namespace {

using attention::Shape;
using nlohmann::ordered_json;

constexpr std::int64_t kLargestExtent = 1 << 24;
/// FLOPs of forward and backward of the longest default shape on a CPU: a second or two on two
/// cores, and six times that for all backends with a warm-up.
constexpr double kCpuFlops = 1.2e10;
constexpr std::int64_t kShortestLength = 16;

std::vector<std::string_view> parts_of(std::string_view text) {
    std::vector<std::string_view> parts;
    while (true) {
        const std::size_t comma = text.find(',');
        parts.push_back(text.substr(0, comma));
        if (comma == std::string_view::npos) return parts;
        text.remove_prefix(comma + 1);
    }
}

[[noreturn]] void refuse_shape(const std::string& text, const std::string& found) {
    throw ConfigError(fmt::format(
        "--shape \"{}\": {}; the form is B,S,H,Hkv,D or B,S,H,Hkv,D,full (batch, sequence length, "
        "heads, key/value heads, head size; causal unless full), for example 8,1024,16,16,64",
        text, found));
}

std::int64_t extent_of(std::string_view part, std::string_view name, const std::string& text) {
    std::int64_t value = 0;
    const auto [end, error] = std::from_chars(part.data(), part.data() + part.size(), value);
    const bool whole = error == std::errc() && end == part.data() + part.size();
    if (!whole || value < 1 || value > kLargestExtent)
        refuse_shape(text, fmt::format("{} is \"{}\", not a whole number from 1 to {}", name, part,
                                       kLargestExtent));
    return value;
}

std::optional<double> predicted_rate(const device::Context& context, const Shape& shape,
                                     DType dtype) {
    if (size_in_bytes(dtype) != 2) return std::nullopt;
    const hardware::Gpu* const gpu = hardware::GpuTable::builtin().find(context.device.info().name);
    if (gpu == nullptr) return std::nullopt;
    const auto device = cost::attention_device(*gpu);
    if (!device) return std::nullopt;
    const cost::AttentionWorkload workload{.batch = shape.batch,
                                           .heads = shape.heads,
                                           .kv_heads = shape.kv_heads,
                                           .sequence_length = shape.query_length,
                                           .head_dim = shape.head_dim,
                                           .causal = shape.causal};
    const auto forward = cost::attention_time(*device, workload, cost::AttentionDirection::forward);
    const auto backward =
        cost::attention_time(*device, workload, cost::AttentionDirection::backward);
    return (forward.flops + backward.flops) / (forward.seconds + backward.seconds);
}

std::string milliseconds(double seconds) {
    return fmt::format("{:.3f}", 1e3 * seconds);
}

std::string rate_text(double rate, const device::RateUnit& unit) {
    return fmt::format("{:.1f}", rate / unit.flops_per_second);
}

std::vector<std::string> row_of(const ComparedShape& compared, const AttentionTrial& trial,
                                const device::RateUnit& unit, bool with_prediction) {
    const Shape& shape = compared.shape;
    std::vector<std::string> row{attention_shape_text(shape),
                                 std::string(to_string(trial.backend))};
    if (trial.ran) {
        row.insert(row.end(),
                   {milliseconds(trial.forward_seconds), milliseconds(trial.backward_seconds),
                    rate_text(attention_rate(shape, trial), unit)});
    } else {
        row.insert(row.end(), 3, "-");
    }
    if (with_prediction) {
        const bool predicted =
            compared.predicted_rate && trial.backend == cost::AttentionBackend::flash_attn_2;
        row.push_back(predicted ? rate_text(*compared.predicted_rate, unit) : "-");
    }
    row.push_back(trial.ran ? human_bytes(static_cast<double>(trial.bytes())) : "-");
    row.push_back(trial.ran && trial.errors ? fmt::format("{:.1e}", trial.errors->worst()) : "-");
    row.push_back(trial.failed     ? "FAILED: " + trial.reason
                  : !trial.ran     ? trial.reason
                  : trial.passed() ? ""
                                   : fmt::format("OUT, over {:.0e}", trial.tolerance.values));
    return row;
}

ordered_json trial_json(const Shape& shape, const AttentionTrial& trial) {
    ordered_json json{{"backend", to_string(trial.backend)}, {"ran", trial.ran}};
    if (!trial.ran) {
        json["reason"] = trial.reason;
        json["failed"] = trial.failed;
        return json;
    }
    if (!trial.run_by.empty()) json["run_by"] = trial.run_by;
    json["forward_ms"] = 1e3 * trial.forward_seconds;
    json["backward_ms"] = 1e3 * trial.backward_seconds;
    json["forward_flops_per_second"] = attention_forward_flops(shape) / trial.forward_seconds;
    json["backward_flops_per_second"] = attention_backward_flops(shape) / trial.backward_seconds;
    json["flops_per_second"] = attention_rate(shape, trial);
    json["saved_bytes"] = trial.saved_bytes;
    json["scratch_bytes"] = trial.scratch_bytes;
    if (trial.errors) {
        json["errors"] = {{"o", trial.errors->output},
                          {"lse", trial.errors->lse},
                          {"d_q", trial.errors->d_query},
                          {"d_k", trial.errors->d_key},
                          {"d_v", trial.errors->d_value}};
        json["tolerance"] = trial.tolerance.values;
        json["lse_tolerance"] = trial.tolerance.lse;
        json["passed"] = trial.passed();
    }
    return json;
}

}  // namespace

Shape parse_attention_shape(const std::string& text) {
    std::vector<std::string_view> parts = parts_of(text);
    bool causal = true;
    if (parts.size() == 6) {
        causal = parts.back() == "causal";
        if (!causal && parts.back() != "full")
            refuse_shape(text,
                         fmt::format("the mask is \"{}\", neither full nor causal", parts.back()));
        parts.pop_back();
    }
    constexpr std::array kNames = {"batch", "sequence length", "heads", "key/value heads",
                                   "head size"};
    if (parts.size() != kNames.size())
        refuse_shape(text,
                     fmt::format("it has {} part{}", parts.size(), parts.size() == 1 ? "" : "s"));
    std::array<std::int64_t, kNames.size()> extents{};
    for (std::size_t i = 0; i < extents.size(); ++i)
        extents.at(i) = extent_of(parts[i], kNames.at(i), text);
    const auto [batch, length, heads, kv_heads, head_dim] = extents;
    if (heads % kv_heads != 0)
        refuse_shape(
            text, fmt::format("{} heads cannot share {} key/value heads evenly", heads, kv_heads));
    const double elements = static_cast<double>(batch) * static_cast<double>(length) *
                            static_cast<double>(heads) * static_cast<double>(head_dim);
    const double scores = static_cast<double>(batch) * static_cast<double>(length) *
                          static_cast<double>(length) * static_cast<double>(heads);
    if (std::max(elements, scores) > 1e18) refuse_shape(text, "it is too large to count");
    return attention::self_attention(batch, length, heads, kv_heads, head_dim, causal);
}

std::string attention_shape_text(const Shape& shape) {
    return fmt::format("{},{},{},{},{}{}", shape.batch, shape.query_length, shape.heads,
                       shape.kv_heads, shape.head_dim, shape.causal ? "" : ",full");
}

std::vector<Shape> shapes_to_compare(const Shape& own, bool on_gpu) {
    const std::int64_t tokens = own.batch * own.query_length;
    const auto shape_of = [&](std::int64_t length) {
        const std::int64_t batch = on_gpu ? std::max<std::int64_t>(1, tokens / length) : 1;
        return attention::self_attention(batch, length, own.heads, own.kv_heads, own.head_dim);
    };
    const auto takes_too_long = [&](const Shape& shape) {
        return !on_gpu &&
               attention_forward_flops(shape) + attention_backward_flops(shape) > kCpuFlops;
    };
    std::int64_t longest = 2 * own.query_length;
    while (longest > kShortestLength && takes_too_long(shape_of(longest))) longest /= 2;
    std::vector<Shape> shapes;
    for (std::int64_t length = longest; length > 0 && shapes.size() < 4; length /= 2)
        if (shapes.empty() || length >= kShortestLength) shapes.push_back(shape_of(length));
    std::reverse(shapes.begin(), shapes.end());
    return shapes;
}

bool AttentionComparison::passed() const {
    return std::all_of(shapes.begin(), shapes.end(), [](const ComparedShape& compared) {
        const auto& backends = compared.trials.backends;
        return std::all_of(backends.begin(), backends.end(),
                           [](const AttentionTrial& trial) { return trial.passed(); });
    });
}

AttentionComparison compare_attention(device::Context& context, const std::vector<Shape>& shapes,
                                      const TrialOptions& options) {
    AttentionComparison comparison{.device = describe_device(context),
                                   .rate_unit = context.device.info().rate_unit,
                                   .dtype = options.dtype,
                                   .shapes = {}};
    for (const Shape& shape : shapes) {
        comparison.shapes.push_back({shape,
                                     try_attention(context, shape, kAttentionBackends, options),
                                     predicted_rate(context, shape, options.dtype)});
    }
    return comparison;
}

double attention_rate(const Shape& shape, const AttentionTrial& trial) {
    return (attention_forward_flops(shape) + attention_backward_flops(shape)) / trial.seconds();
}

ComparisonTable attention_comparison_table(const AttentionComparison& comparison) {
    const device::RateUnit unit = comparison.rate_unit;
    const bool with_prediction = std::any_of(
        comparison.shapes.begin(), comparison.shapes.end(),
        [](const ComparedShape& compared) { return compared.predicted_rate.has_value(); });
    ComparisonTable table;
    table.columns = {{"shape", text::Align::left},
                     {"backend", text::Align::left},
                     {"forward ms"},
                     {"backward ms"},
                     {std::string(unit.name)}};
    if (with_prediction) table.columns.push_back({"predicted"});
    table.columns.push_back({"memory"});
    table.columns.push_back({"error"});
    table.columns.push_back({"", text::Align::left});
    for (const ComparedShape& compared : comparison.shapes) {
        for (const AttentionTrial& trial : compared.trials.backends)
            table.rows.push_back(row_of(compared, trial, unit, with_prediction));
        if (!compared.trials.part.empty())
            table.notes.push_back(fmt::format(
                "{}: error of {}", attention_shape_text(compared.shape), compared.trials.part));
        for (const AttentionTrial& trial : compared.trials.backends) {
            if (!trial.run_by.empty())
                table.notes.push_back(fmt::format("{}, {}: {}",
                                                  attention_shape_text(compared.shape),
                                                  to_string(trial.backend), trial.run_by));
        }
    }
    table.notes.insert(
        table.notes.begin(),
        {"shape: batch, sequence, heads, key/value heads, head size; causal unless full",
         fmt::format("{}: forward and backward, 4 B H S^2 D and 2.5 times that, half when causal",
                     unit.name),
         "memory: of the backend itself, saved for backward and scratch",
         "error: the largest relative error of o, dq, dk and dv against double precision"});
    return table;
}

std::string attention_comparison_text(const AttentionComparison& comparison, text::Colour colour) {
    text::TextReport report(colour);
    report.title(fmt::format("Attention backends on {}, {}: measured medians", comparison.device,
                             short_name(comparison.dtype)));
    const ComparisonTable rows = attention_comparison_table(comparison);
    text::Table table(rows.columns);
    for (const auto& row : rows.rows) table.row(row);
    report.table(table);
    for (const std::string& note : rows.notes) report.line(note);
    return report.str();
}

ordered_json attention_comparison_json(const AttentionComparison& comparison) {
    ordered_json json{{"kind", "compare-attention"},
                      {"device", comparison.device},
                      {"dtype", to_string(comparison.dtype)},
                      {"passed", comparison.passed()},
                      {"shapes", ordered_json::array()}};
    for (const ComparedShape& compared : comparison.shapes) {
        const Shape& shape = compared.shape;
        ordered_json entry{
            {"batch", shape.batch},
            {"sequence_length", shape.query_length},
            {"heads", shape.heads},
            {"kv_heads", shape.kv_heads},
            {"head_dim", shape.head_dim},
            {"causal", shape.causal},
            {"compared", compared.trials.part.empty() ? "all" : compared.trials.part},
            {"predicted_flops_per_second", nullptr},
            {"backends", ordered_json::array()}};
        if (compared.predicted_rate) entry["predicted_flops_per_second"] = *compared.predicted_rate;
        for (const AttentionTrial& trial : compared.trials.backends)
            entry["backends"].push_back(trial_json(shape, trial));
        json["shapes"].push_back(std::move(entry));
    }
    return json;
}

}  // namespace isoflop::attention_lab
