// The first page of help: what fits on a screen. --help-all has the rest.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

namespace isoflop::text {

/// "--set KEY=VALUE" and its meaning.
struct HelpRow {
    std::string name;
    std::string meaning;
};

struct HelpPage {
    std::string usage;                  ///< "scaling-plan backward FILE [options]"
    std::string about;                  ///< one sentence
    std::vector<HelpRow> commands;      ///< of a tool
    std::vector<HelpRow> options;       ///< the common ones
    std::vector<std::string> examples;  ///< of this command only
    std::string more;                   ///< where the rest is, and exit codes
};

/// The page, in lines of at most `width` columns.
[[nodiscard]] std::string help_text(const HelpPage& page, std::size_t width);

/// Which help the arguments of a command line ask for.
enum class Help { none, page, all };
/// --help, -h and --help-all, wherever they stand.
[[nodiscard]] Help help_of(const std::vector<std::string>& arguments);

}  // namespace isoflop::text
