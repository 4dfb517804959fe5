// The first page of help of scaling-plan and of each of its commands.
#pragma once

#include <CLI/CLI.hpp>
#include <vector>

#include "isoflop/text/help_page.hpp"

namespace isoflop::tools {

/// Of a command, with the meanings that its options have.
[[nodiscard]] text::HelpPage help_page(const CLI::App& command);
/// Of the tool.
[[nodiscard]] text::HelpPage help_page(std::vector<text::HelpRow> commands);

}  // namespace isoflop::tools
