// Files: every descriptor is owned, every failure is an IoError that names the file and the
// system's reason, and a function that synchronizes returns when the bytes are on the disk. Every
// file of this project is read and written here (tools/check_includes.py holds the sources to it):
//  - What is read is a regular file. A named pipe or a device in its place is refused, without
//    waiting for it. Files are not mapped into memory: one that is truncated while it is in use is
//    an IoError with its name, where a mapping ends the process by a signal.
//  - What is written is a new file under a temporary name (O_EXCL, O_NOFOLLOW), renamed when it is
//    complete: nothing is written through a link, whoever made it.
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
/// For reading. Throws IoError at once for anything but a regular file (or a link to one).
[[nodiscard]] FileDescriptor open_regular_file(const std::filesystem::path& path);
/// Closes now and reports errors: some file systems report a full disk only here.
void close_file(FileDescriptor& file, const std::filesystem::path& path);

/// A regular file, read in any order and by several threads.
class RandomAccessFile {
public:
    explicit RandomAccessFile(std::filesystem::path path);

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }  ///< when it was opened
    /// Bytes offset, offset + 1, ... Throws IoError when the file has become shorter than that.
    void read(std::uint64_t offset, std::span<std::byte> bytes) const;

private:
    std::filesystem::path path_;
    FileDescriptor file_;
    std::uint64_t size_ = 0;
};

void write_all(const FileDescriptor& file, std::span<const std::byte> bytes,
               const std::filesystem::path& path);
/// Waits until the content of the file is on the disk.
void synchronize(const FileDescriptor& file, const std::filesystem::path& path);
/// The same for the names in a folder, after files were created, renamed or removed there.
void synchronize_directory(const std::filesystem::path& directory);

/// A file for writing and reading that did not exist before: a file or link of that name is
/// removed, and what the link points to stays as it is. Throws IoError where anything else has the
/// name.
[[nodiscard]] FileDescriptor create_file(const std::filesystem::path& path);

/// A file that gets its name when it is complete; until then it has a temporary one. An abandoned
/// file is removed. The name may belong to a file or a link, which is then replaced; IoError where
/// it belongs to a device or a named pipe.
class NewFile {
public:
    explicit NewFile(std::filesystem::path path);
    /// For processes that may write the same file at the same time, each under its own name.
    NewFile(std::filesystem::path path, std::filesystem::path temporary_name);
    NewFile(NewFile&&) noexcept = default;
    NewFile& operator=(NewFile&&) = delete;
    NewFile(const NewFile&) = delete;
    NewFile& operator=(const NewFile&) = delete;
    ~NewFile();

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    void append(std::span<const std::byte> bytes);
    void append(std::string_view text);
    /// Gives the file its name. `synchronized`: returns when its content is on the disk.
    void commit(bool synchronized = true);

private:
    std::filesystem::path path_;
    std::filesystem::path temporary_;
    FileDescriptor file_;
};

/// Writes and synchronizes; the file has its name only when it is complete.
void write_text_file(const std::filesystem::path& path, std::string_view text);
/// False, and nothing is written, when something has this name already.
[[nodiscard]] bool write_new_text_file(const std::filesystem::path& path, std::string_view text);
/// A log that grows: a new file, or IoError where the name is taken.
[[nodiscard]] FileDescriptor create_log(const std::filesystem::path& path);
/// Goes on with a log. Throws IoError unless it is a regular file, and no link.
[[nodiscard]] FileDescriptor continue_log(const std::filesystem::path& path);
/// Throws IoError for files over max_bytes: all files read here are small.
[[nodiscard]] std::string read_text_file(const std::filesystem::path& path,
                                         std::uint64_t max_bytes);
/// Copies a regular file; what has the name `to` is replaced.
void copy_regular_file(const std::filesystem::path& from, const std::filesystem::path& to);

void rename_path(const std::filesystem::path& from, const std::filesystem::path& to);
/// Creates a folder and its parents.
void make_directories(const std::filesystem::path& directory);

/// The name that a file has while it is being written.
[[nodiscard]] std::filesystem::path writing_name(const std::filesystem::path& path);

}  // namespace isoflop
