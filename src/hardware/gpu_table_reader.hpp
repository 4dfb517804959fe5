// Turns the parsed text of an accelerator table into rows. Every mistake is a ConfigError that
// points at its place in the file.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/hardware/gpu_table.hpp"

namespace isoflop::hardware {

/// An id or alias as written, kept with its place for messages about names used twice.
struct WrittenName {
    std::string text;
    std::size_t row = 0;
    config::SourceLocation location;
};

struct ParsedTable {
    std::vector<Gpu> gpus;
    std::vector<WrittenName> names;  ///< in file order
};

[[nodiscard]] ParsedTable read_gpu_rows(const config::Document& document);

}  // namespace isoflop::hardware
