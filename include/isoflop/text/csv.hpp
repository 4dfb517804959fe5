// Comma-separated values as RFC 4180 describes them, safe to open in a spreadsheet.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace isoflop::text {

/// A number, or another cell that this program wrote itself: quoted where RFC 4180 needs it.
[[nodiscard]] std::string csv_cell(std::string_view text);

/// Text from outside, with control characters escaped. A spreadsheet would run a cell that begins
/// with =, +, - or @ as a formula: such a text gets an apostrophe in front, unless it is a number.
[[nodiscard]] std::string csv_name(std::string_view text);

/// Cells as one record, with the line end of RFC 4180 (CR LF).
void append_csv_record(std::string& out, std::span<const std::string> cells);

}  // namespace isoflop::text
