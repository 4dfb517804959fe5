#include "data/file_io.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/stop.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;

void fail(const fs::path& path, std::string_view message) {
    throw IoError(fmt::format("{}: error: {}", path.string(), message));
}

void fail_system(const fs::path& path, std::string_view what, int error_number) {
    fail(path, fmt::format("{}: {}", what, std::generic_category().message(error_number)));
}

void fail_missing(const fs::path& path) {
    constexpr std::size_t kMostNames = 4096;  // a suggestion must not take long
    const fs::path folder = path.has_parent_path() ? path.parent_path() : fs::path(".");
    std::error_code error;
    if (!fs::is_directory(folder, error)) {
        fail(path, fmt::format("no such file: there is no folder '{}'", folder.string()));
    }
    std::vector<std::string> names;
    for (fs::directory_iterator entry(folder, error);
         !error && entry != fs::directory_iterator() && names.size() < kMostNames;
         entry.increment(error)) {
        names.push_back(entry->path().filename().string());
    }
    const std::vector<std::string_view> candidates(names.begin(), names.end());
    std::string message = "no such file";
    if (const auto nearest = nearest_spelling(path.filename().string(), candidates)) {
        message += fmt::format("; did you mean '{}'?", (path.parent_path() / *nearest).string());
    }
    fail(path, message);
}

FileDescriptor open_for_reading(const fs::path& path) {
    std::error_code error;
    const fs::file_type type = fs::status(path, error).type();
    if (type == fs::file_type::not_found) fail_missing(path);
    if (type == fs::file_type::directory) fail(path, "this is a folder, not a file");
    // A named pipe would wait here for its writer, deaf to requests to stop.
    const int wait = type == fs::file_type::fifo ? O_NONBLOCK : 0;
    FileDescriptor descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | wait));
    if (descriptor.get() < 0) fail_system(path, "cannot be read", errno);
    return descriptor;
}

void close_synced(FileDescriptor descriptor, const fs::path& path) {
    // EINVAL: a pipe or device, which cannot be synchronised.
    if (::fsync(descriptor.get()) != 0 && errno != EINVAL)
        fail_system(path, "cannot be written", errno);
    if (::close(descriptor.release()) != 0) fail_system(path, "cannot be written", errno);
}

void sync_folder(const fs::path& folder) {
    // Some file systems do not allow this; the failure is ignored.
    const FileDescriptor descriptor(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (descriptor.get() >= 0) ::fsync(descriptor.get());
}

std::size_t read_some(int descriptor, std::span<char> buffer, const fs::path& path) {
    while (true) {
        const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno != EINTR) fail_system(path, "cannot be read", errno);
    }
}

std::size_t read_some_or_stop(int descriptor, std::span<char> buffer, const fs::path& path) {
    while (true) {
        std::array<pollfd, 2> entries{
            pollfd{.fd = descriptor, .events = POLLIN, .revents = 0},
            pollfd{.fd = stop_descriptor(), .events = POLLIN, .revents = 0}};
        const int ready = ::poll(entries.data(), entries.size(), -1);
        throw_if_stopped("reading text");
        if (ready <= 0 || entries[0].revents == 0) continue;
        const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
        if (count >= 0) return static_cast<std::size_t>(count);
        if (errno != EINTR && errno != EAGAIN) fail_system(path, "cannot be read", errno);
    }
}

void write_all_at(int descriptor, std::span<const std::byte> bytes, std::size_t offset,
                  const fs::path& path) {
    while (!bytes.empty()) {
        const ssize_t count =
            ::pwrite(descriptor, bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count >= 0) {
            bytes = bytes.subspan(static_cast<std::size_t>(count));
            offset += static_cast<std::size_t>(count);
        } else if (errno != EINTR) {
            fail_system(path, "cannot be written", errno);
        }
    }
}

RandomAccessFile open_regular(const fs::path& path) {
    std::error_code error;
    const fs::file_type type = fs::status(path, error).type();
    if (type == fs::file_type::not_found) fail_missing(path);
    return RandomAccessFile(path);
}

}  // namespace isoflop::data
