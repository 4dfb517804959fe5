#include "isoflop/text/csv.hpp"

#include <charconv>
#include <system_error>

#include "isoflop/base/printable.hpp"

namespace isoflop::text {
namespace {

bool is_number(std::string_view text) {
    double value = 0;
    if (text.starts_with('+')) text.remove_prefix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    return error == std::errc() && end == text.data() + text.size();
}

}  // namespace

std::string csv_cell(std::string_view text) {
    if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
    std::string cell = "\"";
    for (const char c : text) {
        if (c == '"') cell += '"';
        cell += c;
    }
    return cell + '"';
}

std::string csv_name(std::string_view text) {
    constexpr std::string_view kFormulaStarts = "=+-@";
    std::string name = printable(text);
    const std::size_t first = name.find_first_not_of(' ');
    const bool formula = first != std::string::npos &&
                         kFormulaStarts.find(name[first]) != std::string_view::npos &&
                         !is_number(name);
    return csv_cell(formula ? "'" + name : name);
}

void append_csv_record(std::string& out, std::span<const std::string> cells) {
    for (std::size_t i = 0; i < cells.size(); ++i) {
        if (i > 0) out += ',';
        out += cells[i];
    }
    out += "\r\n";
}

}  // namespace isoflop::text
