#include "commented_lines.hpp"

#include <fmt/format.h>

#include "isoflop/text/fit.hpp"

namespace isoflop::recipe {

std::string comment_lines(std::string_view paragraph, std::size_t indent) {
    constexpr std::size_t kMarkWidth = 3;  // "// "
    std::string text;
    for (const std::string& line :
         text::wrapped(paragraph, text::kReportWidth - kMarkWidth - indent))
        text += fmt::format("{:{}}// {}\n", "", indent, line);
    return text;
}

std::string heading_lines(std::span<const std::string> paragraphs) {
    std::string text;
    for (const std::string& paragraph : paragraphs) text += comment_lines(paragraph, 0);
    return text;
}

std::string commented_line(std::string_view code, std::string_view comment, std::size_t indent) {
    constexpr std::size_t kCommentColumn = 45;
    if (comment.empty()) return fmt::format("{:{}}{}\n", "", indent, code);
    std::string beside =
        fmt::format("{:{}}{:<{}}// {}\n", "", indent, code, kCommentColumn - indent, comment);
    if (beside.size() <= text::kReportWidth + 1) return beside;
    return comment_lines(comment, indent) + fmt::format("{:{}}{}\n", "", indent, code);
}

}  // namespace isoflop::recipe
