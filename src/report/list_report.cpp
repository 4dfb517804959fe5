#include "isoflop/report/list_report.hpp"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "isoflop/base/text.hpp"
#include "report/common_json.hpp"

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

std::string gpus_text(const hardware::GpuTable& table, text::Colour colour, std::size_t width) {
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
    std::string text = rows.str("", colour, width);
    text += fmt::format(
        "\n{} accelerators from {}.\nPeaks are dense TFLOP/s (int8: TOP/s), never 2:4-sparse; '-' "
        "means not supported or not published. Link is per GPU and direction. Plan only: `train` "
        "cannot run on it.\nSources and aliases: scaling-plan gpus --json\n",
        table.gpus().size(), table.source_name());
    return text;
}

ordered_json gpus_json(const hardware::GpuTable& table) {
    ordered_json list = ordered_json::array();
    for (const hardware::Gpu& gpu : table.gpus()) {
        ordered_json peaks = ordered_json::object();
        for (const DType dtype : kPrecisions) {
            const auto& peak = gpu.dense_peak_flops[static_cast<std::size_t>(dtype)];
            peaks[std::string(short_name(dtype))] = number_or_null(peak);
        }
        ordered_json sources = ordered_json::object();
        for (const auto& [key, citation] : gpu.sources) sources[key] = citation;
        list.push_back({{"id", gpu.id},
                        {"vendor", gpu.vendor},
                        {"aliases", gpu.aliases},
                        {"dense_peak_flops", peaks},
                        {"memory_gb", gpu.memory_gb},
                        {"usable_memory_bytes", gpu.usable_memory_bytes},
                        {"memory_bandwidth_bytes_per_s", gpu.memory_bandwidth_bytes_per_s},
                        {"link_name", gpu.link_name},
                        {"link_bytes_per_s", gpu.link_bytes_per_s},
                        {"tdp_watts", number_or_null(gpu.tdp_watts)},
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

namespace {

/// The cases of one group as a table; sources, which repeat, stand below it once each.
class ValidationTable {
public:
    void add(const validation::ValidationCase& item) {
        auto source = std::find(sources_.begin(), sources_.end(), item.source);
        if (source == sources_.end()) source = sources_.insert(source, item.source);
        const std::string state =
            item.passed() ? std::string("ok") : "OUT: " + value_text(item.got);
        table_.row({item.name, value_text(item.expected), error_text(item), tolerance_text(item),
                    fmt::format("[{}]", source - sources_.begin() + 1), state});
    }

    [[nodiscard]] std::string str(const std::string& group, text::Colour colour,
                                  std::size_t width) const {
        std::string text = text::bold(group, colour) + "\n" + table_.str("  ", colour, width);
        for (std::size_t i = 0; i < sources_.size(); ++i)
            text += fmt::format("  [{}]  {}\n", i + 1, sources_[i]);
        return text + "\n";
    }

private:
    text::Table table_{{{"case", text::Align::left, text::Wrap::yes},
                        {"expected"},
                        {"error"},
                        {"tolerance"},
                        {"source"},
                        {"", text::Align::left}}};
    std::vector<std::string> sources_;
};

}  // namespace

std::string validation_text(std::span<const validation::ValidationCase> cases, text::Colour colour,
                            bool quiet, std::size_t width) {
    std::string text;
    std::size_t failed = 0;
    for (std::size_t i = 0; i < cases.size();) {
        const std::string& group = cases[i].group;
        ValidationTable table;
        for (; i < cases.size() && cases[i].group == group; ++i) {
            const validation::ValidationCase& item = cases[i];
            table.add(item);
            if (item.passed()) continue;
            ++failed;
            if (quiet) {
                text += fmt::format("OUT {}: expected {}, got {}\n", item.name,
                                    value_text(item.expected), value_text(item.got));
            }
        }
        if (!quiet) text += table.str(group, colour, width);
    }
    return text + fmt::format("{} cases, {} out of tolerance\n", cases.size(), failed);
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

}  // namespace isoflop::report
