#include "isoflop/text/message.hpp"

#include <unistd.h>

#include <algorithm>
#include <vector>

#include "isoflop/text/fit.hpp"
#include "isoflop/text/terminal.hpp"

namespace isoflop::text {
namespace {

constexpr std::size_t kNarrowest = 40;
constexpr std::string_view kQuotes = "\"'`";
constexpr std::string_view kExample = "Example: ";

/// "  4 |   "n_embd": "x"" and the line of the caret below it.
bool shows_a_file(std::string_view line) {
    const std::size_t bar = line.find('|');
    return bar != std::string_view::npos && line.starts_with(" ") &&
           line.substr(0, bar).find_first_not_of(" 0123456789") == std::string_view::npos;
}

/// Bytes of the name of a file with which a line begins, and what says the place there.
std::size_t end_of_place(std::string_view line) {
    constexpr std::string_view kMark = ": error: ";
    const std::size_t mark = line.find(kMark);
    return mark == std::string_view::npos ? 0 : mark + kMark.size() - 1;
}

/// The end of the text in quotes that begins at `at`; `at` where none does.
std::size_t end_of_quoted(std::string_view line, std::size_t at) {
    if (kQuotes.find(line[at]) == std::string_view::npos) return at;
    const bool within_word = at > 0 && line[at - 1] != ' ' && line[at - 1] != '(';
    if (within_word && line[at] == '\'') return at;  // an apostrophe
    const std::size_t closing = line.find(line[at], at + 1);
    return closing == std::string_view::npos ? at : closing + 1;
}

bool is_placeholder(std::string_view word) {
    constexpr std::string_view kCapitals = "ABCDEFGHIJKLMNOPQRSTUVWXYZ_=.,;";
    return !word.empty() && word.find_first_not_of(kCapitals) == std::string_view::npos;
}

/// "--csv FILE" is one option.
bool takes_next_word(std::string_view piece, std::string_view next) {
    return piece.starts_with("--") && piece.find('=') == std::string_view::npos &&
           is_placeholder(next.substr(0, next.find(' ')));
}

/// The parts between which a line may be divided. They have no spaces around them.
std::vector<std::string_view> pieces_of(std::string_view line) {
    std::vector<std::string_view> pieces;
    std::size_t begin = 0;
    std::size_t at = end_of_place(line);
    const auto finish = [&](std::size_t end) {
        if (end > begin) pieces.push_back(line.substr(begin, end - begin));
        begin = std::min(line.find_first_not_of(' ', end), line.size());
        at = begin;
    };
    while (at < line.size()) {
        if (at == begin && line.substr(at).starts_with(kExample)) {
            finish(at + kExample.size() - 1);
            finish(std::min(line.find(';', at), line.size()));
            continue;
        }
        if (const std::size_t end = end_of_quoted(line, at); end > at) {
            at = end;
            continue;
        }
        const bool divides = line[at] == ' ' &&
                             !takes_next_word(line.substr(begin, at - begin), line.substr(at + 1));
        if (divides)
            finish(at);
        else
            ++at;
    }
    finish(line.size());
    return pieces;
}

void append_wrapped(std::string& text, std::string_view line, std::size_t width) {
    if (display_width(line) <= width || shows_a_file(line)) {
        text += line;
        return;
    }
    const std::size_t indent = std::min(line.find_first_not_of(' '), line.size());
    text += std::string(indent, ' ');
    std::size_t used = indent;
    bool begun = false;
    for (const std::string_view piece : pieces_of(line.substr(indent))) {
        const std::size_t columns = display_width(piece);
        if (begun && used + 1 + columns > width) {
            text += "\n" + std::string(indent + 2, ' ');
            used = indent + 2;
        } else if (begun) {
            text += ' ';
            ++used;
        }
        text += piece;
        used += columns;
        begun = true;
    }
}

}  // namespace

std::string wrapped_message(std::string_view message, std::size_t width) {
    std::string text;
    while (!message.empty()) {
        const std::size_t end = std::min(message.find('\n'), message.size());
        append_wrapped(text, message.substr(0, end), std::max(width, kNarrowest));
        if (end < message.size()) text += '\n';
        message.remove_prefix(std::min(end + 1, message.size()));
    }
    return text;
}

std::string message_for(int descriptor, std::string_view message) {
    if (isatty(descriptor) == 0) return std::string(message);
    return wrapped_message(message, terminal_width(descriptor).value_or(kReportWidth));
}

}  // namespace isoflop::text
