// The first page of help: what fits on a screen. --help-all has the rest.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>
#include <utility>
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

/// What the page of a command says besides the meanings of its options.
struct CommandHelp {
    std::string command;
    std::string arguments;             ///< "FILE [options]"
    std::vector<std::string> options;  ///< the common ones
    std::vector<std::string> examples;
};

/// Rows of the options `names` of an `app` (CLI::App), with the meanings that they have there.
template <class App>
std::vector<HelpRow> option_rows(const App& app, const std::vector<std::string>& names) {
    std::vector<HelpRow> rows;
    rows.reserve(names.size());
    for (const std::string& name : names) {
        const auto& option = *app.get_option(name);
        const std::string type = option.get_type_name();
        std::string title = name;
        if (!type.empty()) title.append(" ").append(type);
        rows.push_back({std::move(title), option.get_description()});
    }
    return rows;
}

/// The page of the command `name` of `tool`, which is in `all`. `rest`: what --help-all adds.
template <class App>
HelpPage command_page(const App& app, const std::string& tool, const std::string& name,
                      std::span<const CommandHelp> all, const std::string& rest) {
    HelpPage page;
    page.about = app.get_description() + ".";
    page.usage = tool + " " + name;
    const auto found = std::find_if(all.begin(), all.end(),
                                    [&](const CommandHelp& help) { return help.command == name; });
    if (found != all.end()) {
        page.usage += " " + found->arguments;
        page.options = option_rows(app, found->options);
        page.examples = found->examples;
    }
    page.more = "All " + rest + ": " + tool + " " + name + " --help-all";
    return page;
}

/// The page, in lines of at most `width` columns.
[[nodiscard]] std::string help_text(const HelpPage& page, std::size_t width);

/// Which help the arguments of a command line ask for.
enum class Help { none, page, all };
/// --help, -h and --help-all, wherever they stand.
[[nodiscard]] Help help_of(const std::vector<std::string>& arguments);

}  // namespace isoflop::text
