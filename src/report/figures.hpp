// The one list of figures from which a table is made for people (text, Markdown) and for programs
// (CSV, rows of JSON): a figure has a title and a text for the former, and fields with exact values
// for the latter.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "isoflop/base/printable.hpp"
#include "isoflop/text/csv.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

/// A value with full precision; monostate where there is none. Text may come from outside.
using ExactValue = std::variant<std::monostate, bool, std::int64_t, double, std::string>;

[[nodiscard]] ExactValue exact(std::optional<double> value);
[[nodiscard]] ExactValue exact(std::uint64_t count);
[[nodiscard]] std::string json_text(const ExactValue& value);
[[nodiscard]] std::string csv_text(const ExactValue& value);
/// "memory.total_bytes [bytes]": a column of CSV; a name alone where there is no unit.
[[nodiscard]] std::string csv_title(std::string_view name, std::string_view unit);

/// "2.1500"; "6.7289e+08" where the digits would not be read.
[[nodiscard]] std::string loss_text(double loss);
/// "20.8"; "2.66e+17" where the digits would not be read.
[[nodiscard]] std::string ratio_text(double ratio);

/// Bytes of the longest line.
[[nodiscard]] std::size_t widest_line(std::string_view text);

template <class Item>
struct Field {
    std::string name;  ///< its path in the JSON of the command
    std::string unit;  ///< empty for counts, ratios and text
    std::function<ExactValue(const Item&)> value;
};

template <class Item>
struct Figure {
    std::string title;  ///< for people; empty: for programs only
    std::function<std::string(const Item&)> text;
    std::vector<Field<Item>> fields = {};  ///< for programs
    std::size_t width = 0;                 ///< least width where rows are written one by one
};

template <class Item>
struct NamedItem {
    std::string name;
    const Item* item = nullptr;
};

/// A column for each item, a row for each figure with a title.
template <class Item>
text::Table side_by_side(std::span<const Figure<Item>> figures,
                         std::span<const NamedItem<Item>> items) {
    std::vector<text::Column> columns{{"", text::Align::left}};
    for (const NamedItem<Item>& named : items) columns.push_back({printable(named.name)});
    text::Table table(std::move(columns));
    for (const Figure<Item>& figure : figures) {
        if (figure.title.empty()) continue;
        std::vector<std::string> cells{figure.title};
        for (const NamedItem<Item>& named : items) cells.push_back(figure.text(*named.item));
        table.row(std::move(cells));
    }
    return table;
}

/// Tables of at most `width` columns of text one below another, each of as many items as fit.
template <class Item>
std::string side_by_side_text(std::span<const Figure<Item>> figures,
                              std::span<const NamedItem<Item>> items, text::Colour colour,
                              std::size_t width) {
    std::string text;
    while (!items.empty()) {
        std::size_t count = items.size();
        while (count > 1 && widest_line(side_by_side(figures, items.first(count)).str()) > width)
            --count;
        if (!text.empty()) text += "\n";
        text += side_by_side(figures, items.first(count)).str("", colour);
        items = items.subspan(count);
    }
    return text;
}

/// A header, and a record for each item.
template <class Item>
std::string csv(std::span<const Figure<Item>> figures, std::span<const NamedItem<Item>> items) {
    std::vector<std::string> cells{"name"};
    for (const Figure<Item>& figure : figures) {
        for (const Field<Item>& field : figure.fields)
            cells.push_back(csv_title(field.name, field.unit));
    }
    std::string text;
    text::append_csv_record(text, cells);
    for (const NamedItem<Item>& named : items) {
        cells.assign(1, text::csv_name(named.name));
        for (const Figure<Item>& figure : figures) {
            for (const Field<Item>& field : figure.fields)
                cells.push_back(csv_text(field.value(*named.item)));
        }
        text::append_csv_record(text, cells);
    }
    return text;
}

}  // namespace isoflop::report
