// Files: every descriptor and mapping is owned, every failure is an IoError that names the file and
// the system's reason, and a function that synchronizes returns when the bytes are on the disk.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "isoflop/base/file_descriptor.hpp"

namespace isoflop {

/// "cannot write 'out/x': No space left on device" from errno.
[[noreturn]] void throw_system_error(std::string_view action, const std::filesystem::path& path,
                                     int error_number);

/// As open(2); `action` is the verb of the error: "read", "write".
[[nodiscard]] FileDescriptor open_file(const std::filesystem::path& path, int flags,
                                       std::string_view action);
/// Closes now and reports errors: some file systems report a full disk only here.
void close_file(FileDescriptor& file, const std::filesystem::path& path);

/// A whole file, read-only.
class MappedFile {
public:
    explicit MappedFile(const std::filesystem::path& path);
    ~MappedFile();
    MappedFile(const MappedFile&) = delete;
    MappedFile& operator=(const MappedFile&) = delete;

    [[nodiscard]] std::span<const std::byte> bytes() const { return bytes_; }

private:
    std::span<const std::byte> bytes_;
};

void write_all(const FileDescriptor& file, std::span<const std::byte> bytes,
               const std::filesystem::path& path);
/// Waits until the content of the file is on the disk.
void synchronize(const FileDescriptor& file, const std::filesystem::path& path);
/// The same for the names in a folder, after files were created, renamed or removed there.
void synchronize_directory(const std::filesystem::path& directory);

/// Writes and synchronizes; the file has its name only when it is complete.
void write_text_file(const std::filesystem::path& path, std::string_view text);
/// Throws IoError for files over max_bytes: all files read here are small.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path,
                                         std::uint64_t max_bytes);

void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
/// Creates a folder and its parents.
void make_directories(const std::filesystem::path& directory);

/// The name that a file has while it is being written.
[[nodiscard]] std::filesystem::path writing_name(const std::filesystem::path& path);

}  // namespace isoflop
