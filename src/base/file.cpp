#include "isoflop/base/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <system_error>
#include <utility>
#include <vector>

#include "isoflop/base/error.hpp"

namespace isoflop {
namespace {

namespace fs = std::filesystem;

constexpr std::size_t kPieceBytes = std::size_t{1} << 18U;

/// What stands where a regular file belongs; nullptr for a regular file.
const char* kind_of(mode_t mode) {
    if (S_ISREG(mode)) return nullptr;
    if (S_ISDIR(mode)) return "it is a folder, not a file";
    if (S_ISFIFO(mode)) return "it is a named pipe, not a file";
    if (S_ISLNK(mode)) return "it is a symbolic link, not a file";
    if (S_ISSOCK(mode)) return "it is a socket, not a file";
    return "it is a device, not a file";
}

[[noreturn]] void refuse(std::string_view action, const fs::path& path, std::string_view why) {
    throw IoError(fmt::format("cannot {} '{}': {}", action, path.string(), why));
}

/// lstat or stat; nullopt when there is nothing of this name.
std::optional<struct stat> status_of(const fs::path& path, bool follow) {
    struct stat status {};
    const int result = follow ? ::stat(path.c_str(), &status) : ::lstat(path.c_str(), &status);
    if (result == 0) return status;
    if (errno == ENOENT) return std::nullopt;
    throw_system_error("write", path, errno);
}

/// A file may be replaced, and so may a link, by which nothing happens to what it points to. A link
/// to a device is refused, as /dev/stdout is one on some systems.
void check_replaceable(const fs::path& path) {
    const auto itself = status_of(path, false);
    if (!itself) return;
    const auto target = S_ISLNK(itself->st_mode) ? status_of(path, true) : itself;
    if (!target) return;
    if (const char* const kind = kind_of(target->st_mode)) refuse("write", path, kind);
}

void check_regular(const FileDescriptor& file, const fs::path& path, std::string_view action) {
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) throw_system_error(action, path, errno);
    if (const char* const kind = kind_of(status.st_mode)) refuse(action, path, kind);
}

bool is_same_file(const FileDescriptor& file, const fs::path& path) {
    struct stat open_one {};
    struct stat named {};
    return ::fstat(file.get(), &open_one) == 0 && ::lstat(path.c_str(), &named) == 0 &&
           open_one.st_dev == named.st_dev && open_one.st_ino == named.st_ino;
}

}  // namespace

void throw_system_error(std::string_view action, const fs::path& path, int error_number) {
    refuse(action, path, std::generic_category().message(error_number));
}

FileDescriptor open_file(const fs::path& path, int flags, std::string_view action) {
    constexpr mode_t kMode = 0666;  // less the umask
    int descriptor = -1;
    do {
        descriptor = ::open(path.c_str(), flags | O_CLOEXEC, kMode);
    } while (descriptor < 0 && errno == EINTR);
    if (descriptor >= 0) return FileDescriptor(descriptor);
    if (errno == ELOOP && (flags & O_NOFOLLOW) != 0)
        refuse(action, path, "it is a symbolic link, through which nothing is written");
    throw_system_error(action, path, errno);
}

FileDescriptor open_regular_file(const fs::path& path) {
    // Opening a named pipe waits for its other end, unless O_NONBLOCK is given.
    FileDescriptor file = open_file(path, O_RDONLY | O_NONBLOCK | O_NOCTTY, "read");
    check_regular(file, path, "read");
    return file;
}

void close_file(FileDescriptor& file, const fs::path& path) {
    if (file.is_open() && ::close(file.release()) != 0 && errno != EINTR)
        throw_system_error("write", path, errno);
}

RandomAccessFile::RandomAccessFile(fs::path path)
    : path_(std::move(path)), file_(open_regular_file(path_)) {
    struct stat status {};
    if (::fstat(file_.get(), &status) != 0) throw_system_error("read", path_, errno);
    size_ = static_cast<std::uint64_t>(status.st_size);
}

void RandomAccessFile::read(std::uint64_t offset, std::span<std::byte> bytes) const {
    while (!bytes.empty()) {
        const ssize_t count =
            ::pread(file_.get(), bytes.data(), bytes.size(), static_cast<off_t>(offset));
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) throw_system_error("read", path_, errno);
        if (count == 0) {
            refuse("read", path_,
                   fmt::format("it was truncated while it was in use: it had {} bytes, and byte {} "
                               "is gone",
                               size_, offset));
        }
        bytes = bytes.subspan(static_cast<std::size_t>(count));
        offset += static_cast<std::uint64_t>(count);
    }
}

void write_all(const FileDescriptor& file, std::span<const std::byte> bytes, const fs::path& path) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) throw_system_error("write", path, errno);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

void synchronize(const FileDescriptor& file, const fs::path& path) {
    // EINVAL: a special file (a pipe, /dev/full) that has nothing to flush.
    if (::fsync(file.get()) != 0 && errno != EINVAL) throw_system_error("write", path, errno);
}

void synchronize_directory(const fs::path& directory) {
    const FileDescriptor file = open_file(directory, O_RDONLY | O_DIRECTORY, "open");
    synchronize(file, directory);
}

FileDescriptor create_file(const fs::path& path) {
    if (const auto status = status_of(path, false)) {
        const char* const kind = S_ISLNK(status->st_mode) ? nullptr : kind_of(status->st_mode);
        if (kind != nullptr) refuse("write", path, kind);
        if (::unlink(path.c_str()) != 0 && errno != ENOENT)
            throw_system_error("write", path, errno);
    }
    return open_file(path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, "write");
}

NewFile::NewFile(fs::path path) : path_(std::move(path)), temporary_(writing_name(path_)) {
    check_replaceable(path_);
    file_ = create_file(temporary_);
}

NewFile::NewFile(fs::path path, fs::path temporary_name)
    : path_(std::move(path)), temporary_(std::move(temporary_name)) {
    check_replaceable(path_);
    file_ = create_file(temporary_);
}

NewFile::~NewFile() {
    std::error_code ignored;
    if (file_.is_open()) fs::remove(temporary_, ignored);
}

void NewFile::append(std::span<const std::byte> bytes) {
    write_all(file_, bytes, path_);
}

void NewFile::append(std::string_view text) {
    append(std::as_bytes(std::span(text)));
}

void NewFile::commit(bool synchronized) {
    if (synchronized) synchronize(file_, path_);
    if (!is_same_file(file_, temporary_)) {
        file_.close();  // the temporary name is another's now
        refuse("write", path_, "another process writes the same file");
    }
    rename_path(temporary_, path_);
    close_file(file_, path_);
}

void write_text_file(const fs::path& path, std::string_view text) {
    NewFile file(path);
    file.append(text);
    file.commit();
}

bool write_new_text_file(const fs::path& path, std::string_view text) {
    if (status_of(path, false)) return false;
    FileDescriptor file = open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW, "write");
    try {
        write_all(file, std::as_bytes(std::span(text)), path);
        synchronize(file, path);
        close_file(file, path);
    } catch (const IoError&) {
        std::error_code ignored;
        fs::remove(path, ignored);
        throw;
    }
    return true;
}

FileDescriptor create_log(const fs::path& path) {
    return open_file(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW, "write");
}

FileDescriptor continue_log(const fs::path& path) {
    FileDescriptor file = open_file(path, O_WRONLY | O_APPEND | O_NOFOLLOW | O_NONBLOCK, "write");
    check_regular(file, path, "write");
    return file;
}

std::string read_text_file(const fs::path& path, std::uint64_t max_bytes) {
    const RandomAccessFile file(path);
    if (file.size() > max_bytes) {
        throw IoError(fmt::format("'{}' has {} bytes; at most {} are sensible for such a file",
                                  path.string(), file.size(), max_bytes));
    }
    std::string text(static_cast<std::size_t>(file.size()), '\0');
    file.read(0, std::as_writable_bytes(std::span(text)));
    return text;
}

void copy_regular_file(const fs::path& from, const fs::path& to) {
    std::error_code different;
    if (fs::equivalent(from, to, different)) return;
    const RandomAccessFile source(from);
    NewFile copy(to);
    std::vector<std::byte> piece(kPieceBytes);
    for (std::uint64_t offset = 0; offset < source.size(); offset += piece.size()) {
        piece.resize(
            static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, source.size() - offset)));
        source.read(offset, piece);
        copy.append(piece);
    }
    copy.commit();
}

void rename_path(const fs::path& from, const fs::path& to) {
    std::error_code error;
    fs::rename(from, to, error);
    if (error) throw_system_error("write", to, error.value());
}

void make_directories(const fs::path& directory) {
    std::error_code error;
    fs::create_directories(directory, error);
    if (error) throw_system_error("create", directory, error.value());
    if (!fs::is_directory(directory)) throw_system_error("create", directory, ENOTDIR);
}

fs::path writing_name(const fs::path& path) {
    return path.string() + ".writing";
}

}  // namespace isoflop
