// Where in a kernel something happened: a default argument of every wrapper.
#pragma once

#include <version>

#if defined(__cpp_lib_source_location)
#include <source_location>
#endif

namespace isoflop::simt {

#if defined(__cpp_lib_source_location)
using Location = std::source_location;
#else
/// clang 14 has the built-ins, but not yet the one that libstdc++'s std::source_location needs.
class Location {
public:
    static constexpr Location current(const char* file = __builtin_FILE(),
                                      unsigned line = __builtin_LINE(),
                                      unsigned column = __builtin_COLUMN()) {
        Location here;
        here.file_ = file;
        here.line_ = line;
        here.column_ = column;
        return here;
    }
    [[nodiscard]] constexpr const char* file_name() const { return file_; }
    [[nodiscard]] constexpr unsigned line() const { return line_; }
    [[nodiscard]] constexpr unsigned column() const { return column_; }

private:
    const char* file_ = "";
    unsigned line_ = 0;
    unsigned column_ = 0;
};
#endif

}  // namespace isoflop::simt
