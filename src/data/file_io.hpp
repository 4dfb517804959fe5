// Files for the data layer: complete reads and writes, pipes among them, and errors in the form of
// its messages: "PATH: error: what happened".
#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

#include "isoflop/base/file.hpp"
#include "isoflop/base/file_descriptor.hpp"

namespace isoflop::data {

/// Throws IoError "PATH: error: MESSAGE".
[[noreturn]] void fail(const std::filesystem::path& path, std::string_view message);
/// The same with the system's reason for an errno.
[[noreturn]] void fail_system(const std::filesystem::path& path, std::string_view what,
                              int error_number);
/// "no such file", with the nearest name in its folder.
[[noreturn]] void fail_missing(const std::filesystem::path& path);

/// A file, a named pipe or a device.
[[nodiscard]] FileDescriptor open_for_reading(const std::filesystem::path& path);
/// A regular file only; a missing one with the nearest name.
[[nodiscard]] RandomAccessFile open_regular(const std::filesystem::path& path);
/// Flushes to disk and closes; `path` is for the message.
void close_synced(FileDescriptor descriptor, const std::filesystem::path& path);
/// Writes new and renamed entries of this folder to disk.
void sync_folder(const std::filesystem::path& folder);

/// Bytes read, 0 at the end.
[[nodiscard]] std::size_t read_some(int descriptor, std::span<char> buffer,
                                    const std::filesystem::path& path);
/// The same for a pipe, which may let its reader wait: throws Stopped when this process is to stop.
[[nodiscard]] std::size_t read_some_or_stop(int descriptor, std::span<char> buffer,
                                            const std::filesystem::path& path);
void write_all_at(int descriptor, std::span<const std::byte> bytes, std::size_t offset,
                  const std::filesystem::path& path);

}  // namespace isoflop::data
