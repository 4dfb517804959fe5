#include "report/figures.hpp"

#include <fmt/compile.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace isoflop::report {

ExactValue exact(std::optional<double> value) {
    return value ? ExactValue(*value) : ExactValue();
}

ExactValue exact(std::uint64_t count) {
    return static_cast<std::int64_t>(count);
}

std::string json_text(const ExactValue& value) {
    struct Writer {
        std::string operator()(std::monostate) const { return "null"; }
        std::string operator()(bool flag) const { return flag ? "true" : "false"; }
        std::string operator()(std::int64_t number) const { return fmt::format("{}", number); }
        std::string operator()(double number) const { return fmt::format("{}", number); }
        std::string operator()(const std::string& text) const {
            using nlohmann::json;
            return json(text).dump(-1, ' ', false, json::error_handler_t::replace);
        }
    };
    return std::visit(Writer{}, value);
}

std::string csv_text(const ExactValue& value) {
    if (std::holds_alternative<std::monostate>(value)) return {};
    const auto* text = std::get_if<std::string>(&value);
    return text != nullptr ? text::csv_name(*text) : json_text(value);
}

std::string csv_title(std::string_view name, std::string_view unit) {
    return text::csv_name(unit.empty() ? std::string(name) : fmt::format("{} [{}]", name, unit));
}

std::string loss_text(double loss) {
    constexpr double kReadable = 1e6;
    return std::abs(loss) < kReadable ? fmt::format(FMT_COMPILE("{:.4f}"), loss)
                                      : fmt::format("{:.4e}", loss);
}

std::string ratio_text(double ratio) {
    constexpr double kReadable = 1e12;
    return ratio < kReadable ? fmt::format("{:.1f}", ratio) : fmt::format("{:.2e}", ratio);
}

std::size_t widest_line(std::string_view text) {
    std::size_t widest = 0;
    while (!text.empty()) {
        const std::size_t end = std::min(text.find('\n'), text.size());
        widest = std::max(widest, end);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return widest;
}

}  // namespace isoflop::report
