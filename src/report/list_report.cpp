#include "isoflop/report/list_report.hpp"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"

namespace isoflop::report {

using nlohmann::ordered_json;

namespace {

std::string tera(const std::optional<double>& flops) {
    return flops ? fmt::format("{:g}", *flops / 1e12) : std::string("-");
}

constexpr DType kPrecisions[] = {DType::float32, DType::tf32,   DType::bfloat16, DType::float16,
                                 DType::float8,  DType::float4, DType::int8};

ordered_json constants_json(const scaling_law::Law& law) {
    if (law.form == scaling_law::Form::kaplan) {
        const auto& k = law.kaplan;
        return {{"Nc", k.Nc},           {"Dc", k.Dc}, {"alpha_N", k.alpha_N},
                {"alpha_D", k.alpha_D}, {"Ne", k.Ne}, {"pN", k.pN}};
    }
    const auto& c = law.chinchilla;
    return {{"E", c.E}, {"A", c.A}, {"B", c.B}, {"alpha", c.alpha}, {"beta", c.beta}};
}

std::string error_text(const validation::ValidationCase& item) {
    if (item.error() == 0) return "0";
    return item.relative ? fmt::format("{:+.3g} %", item.error() * 100)
                         : fmt::format("{:+.3g}", item.error());
}

std::string tolerance_text(const validation::ValidationCase& item) {
    if (item.tolerance == 0) return "exact";
    return item.relative ? fmt::format("{:g} %", item.tolerance * 100)
                         : fmt::format("{:g}", item.tolerance);
}

/// Whole numbers in full, others to seven digits.
std::string value_text(double value) {
    if (value == static_cast<double>(static_cast<std::int64_t>(value)) && std::abs(value) < 1e15) {
        return with_separators(static_cast<std::int64_t>(value));
    }
    return fmt::format("{:.7g}", value);
}

}  // namespace

std::string gpus_text(const hardware::GpuTable& table, text::Colour colour) {
    std::vector<text::Column> columns{{"GPU", text::Align::left}};
    for (const DType dtype : kPrecisions) columns.push_back({std::string(short_name(dtype))});
    for (const char* title : {"GB", "GB/s", "link GB/s", "W"}) columns.push_back({title});
    columns.push_back({"cc", text::Align::left});
    columns.push_back({"use", text::Align::left});
    text::Table rows(std::move(columns));
    for (const hardware::Gpu& gpu : table.gpus()) {
        std::vector<std::string> cells{gpu.id};
        for (const DType dtype : kPrecisions) {
            cells.push_back(tera(gpu.dense_peak_flops[static_cast<std::size_t>(dtype)]));
        }
        cells.push_back(fmt::format("{:g}", gpu.memory_gb));
        cells.push_back(fmt::format("{:g}", gpu.memory_bandwidth_bytes_per_s / 1e9));
        cells.push_back(fmt::format("{:g}", gpu.link_bytes_per_s / 1e9));
        cells.push_back(gpu.tdp_watts ? fmt::format("{:g}", *gpu.tdp_watts) : "-");
        cells.push_back(gpu.compute_capability);
        cells.emplace_back(gpu.plan_only ? "plan only" : "");
        rows.row(std::move(cells));
    }
    std::string text = rows.str("", colour);
    text += fmt::format(
        "\n{} accelerators from {}. Peaks are dense TFLOP/s (int8: TOP/s), never 2:4-sparse; '-' "
        "means not "
        "supported or not published.\nLink is per GPU and direction. Plan only: `train` cannot run "
        "on it. Sources and aliases: scaling-plan gpus --json\n",
        table.gpus().size(), table.source_name());
    return text;
}

ordered_json gpus_json(const hardware::GpuTable& table) {
    ordered_json list = ordered_json::array();
    for (const hardware::Gpu& gpu : table.gpus()) {
        ordered_json peaks = ordered_json::object();
        for (const DType dtype : kPrecisions) {
            const auto& peak = gpu.dense_peak_flops[static_cast<std::size_t>(dtype)];
            peaks[std::string(short_name(dtype))] =
                peak ? ordered_json(*peak) : ordered_json(nullptr);
        }
        ordered_json sources = ordered_json::object();
        for (const auto& [key, citation] : gpu.sources) sources[key] = citation;
        list.push_back(
            {{"id", gpu.id},
             {"vendor", gpu.vendor},
             {"aliases", gpu.aliases},
             {"dense_peak_flops", peaks},
             {"memory_gb", gpu.memory_gb},
             {"usable_memory_bytes", gpu.usable_memory_bytes},
             {"memory_bandwidth_bytes_per_s", gpu.memory_bandwidth_bytes_per_s},
             {"link_name", gpu.link_name},
             {"link_bytes_per_s", gpu.link_bytes_per_s},
             {"tdp_watts", gpu.tdp_watts ? ordered_json(*gpu.tdp_watts) : ordered_json(nullptr)},
             {"compute_capability", gpu.compute_capability},
             {"plan_only", gpu.plan_only},
             {"note", gpu.note},
             {"sources", sources}});
    }
    return {{"kind", "gpus"}, {"table", table.source_name()}, {"gpus", list}};
}

std::string laws_text(std::span<const scaling_law::Law> laws, text::Colour colour) {
    std::string text;
    for (const scaling_law::Law& law : laws) {
        text::TextReport report(colour);
        report.title(law.id);
        report.row("Title", law.title);
        report.row("Form", law.form == scaling_law::Form::kaplan
                               ? "L = [(Nc/N)^(alpha_N/alpha_D) + Dc/D]^alpha_D"
                               : "L = E + A/N^alpha + B/D^beta");
        report.row("N counts", law.counts == scaling_law::ParameterCount::total
                                   ? "all parameters"
                                   : "non-embedding parameters");
        std::string constants;
        const ordered_json values = constants_json(law);
        for (const auto& [key, value] : values.items()) {
            constants +=
                fmt::format("{}{} {:g}", constants.empty() ? "" : ", ", key, value.get<double>());
        }
        report.row("Constants", constants);
        if (law.uncertainty) report.row("Uncertainty", law.uncertainty->source);
        report.row("Source", law.source);
        if (!law.note.empty()) report.row("Note", law.note);
        text += (text.empty() ? "" : "\n") + report.str();
    }
    return text;
}

ordered_json laws_json(std::span<const scaling_law::Law> laws) {
    ordered_json list = ordered_json::array();
    for (const scaling_law::Law& law : laws) {
        ordered_json entry{
            {"id", law.id},
            {"title", law.title},
            {"source", law.source},
            {"form", law.form == scaling_law::Form::kaplan ? "kaplan" : "chinchilla"},
            {"parameters_counted",
             law.counts == scaling_law::ParameterCount::total ? "total" : "non_embedding"},
            {"constants", constants_json(law)},
            {"note", law.note},
            {"uncertainty", nullptr}};
        if (law.uncertainty) {
            entry["uncertainty"] = {{"parameters", {"E", "ln A", "ln B", "alpha", "beta"}},
                                    {"standard_error", law.uncertainty->standard_error},
                                    {"correlation", law.uncertainty->correlation},
                                    {"source", law.uncertainty->source}};
        }
        list.push_back(std::move(entry));
    }
    return {{"kind", "laws"}, {"laws", list}};
}

std::string validation_text(std::span<const validation::ValidationCase> cases, text::Colour colour,
                            bool quiet) {
    std::string text;
    std::size_t failed = 0;
    std::string group;
    text::Table table({});
    const auto new_table = [] {
        return text::Table({{"case", text::Align::left},
                            {"expected"},
                            {"got"},
                            {"error"},
                            {"tolerance"},
                            {"", text::Align::left},
                            {"source", text::Align::left}});
    };
    const auto flush = [&] {
        if (!group.empty() && !quiet)
            text += text::bold(group, colour) + "\n" + table.str("  ", colour) + "\n";
    };
    for (const validation::ValidationCase& item : cases) {
        if (item.group != group) {
            flush();
            group = item.group;
            table = new_table();
        }
        if (!item.passed()) ++failed;
        table.row({item.name, value_text(item.expected), value_text(item.got), error_text(item),
                   tolerance_text(item), item.passed() ? "ok" : "OUT", item.source});
        if (quiet && !item.passed()) {
            text += fmt::format("OUT {}: expected {}, got {}\n", item.name,
                                value_text(item.expected), value_text(item.got));
        }
    }
    flush();
    text += fmt::format("{} cases, {} out of tolerance\n", cases.size(), failed);
    return text;
}

ordered_json validation_json(std::span<const validation::ValidationCase> cases) {
    ordered_json list = ordered_json::array();
    std::size_t failed = 0;
    for (const validation::ValidationCase& item : cases) {
        if (!item.passed()) ++failed;
        list.push_back({{"group", item.group},
                        {"name", item.name},
                        {"expected", item.expected},
                        {"got", item.got},
                        {"error", item.error()},
                        {"tolerance", item.tolerance},
                        {"relative", item.relative},
                        {"unit", item.unit},
                        {"passed", item.passed()},
                        {"source", item.source},
                        {"note", item.note}});
    }
    return {{"kind", "validate"}, {"cases", list}, {"count", cases.size()}, {"failed", failed}};
}

namespace {

std::string quoted(const std::string& text) {
    return ordered_json(text).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

std::string one_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

}  // namespace

SweepTable::SweepTable(std::span<const planner::SweepAxis> axes) {
    for (const planner::SweepAxis& axis : axes) {
        std::size_t width = axis.path.size();
        for (const std::string& value : axis.values) width = std::max(width, value.size());
        axes_.push_back({&axis, width, quoted(axis.path)});
    }
}

std::string SweepTable::header() const {
    std::string line;
    for (const Axis& column : axes_)
        line += fmt::format("{:>{}}  ", column.axis->path, column.width);
    line += fmt::format("{:>9}  {:>9}  {:>9}  {:>7}  {:>9}  {:>9}  {:>10}  {}\n", "N", "D", "C",
                        "loss", "N*", "loss*", "GiB/GPU", "fits");
    return line;
}

void SweepTable::append_row(std::string& out, const planner::SweepRow& row) const {
    for (std::size_t i = 0; i < axes_.size(); ++i) {
        const std::string& value = axes_[i].axis->values[row.value_indices[i]];
        out.append(axes_[i].width - value.size(), ' ').append(value).append("  ");
    }
    if (!row.refusal.empty()) {
        out.append("cannot be planned: ").append(one_line(row.refusal)).append("\n");
        return;
    }
    fmt::format_to(
        std::back_inserter(out),
        FMT_COMPILE("{:>9}  {:>9}  {:>9.2e}  {:>7.4f}  {:>9}  {:>9.4f}  {:>10.2f}  {}\n"),
        human_count(row.n_params), human_count(row.n_tokens), row.compute_flops, row.predicted_loss,
        human_count(row.optimal_n_params), row.optimal_loss,
        static_cast<double>(row.memory_bytes) / kGiB, row.fits ? "yes" : "no");
}

void SweepTable::append_json(std::string& out, const planner::SweepRow& row) const {
    auto end = std::back_inserter(out);
    out += "{\"values\":{";
    for (std::size_t i = 0; i < axes_.size(); ++i) {
        fmt::format_to(end, "{}{}:{}", i == 0 ? "" : ",", axes_[i].json_path,
                       quoted(axes_[i].axis->values[row.value_indices[i]]));
    }
    if (!row.refusal.empty()) {
        fmt::format_to(end, "}},\"refusal\":{}}}", quoted(row.refusal));
        return;
    }
    fmt::format_to(
        end,
        FMT_COMPILE(
            "}},\"n_params\":{:.0f},\"n_tokens\":{},\"compute_flops\":{},\"predicted_loss\":{},"
            "\"training_flops_per_token\":{},\"optimal_n_params\":{},\"optimal_loss\":{},"
            "\"memory_bytes\":{},\"fits\":{},\"constrained\":{}}}"),
        row.n_params, row.n_tokens, row.compute_flops, row.predicted_loss,
        row.training_flops_per_token, row.optimal_n_params, row.optimal_loss, row.memory_bytes,
        row.fits, row.constrained);
}

}  // namespace isoflop::report
