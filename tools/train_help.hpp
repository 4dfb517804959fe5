// The first page of help of train and of each of its commands.
#pragma once

#include <CLI/CLI.hpp>
#include <string>
#include <vector>

#include "isoflop/text/help_page.hpp"

namespace isoflop::tools {

/// Of the command `name`, with the meanings that its options have.
[[nodiscard]] text::HelpPage help_page(const CLI::App& command, const std::string& name);
/// Of a run.
[[nodiscard]] text::HelpPage help_page(const CLI::App& run, std::vector<text::HelpRow> commands);

}  // namespace isoflop::tools
