// What the fuzz targets of files share: a folder of this process, and what every refusal promises.
#pragma once

#include <stdlib.h>  // mkdtemp

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>
#include <string_view>

#include "isoflop/base/error.hpp"

namespace isoflop::fuzz {

/// Unlike assert, this also stands in a build with NDEBUG.
inline void require(bool condition, const char* promise) {
    if (condition) return;
    std::fprintf(stderr, "broken promise: %s\n", promise);
    std::abort();
}

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
    return {reinterpret_cast<const char*>(data), size};
}

/// A folder in memory where there is one; removed at the end of the process.
class ScratchFolder {
public:
    ScratchFolder() {
        const std::filesystem::path memory = "/dev/shm";
        const auto parent =
            std::filesystem::is_directory(memory) ? memory : std::filesystem::temp_directory_path();
        std::string name = (parent / "isoflop_fuzz_XXXXXX").string();
        if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = name;
    }
    ~ScratchFolder() {
        std::error_code ignored;
        std::filesystem::remove_all(path_, ignored);
    }
    ScratchFolder(const ScratchFolder&) = delete;
    ScratchFolder& operator=(const ScratchFolder&) = delete;

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Writes a file of this folder and returns its path.
    std::filesystem::path put(const char* name, std::string_view bytes) const {
        const auto file = path_ / name;
        std::filesystem::create_directories(file.parent_path());
        std::ofstream(file, std::ios::binary)
            .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
        return file;
    }

private:
    std::filesystem::path path_;
};

/// The folder of this process.
inline const ScratchFolder& scratch() {
    static const ScratchFolder folder;
    return folder;
}

/// Calls `read`. What it refuses is an error with the name of a file and a short message; any other
/// exception, and every fault that the sanitizers see, ends the process.
template <class Read>
void expect_read_or_refused(Read&& read) {
    try {
        read();
    } catch (const Error& error) {
        const std::string_view message = error.what();
        require(message.find(scratch().path().string()) != std::string_view::npos,
                "an error names the file");
        require(message.size() < 8000, "an error is short");
        require(error.exit_code() == ExitCode::io || error.exit_code() == ExitCode::usage,
                "an error is one of the file or of what it asks for");
    }
}

}  // namespace isoflop::fuzz
