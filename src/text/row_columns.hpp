// The columns in which TextReport::row begins values and notes. Internal to the text layer.
#pragma once

#include <cstddef>

namespace isoflop::text {

inline constexpr std::size_t kRowIndent = 2;
inline constexpr std::size_t kValueColumn = 33;
inline constexpr std::size_t kNoteColumn = 52;

}  // namespace isoflop::text
