// Reads a JSONC file: every fault of the file itself becomes a one-line message.
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdio>
#include <memory>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/config/jsonc.hpp"

namespace isoflop::config {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& path, std::string_view message) {
    throw ConfigError(fmt::format("{}: error: {}", path.string(), message));
}

std::string system_message(int error_number) {
    return std::generic_category().message(error_number);
}

/// Names in a folder; at most a few thousand, since a suggestion is not worth a long wait.
std::vector<std::string> names_in_folder(const fs::path& folder) {
    constexpr std::size_t kMostNames = 4096;
    std::vector<std::string> names;
    std::error_code error;
    fs::directory_iterator entry(folder.empty() ? fs::path(".") : folder, error);
    while (!error && entry != fs::directory_iterator() && names.size() < kMostNames) {
        names.push_back(entry->path().filename().string());
        entry.increment(error);
    }
    return names;
}

/// Path with the nearest spelling of its last name, from what is in the same folder.
std::optional<std::string> nearest_path(const fs::path& path) {
    const std::vector<std::string> names = names_in_folder(path.parent_path());
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    const auto nearest = nearest_spelling(path.filename().string(), candidates);
    if (!nearest) return std::nullopt;
    return (path.parent_path() / *nearest).string();
}

/// The part of a path that is missing: the path itself, or the first of its folders that is not
/// there.
fs::path first_missing(fs::path path) {
    std::error_code error;
    while (path.has_parent_path() && path.parent_path() != path &&
           !fs::exists(path.parent_path(), error)) {
        path = path.parent_path();
    }
    return path;
}

[[noreturn]] void fail_missing(const fs::path& path) {
    const fs::path missing = first_missing(path);
    std::string message =
        missing == path ? std::string("no such file")
                        : fmt::format("no such file: there is no folder '{}'", missing.string());
    const auto nearest = nearest_path(missing);
    if (nearest) message += fmt::format("; did you mean '{}'?", *nearest);
    fail(path, message);
}

constexpr std::string_view kStandardInput = "-";

/// Refuses paths that cannot be a configuration. Pipes are accepted, as a shell passes generated
/// files through them. Devices are refused: reading a terminal waits, and reading /dev/zero never
/// ends.
void check_file_type(const fs::path& path, std::size_t max_bytes) {
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    switch (status.type()) {
        case fs::file_type::not_found: fail_missing(path);
        case fs::file_type::directory: fail(path, "this is a directory, not a file");
        case fs::file_type::none: fail(path, "cannot be read: " + error.message());
        case fs::file_type::fifo: return;
        case fs::file_type::regular: break;
        default: fail(path, "this is a device or a socket, not a file");
    }
    const std::uintmax_t size = fs::file_size(path, error);
    if (!error && size > max_bytes) {
        fail(path, fmt::format("the file has {} bytes; the limit is {}", size, max_bytes));
    }
}

void close_file(std::FILE* file) {
    if (file != stdin) std::fclose(file);
}

/// Reads to the end, but little more than the limit: pipes report no size, and a file may grow.
std::string read_text(const fs::path& path, std::size_t max_bytes) {
    const std::unique_ptr<std::FILE, void (*)(std::FILE*)> file(
        path == kStandardInput ? stdin : std::fopen(path.c_str(), "rb"), &close_file);
    if (!file) fail(path, "cannot be opened: " + system_message(errno));

    std::string text;
    std::array<char, 65536> buffer{};
    std::size_t count = buffer.size();
    while (count == buffer.size()) {
        count = std::fread(buffer.data(), 1, buffer.size(), file.get());
        if (std::ferror(file.get()) != 0) fail(path, "cannot be read: " + system_message(errno));
        text.append(buffer.data(), count);
        if (text.size() > max_bytes) {
            fail(path, fmt::format("the file has more than {} bytes, the limit", max_bytes));
        }
    }
    return text;
}

}  // namespace

Document read_jsonc_file(const std::filesystem::path& path, JsoncLimits limits) {
    if (path == kStandardInput) {
        if (isatty(STDIN_FILENO) != 0) fail(path, "standard input is a terminal, not a file");
        return parse_jsonc(read_text(path, limits.max_bytes), "standard input", limits);
    }
    check_file_type(path, limits.max_bytes);
    return parse_jsonc(read_text(path, limits.max_bytes), path.string(), limits);
}

}  // namespace isoflop::config
