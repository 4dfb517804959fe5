#include "isoflop/base/file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <system_error>

#include "isoflop/base/error.hpp"

namespace isoflop {

void throw_system_error(std::string_view action, const std::filesystem::path& path,
                        int error_number) {
    throw IoError(fmt::format("cannot {} '{}': {}", action, path.string(),
                              std::generic_category().message(error_number)));
}

FileDescriptor open_file(const std::filesystem::path& path, int flags, std::string_view action) {
    constexpr mode_t kMode = 0666;  // less the umask
    int descriptor = -1;
    do {
        descriptor = ::open(path.c_str(), flags | O_CLOEXEC, kMode);
    } while (descriptor < 0 && errno == EINTR);
    if (descriptor < 0) throw_system_error(action, path, errno);
    return FileDescriptor(descriptor);
}

void close_file(FileDescriptor& file, const std::filesystem::path& path) {
    if (file.is_open() && ::close(file.release()) != 0 && errno != EINTR)
        throw_system_error("write", path, errno);
}

MappedFile::MappedFile(const std::filesystem::path& path) {
    const FileDescriptor file = open_file(path, O_RDONLY, "read");
    struct stat status {};
    if (::fstat(file.get(), &status) != 0) throw_system_error("read", path, errno);
    if (!S_ISREG(status.st_mode))
        throw IoError(fmt::format("cannot read '{}': not a file", path.string()));
    if (status.st_size == 0) return;
    const auto size = static_cast<std::size_t>(status.st_size);
    void* address = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, file.get(), 0);
    if (address == MAP_FAILED) throw_system_error("read", path, errno);
    bytes_ = {static_cast<const std::byte*>(address), size};
}

MappedFile::~MappedFile() {
    if (bytes_.empty()) return;
    // munmap takes the address without const.
    ::munmap(const_cast<std::byte*>(bytes_.data()), bytes_.size());  // NOLINT
}

void write_all(const FileDescriptor& file, std::span<const std::byte> bytes,
               const std::filesystem::path& path) {
    while (!bytes.empty()) {
        const ssize_t written = ::write(file.get(), bytes.data(), bytes.size());
        if (written < 0 && errno == EINTR) continue;
        if (written < 0) throw_system_error("write", path, errno);
        bytes = bytes.subspan(static_cast<std::size_t>(written));
    }
}

void synchronize(const FileDescriptor& file, const std::filesystem::path& path) {
    // EINVAL: a special file (a pipe, /dev/full) that has nothing to flush.
    if (::fsync(file.get()) != 0 && errno != EINVAL) throw_system_error("write", path, errno);
}

void synchronize_directory(const std::filesystem::path& directory) {
    const FileDescriptor file = open_file(directory, O_RDONLY | O_DIRECTORY, "open");
    synchronize(file, directory);
}

void write_text_file(const std::filesystem::path& path, std::string_view text) {
    const std::filesystem::path partial = writing_name(path);
    try {
        FileDescriptor file = open_file(partial, O_WRONLY | O_CREAT | O_TRUNC, "write");
        write_all(file, std::as_bytes(std::span(text)), path);
        synchronize(file, path);
        close_file(file, path);
        rename_path(partial, path);
    } catch (const IoError&) {
        std::error_code ignored;
        std::filesystem::remove(partial, ignored);
        throw;
    }
}

std::string read_text_file(const std::filesystem::path& path, std::uint64_t max_bytes) {
    const MappedFile file(path);
    if (file.bytes().size() > max_bytes) {
        throw IoError(fmt::format("'{}' has {} bytes; at most {} are sensible for such a file",
                                  path.string(), file.bytes().size(), max_bytes));
    }
    std::string text(file.bytes().size(), '\0');
    for (std::size_t i = 0; i < text.size(); ++i) text[i] = static_cast<char>(file.bytes()[i]);
    return text;
}

void rename_path(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::error_code error;
    std::filesystem::rename(from, to, error);
    if (error) throw_system_error("write", to, error.value());
}

void make_directories(const std::filesystem::path& directory) {
    std::error_code error;
    std::filesystem::create_directories(directory, error);
    if (error) throw_system_error("create", directory, error.value());
    if (!std::filesystem::is_directory(directory)) throw_system_error("create", directory, ENOTDIR);
}

std::filesystem::path writing_name(const std::filesystem::path& path) {
    return path.string() + ".writing";
}

}  // namespace isoflop
