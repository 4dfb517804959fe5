// The page of `train compare-attention --html`: well-formed XML, so that any parser reads it, with
// plots drawn here as SVG.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <tuple>

#include "isoflop/attention_lab/attention_comparison.hpp"
#include "isoflop/base/version.hpp"
#include "isoflop/text/svg.hpp"

namespace isoflop::attention_lab {
namespace {

using text::svg::Axis;
using text::svg::escaped;
using text::svg::linear_ticks;
using text::svg::log_ticks;
using text::svg::Scale;

constexpr double kWidth = 560, kHeight = 340;
constexpr double kLeft = 70, kRight = 20, kTop = 20, kBottom = 56;
constexpr std::size_t kMostLabels = 8;

constexpr std::string_view kStyle = R"(
:root { color-scheme: light dark; --ink: #1a1a1a; --paper: #ffffff; --line: #c8c8c8;
  --c0: #0b62b0; --c1: #b3400b; --c2: #4d7a12; --c3: #6a6a6a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e8e8e8; --paper: #16181b; --line: #45494f;
  --c0: #6cb6ff; --c1: #ff9d66; --c2: #a8d65c; --c3: #b0b0b0; } }
body { font: 15px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--paper);
  margin: 2rem auto; max-width: 75rem; padding: 0 1rem; }
h1 { font-size: 1.3rem; } h2 { font-size: 1.1rem; }
svg { max-width: 100%; height: auto; } svg text { fill: var(--ink); font-size: 13px; }
.plots { display: flex; flex-wrap: wrap; gap: 1rem; }
.grid { stroke: var(--line); stroke-width: 1; } .series { fill: none; stroke-width: 2; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.2rem 0.8rem; border-bottom: 1px solid var(--line); text-align: right; }
.left { text-align: left; }
)";

struct Point {
    double length = 0;
    double value = 0;
};

struct Series {
    std::string name;
    std::size_t style = 0;  ///< colour and marker; 3: dashed, for what is predicted
    std::vector<Point> points;
};

struct Plot {
    std::string title;
    std::string y_label;
    bool log_y = false;
    std::vector<Series> series;
};

std::vector<double> lengths_of(const Plot& plot) {
    std::vector<double> lengths;
    for (const Series& series : plot.series)
        for (const Point& point : series.points) lengths.push_back(point.length);
    std::sort(lengths.begin(), lengths.end());
    lengths.erase(std::unique(lengths.begin(), lengths.end()), lengths.end());
    return lengths;
}

std::string marker(std::size_t style, double x, double y) {
    const std::string colour = fmt::format("fill=\"var(--c{})\"", style);
    switch (style) {
        case 0: return fmt::format(R"(<circle cx="{:.1f}" cy="{:.1f}" r="4" {}/>)", x, y, colour);
        case 1:
            return fmt::format(R"(<rect x="{:.1f}" y="{:.1f}" width="8" height="8" {}/>)", x - 4,
                               y - 4, colour);
        case 2:
            return fmt::format("<polygon points=\"{:.1f},{:.1f} {:.1f},{:.1f} {:.1f},{:.1f}\" {}/>",
                               x, y - 5, x - 5, y + 4, x + 5, y + 4, colour);
        default: return {};
    }
}

std::string axes_svg(const Plot& plot, const Axis& x, const Axis& y,
                     const std::vector<double>& lengths, const std::vector<double>& ticks) {
    std::string svg;
    for (const double tick : ticks) {
        svg += fmt::format(
            "<line class=\"grid\" x1=\"{}\" x2=\"{}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>"
            "<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{:g}</text>\n",
            kLeft, kWidth - kRight, y.at(tick), y.at(tick), kLeft - 8, y.at(tick) + 4, tick);
    }
    const std::size_t every = (lengths.size() + kMostLabels - 1) / kMostLabels;
    for (std::size_t i = 0; i < lengths.size(); i += every) {
        svg += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{:.0f}</text>\n",
                           x.at(lengths[i]), kHeight - kBottom + 20, lengths[i]);
    }
    svg += fmt::format(
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">sequence length, tokens</text>\n",
        (kLeft + kWidth - kRight) / 2, kHeight - 12);
    svg += fmt::format(
        "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
        (kTop + kHeight - kBottom) / 2, escaped(plot.y_label));
    return svg;
}

std::string plot_svg(const Plot& plot) {
    const std::vector<double> lengths = lengths_of(plot);
    double lowest = HUGE_VAL, highest = 0;
    for (const Series& series : plot.series) {
        for (const Point& point : series.points) {
            lowest = std::min(lowest, point.value);
            highest = std::max(highest, point.value);
        }
    }
    if (lengths.empty() || !(highest > 0) || !(lowest > 0)) return {};
    const std::vector<double> ticks =
        plot.log_y ? log_ticks(lowest, highest) : linear_ticks(0, highest);
    const Axis x({lengths.front(), lengths.back()}, {kLeft + 20, kWidth - kRight - 20},
                 Scale::logarithmic);
    const Axis y({ticks.front(), ticks.back()}, {kHeight - kBottom, kTop},
                 plot.log_y ? Scale::logarithmic : Scale::linear);
    std::string svg = fmt::format(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {} {}\" width=\"{}\" "
        "height=\"{}\"><title>{}</title>\n",
        kWidth, kHeight, kWidth, kHeight, escaped(plot.title));
    svg += axes_svg(plot, x, y, lengths, ticks);
    for (const Series& series : plot.series) {
        std::string line, markers;
        for (const Point& point : series.points) {
            line += fmt::format("{:.1f},{:.1f} ", x.at(point.length), y.at(point.value));
            markers += marker(series.style, x.at(point.length), y.at(point.value));
        }
        svg += fmt::format("<polyline class=\"series\" stroke=\"var(--c{})\"{} points=\"{}\"/>{}\n",
                           series.style, series.style == 3 ? " stroke-dasharray=\"6 4\"" : "", line,
                           markers);
    }
    return svg + "</svg>\n";
}

std::string legend(const Plot& plot) {
    std::string html = "<p>";
    for (const Series& series : plot.series) {
        const std::string sample =
            series.style == 3 ? "<line x1=\"1\" x2=\"15\" y1=\"8\" y2=\"8\" stroke=\"var(--c3)\" "
                                "stroke-width=\"2\" stroke-dasharray=\"5 3\"/>"
                              : marker(series.style, 8, 8);
        html += fmt::format(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"16\" height=\"16\">{}"
            "</svg> {} &#160; ",
            sample, escaped(series.name));
    }
    return html + "</p>\n";
}

/// Shapes that differ in length and batch alone.
using Heads = std::tuple<std::int64_t, std::int64_t, std::int64_t, bool>;

struct Panel {
    Plot rates, times;
};

void add_point(Plot& plot, const std::string& name, std::size_t style, Point point) {
    auto series = std::find_if(plot.series.begin(), plot.series.end(),
                               [&](const Series& each) { return each.name == name; });
    if (series == plot.series.end())
        series = plot.series.insert(series, {.name = name, .style = style, .points = {}});
    series->points.push_back(point);
    std::sort(series->points.begin(), series->points.end(),
              [](const Point& a, const Point& b) { return a.length < b.length; });
}

std::map<Heads, Panel> panels_of(const AttentionComparison& comparison) {
    const device::RateUnit unit = comparison.rate_unit;
    std::map<Heads, Panel> panels;
    for (const ComparedShape& compared : comparison.shapes) {
        const attention::Shape& shape = compared.shape;
        Panel& panel = panels[{shape.heads, shape.kv_heads, shape.head_dim, !shape.causal}];
        const auto length = static_cast<double>(shape.query_length);
        for (const AttentionTrial& trial : compared.trials.backends) {
            if (!trial.ran) continue;
            const std::string name(to_string(trial.backend));
            const auto style = static_cast<std::size_t>(trial.backend);
            add_point(panel.rates, name, style,
                      {length, attention_rate(shape, trial) / unit.flops_per_second});
            add_point(panel.times, name, style, {length, 1e3 * trial.seconds()});
        }
        if (compared.predicted_rate)
            add_point(panel.rates, "flash_attn_2, predicted", 3,
                      {length, *compared.predicted_rate / unit.flops_per_second});
    }
    return panels;
}

std::string panel_html(const Heads& heads, Panel& panel, const device::RateUnit& unit) {
    const auto& [queries, keys, head_dim, full] = heads;
    const std::string of = fmt::format("{} heads, {} key/value heads, head size {}, {}", queries,
                                       keys, head_dim, full ? "full" : "causal");
    panel.rates.title = fmt::format("{} over sequence length: {}", unit.name, of);
    panel.rates.y_label = fmt::format("{}, forward and backward", unit.name);
    panel.times.title = "time over sequence length: " + of;
    panel.times.y_label = "ms, forward and backward";
    panel.times.log_y = true;
    return fmt::format(
        "<h2>{}</h2>\n<div class=\"plots\">\n<div>{}</div>\n<div>{}</div>\n</div>\n{}", of,
        plot_svg(panel.rates), plot_svg(panel.times), legend(panel.rates));
}

std::string table_html(const ComparisonTable& table) {
    const auto cell = [&](std::string_view tag, std::size_t column, const std::string& text) {
        const bool left = table.columns.at(column).align == text::Align::left;
        return fmt::format("<{}{}>{}</{}>", tag, left ? " class=\"left\"" : "", escaped(text), tag);
    };
    std::string html = "<table>\n<thead><tr>";
    for (std::size_t i = 0; i < table.columns.size(); ++i)
        html += cell("th", i, table.columns[i].title);
    html += "</tr></thead>\n<tbody>\n";
    for (const auto& row : table.rows) {
        html += "<tr>";
        for (std::size_t i = 0; i < row.size(); ++i) html += cell("td", i, row[i]);
        html += "</tr>\n";
    }
    html += "</tbody>\n</table>\n<ul>\n";
    for (const std::string& note : table.notes) html += "<li>" + escaped(note) + "</li>\n";
    return html + "</ul>\n";
}

}  // namespace

std::string attention_comparison_html(const AttentionComparison& comparison) {
    const std::string title = fmt::format("Attention backends on {}, {}", comparison.device,
                                          short_name(comparison.dtype));
    std::string body;
    for (auto& [heads, panel] : panels_of(comparison))
        body += panel_html(heads, panel, comparison.rate_unit);
    return fmt::format(
        "<!DOCTYPE html>\n<html xmlns=\"http://www.w3.org/1999/xhtml\" lang=\"en\">\n<head>\n"
        "<meta charset=\"utf-8\"/>\n"
        "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
        "<title>{0}</title>\n<style>{1}</style>\n</head>\n<body>\n<h1>{0}</h1>\n"
        "<p>Measured medians, isoflop {2} (commit {3}).</p>\n{4}{5}</body>\n</html>\n",
        escaped(title), kStyle, version(), commit(), body,
        table_html(attention_comparison_table(comparison)));
}

}  // namespace isoflop::attention_lab
