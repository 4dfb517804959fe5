#include "isoflop/report/sweep_table.hpp"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <vector>

#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/text/fit.hpp"
#include "report/cost_report.hpp"
#include "report/figures.hpp"

namespace isoflop::report {
namespace {

using planner::SweepRow;
using Figures = std::vector<Figure<SweepRow>>;

constexpr std::string_view kRefusal = "refusal";
constexpr std::string_view kEpochs = "epochs";
constexpr std::string_view kLimit = "limit";
constexpr std::string_view kPower = "GPU W x share x PUE";

void add_machines(Figures& figures) {
    figures.push_back({"GPUs",
                       [](const SweepRow& row) { return fmt::format("{:.0f}", row.num_gpus); },
                       {{"num_gpus", "GPUs",
                         [](const SweepRow& row) -> ExactValue {
                             return static_cast<std::int64_t>(row.num_gpus);
                         }}},
                       7});
    figures.push_back(
        {"hours",
         [](const SweepRow& row) {
             return row.hours >= 1000 ? fmt::format("{:.0f}", row.hours)
                                      : fmt::format("{:.4g}", row.hours);
         },
         {{"available_hours", "h", [](const SweepRow& row) -> ExactValue { return row.hours; }}},
         8});
}

void add_results(Figures& figures) {
    figures.push_back({"N",
                       [](const SweepRow& row) { return human_count(row.n_params); },
                       {{"n_params", "parameters",
                         [](const SweepRow& row) -> ExactValue {
                             return static_cast<std::int64_t>(row.n_params);
                         }}},
                       7});
    figures.push_back(
        {"D",
         [](const SweepRow& row) { return human_count(row.n_tokens); },
         {{"n_tokens", "tokens", [](const SweepRow& row) -> ExactValue { return row.n_tokens; }}},
         7});
    figures.push_back(
        {"C",
         [](const SweepRow& row) { return fmt::format(FMT_COMPILE("{:.2e}"), row.compute_flops); },
         {{"compute_flops", "FLOP",
           [](const SweepRow& row) -> ExactValue { return row.compute_flops; }}},
         8});
    figures.push_back(
        {"loss",
         [](const SweepRow& row) { return loss_text(row.predicted_loss); },
         {{"predicted_loss", "nats/token",
           [](const SweepRow& row) -> ExactValue { return row.predicted_loss; }},
          {"training_flops_per_token", "FLOP/token",
           [](const SweepRow& row) -> ExactValue { return row.training_flops_per_token; }}},
         6});
    figures.push_back({"N*",
                       [](const SweepRow& row) {
                           return row.optimal_n_params ? human_count(*row.optimal_n_params) : "-";
                       },
                       {{"optimal_n_params", "parameters",
                         [](const SweepRow& row) { return exact(row.optimal_n_params); }}},
                       7});
    figures.push_back(
        {"loss*",
         [](const SweepRow& row) { return row.optimal_loss ? loss_text(*row.optimal_loss) : "-"; },
         {{"optimal_loss", "nats/token",
           [](const SweepRow& row) { return exact(row.optimal_loss); }}},
         6});
    figures.push_back(
        {"GiB/GPU",
         [](const SweepRow& row) {
             return fmt::format(FMT_COMPILE("{:.2f}"),
                                static_cast<double>(row.memory_bytes) / kGiB);
         },
         {{"memory_bytes", "bytes", [](const SweepRow& row) { return exact(row.memory_bytes); }}},
         7});
}

std::string limit_name(const SweepRow& row) {
    if (row.data_bind) return row.memory_binds ? "both" : "data";
    return row.memory_binds ? "memory" : "compute";
}

void add_limits(Figures& figures) {
    figures.push_back(
        {std::string(kEpochs),
         [](const SweepRow& row) { return fmt::format("{:.3g}", row.epochs); },
         {{"epochs", "", [](const SweepRow& row) -> ExactValue { return row.epochs; }}},
         6});
    figures.push_back(
        {std::string(kLimit),
         limit_name,
         {{"data_bind", "", [](const SweepRow& row) -> ExactValue { return row.data_bind; }},
          {"memory_binds", "", [](const SweepRow& row) -> ExactValue { return row.memory_binds; }}},
         7});
}

void add_costs(Figures& figures) {
    figures.push_back(
        {std::string(kPower),
         [](const SweepRow& row) {
             return power_text(row.board_power_watts, row.power_share, row.pue);
         },
         {{"board_power_watts", "W",
           [](const SweepRow& row) { return exact(row.board_power_watts); }},
          {"power_share", "", [](const SweepRow& row) -> ExactValue { return row.power_share; }},
          {"pue", "", [](const SweepRow& row) -> ExactValue { return row.pue; }}},
         19});
    figures.push_back(
        {"energy",
         [](const SweepRow& row) { return energy_text(row.energy_kwh); },
         {{"energy_kwh", "kWh", [](const SweepRow& row) { return exact(row.energy_kwh); }}},
         10});
    figures.push_back(
        {"cost",
         [](const SweepRow& row) { return money_text(row.cost, row.currency); },
         {{"cost", "currency", [](const SweepRow& row) { return exact(row.cost); }},
          {"currency", "",
           [](const SweepRow& row) { return row.cost ? ExactValue(row.currency) : ExactValue(); }}},
         16});
}

/// The last of the text, which needs no width.
void add_fits(Figures& figures) {
    figures.push_back(
        {"fits",
         [](const SweepRow& row) { return std::string(row.fits ? "yes" : "no"); },
         {{"fits", "", [](const SweepRow& row) -> ExactValue { return row.fits; }},
          {"constrained", "", [](const SweepRow& row) -> ExactValue { return row.constrained; }}},
         0});
}

Figures all_figures() {
    Figures figures;
    add_machines(figures);
    add_results(figures);
    add_limits(figures);
    add_costs(figures);
    add_fits(figures);
    return figures;
}

/// Whether the text has this column where there is room.
bool is_shown(const Figure<SweepRow>& figure, const OptionalColumns& columns) {
    if (figure.title == "GPUs") return columns.num_gpus;
    if (figure.title == "hours") return columns.available_hours;
    if (figure.title == kEpochs || figure.title == kLimit) return columns.data;
    if (figure.title == kPower || figure.title == "energy" || figure.title == "cost")
        return columns.costs;
    return true;
}

/// The columns that a narrow text does without, first to last.
constexpr std::array<std::string_view, 6> kLeftOutFirst = {kPower,   "loss*", "N*",
                                                           "energy", "C",     "N"};

std::string first_line(const std::string& text) {
    return text.substr(0, text.find('\n'));
}

void append_right(std::string& out, std::string_view cell, std::size_t width) {
    out.append(width - std::min(width, cell.size()), ' ').append(cell);
}

}  // namespace

struct SweepTable::Parts {
    struct Key {
        const planner::SweepAxis* key;
        std::size_t axis;
        std::vector<std::string> values;  ///< printable
        std::size_t width;                ///< of the widest cell
        std::string json_path;            ///< quoted
        std::string title;                ///< the key without its section, where that says enough
    };
    std::vector<Key> keys;
    Figures figures;
    OptionalColumns columns = {};
    std::vector<bool> in_text;  ///< of figures
    std::vector<std::string_view> left_out;
    std::size_t width = text::kAnyWidth;

    [[nodiscard]] const std::string& value(const Key& key, const SweepRow& row) const {
        return key.key->values[row.value_indices[key.axis]];
    }
    [[nodiscard]] const std::string& shown(const Key& key, const SweepRow& row) const {
        return key.values[row.value_indices[key.axis]];
    }
    [[nodiscard]] std::size_t text_width() const {
        std::size_t total = 0;
        for (const Key& key : keys) total += key.width + 2;
        for (std::size_t i = 0; i < figures.size(); ++i) {
            if (in_text[i]) total += figures[i].width == 0 ? kWidthOfLast : figures[i].width + 2;
        }
        return total;
    }
    void fit() {
        for (const std::string_view title : kLeftOutFirst) {
            if (text_width() <= width) return;
            for (std::size_t i = 0; i < figures.size(); ++i) {
                if (!in_text[i] || figures[i].title != title) continue;
                in_text[i] = false;
                left_out.push_back(title);
            }
        }
    }

    static constexpr std::size_t kWidthOfLast = 4;  ///< "fits"
};

namespace {

/// "num_gpus" for "training_gear.num_gpus", unless another swept key ends alike.
std::string short_title(const std::string& path, const std::vector<planner::SweptKey>& swept) {
    const auto end = [](const std::string& name) { return name.substr(name.rfind('.') + 1); };
    const auto alike = std::count_if(swept.begin(), swept.end(), [&](const auto& each) {
        return end(each.key->path) == end(path);
    });
    return alike > 1 ? path : end(path);
}

}  // namespace

SweepTable::SweepTable(std::span<const planner::SweepAxis> axes, OptionalColumns columns,
                       std::size_t width) {
    auto parts = std::make_shared<Parts>();
    const std::vector<planner::SweptKey> all = planner::swept_keys(axes);
    for (const planner::SweptKey& swept : all) {
        Parts::Key key{swept.key,
                       swept.axis,
                       {},
                       0,
                       json_text(swept.key->path),
                       short_title(swept.key->path, all)};
        key.width = key.title.size();
        for (const std::string& value : swept.key->values) {
            key.values.push_back(printable(value));
            key.width = std::max(key.width, key.values.back().size());
        }
        parts->keys.push_back(std::move(key));
    }
    parts->figures = all_figures();
    parts->columns = columns;
    for (const Figure<SweepRow>& figure : parts->figures)
        parts->in_text.push_back(is_shown(figure, columns));
    parts->width = width;
    parts->fit();
    parts_ = std::move(parts);
}

std::string SweepTable::header() const {
    std::string line;
    for (const Parts::Key& key : parts_->keys) {
        append_right(line, key.title, key.width);
        line += "  ";
    }
    for (std::size_t i = 0; i < parts_->figures.size(); ++i) {
        const Figure<SweepRow>& figure = parts_->figures[i];
        if (!parts_->in_text[i]) continue;
        append_right(line, figure.title, figure.width);
        line += figure.width == 0 ? "\n" : "  ";
    }
    return parts_->text_width() <= parts_->width ? line : text::fit_lines(line, parts_->width);
}

void SweepTable::append_row(std::string& out, const SweepRow& row) const {
    std::string line;
    for (const Parts::Key& key : parts_->keys) {
        append_right(line, parts_->shown(key, row), key.width);
        line += "  ";
    }
    if (!row.refusal.empty()) {
        line.append("cannot be planned: ").append(printable(first_line(row.refusal))).append("\n");
        out += text::fit_lines(line, parts_->width);
        return;
    }
    for (std::size_t i = 0; i < parts_->figures.size(); ++i) {
        const Figure<SweepRow>& figure = parts_->figures[i];
        if (!parts_->in_text[i]) continue;
        append_right(line, figure.text(row), figure.width);
        line += figure.width == 0 ? "\n" : "  ";
    }
    out += parts_->text_width() <= parts_->width ? line : text::fit_lines(line, parts_->width);
}

std::string SweepTable::footer() const {
    if (parts_->left_out.empty()) return {};
    return text::fit_lines(
        fmt::format("Without {}: a wider terminal, --csv and --json have all columns.\n",
                    join(parts_->left_out)),
        parts_->width);
}

void SweepTable::append_json(std::string& out, const SweepRow& row) const {
    out += "{\"values\":{";
    for (std::size_t i = 0; i < parts_->keys.size(); ++i) {
        const Parts::Key& key = parts_->keys[i];
        if (i > 0) out += ',';
        out.append(key.json_path).append(":").append(json_text(parts_->value(key, row)));
    }
    out += '}';
    if (!row.refusal.empty()) {
        out.append(",\"").append(kRefusal).append("\":").append(json_text(row.refusal)).append("}");
        return;
    }
    for (const Figure<SweepRow>& figure : parts_->figures) {
        for (const Field<SweepRow>& field : figure.fields)
            out.append(",\"").append(field.name).append("\":").append(json_text(field.value(row)));
    }
    out += '}';
}

std::string SweepTable::csv_header() const {
    std::vector<std::string> cells;
    for (const Parts::Key& key : parts_->keys)
        cells.push_back(csv_title(key.key->path, key.key->unit));
    for (const Figure<SweepRow>& figure : parts_->figures) {
        for (const Field<SweepRow>& field : figure.fields)
            cells.push_back(csv_title(field.name, field.unit));
    }
    cells.emplace_back(kRefusal);
    std::string line;
    text::append_csv_record(line, cells);
    return line;
}

void SweepTable::append_csv(std::string& out, const SweepRow& row) const {
    std::vector<std::string> cells;
    for (const Parts::Key& key : parts_->keys)
        cells.push_back(text::csv_name(parts_->value(key, row)));
    for (const Figure<SweepRow>& figure : parts_->figures) {
        for (const Field<SweepRow>& field : figure.fields)
            cells.push_back(row.refusal.empty() ? csv_text(field.value(row)) : std::string());
    }
    cells.push_back(text::csv_name(first_line(row.refusal)));
    text::append_csv_record(out, cells);
}

std::string SweepTable::markdown(std::span<const SweepRow> rows) const {
    const bool refuses = std::any_of(rows.begin(), rows.end(),
                                     [](const SweepRow& row) { return !row.refusal.empty(); });
    const bool has_costs = std::any_of(rows.begin(), rows.end(),
                                       [](const SweepRow& row) { return row.cost.has_value(); });
    const auto shown = [&](const Figure<SweepRow>& figure) {
        if (figure.title == kPower || figure.title == "energy") return true;
        return figure.title == "cost" ? has_costs : is_shown(figure, parts_->columns);
    };
    std::vector<text::Column> columns;
    for (const Parts::Key& key : parts_->keys) columns.push_back({key.key->path});
    for (const Figure<SweepRow>& figure : parts_->figures) {
        if (shown(figure)) columns.push_back({figure.title});
    }
    if (refuses) columns.push_back({std::string(kRefusal), text::Align::left});
    text::Table table(std::move(columns));
    for (const SweepRow& row : rows) {
        std::vector<std::string> cells;
        for (const Parts::Key& key : parts_->keys) cells.push_back(parts_->value(key, row));
        for (const Figure<SweepRow>& figure : parts_->figures) {
            if (shown(figure)) cells.push_back(row.refusal.empty() ? figure.text(row) : "");
        }
        if (refuses) cells.push_back(first_line(row.refusal));
        table.row(std::move(cells));
    }
    return table.markdown();
}

}  // namespace isoflop::report
