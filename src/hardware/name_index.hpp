// The names of a table, for lookup: as written, then by what they say (name_reading.hpp).
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "hardware/gpu_name.hpp"
#include "hardware/gpu_table_reader.hpp"
#include "hardware/name_reading.hpp"

namespace isoflop::hardware {

/// Rows are positions in the table's vector.
struct NameMatch {
    std::optional<std::size_t> row;
    /// Without a row: those that have the name's chip, but not its size, or several sizes.
    std::vector<std::size_t> candidates;
};

class NameIndex {
public:
    /// Throws ConfigError for names that cannot be looked up or belong to two rows.
    NameIndex(const ParsedTable& table, const config::Document& document);

    [[nodiscard]] NameMatch find(std::string_view name) const;
    /// The row whose name is a likely misspelling of `name`, of the same generation: same number,
    /// same letters in front of it.
    [[nodiscard]] std::optional<std::size_t> nearest(std::string_view name) const;

private:
    /// A name of the table by what it says.
    struct Said {
        std::string key;
        std::string memory_kind;
        bool has_size = false;
        std::size_t row = 0;
    };

    [[nodiscard]] std::optional<std::size_t> find_as_written(const NormalisedName& wanted) const;
    [[nodiscard]] NameMatch find_said(const NameReading& wanted) const;
    [[nodiscard]] NameMatch match_key(std::string_view key, const std::string& vendor,
                                      const NameReading& wanted) const;
    [[nodiscard]] bool has_sizes(std::size_t row, const std::vector<double>& sizes_gb,
                                 double gpus) const;
    /// Takes the name of a vendor of the table from the front of `key`.
    [[nodiscard]] std::string take_vendor(std::string& key) const;

    /// Normalised name -> row, sorted. Each name occurs twice: alone and after its vendor.
    std::vector<std::pair<std::string, std::size_t>> written_;
    std::vector<Said> said_;                     ///< sorted by key
    std::vector<std::vector<double>> sizes_gb_;  ///< by row: memory_gb, and sizes in its names
    std::vector<std::string> vendors_;           ///< by row, normalised
};

}  // namespace isoflop::hardware
