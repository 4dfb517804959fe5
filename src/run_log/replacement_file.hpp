// A file that gets its final name when it is complete; written in large pieces. Internal to the
// layer.
#pragma once

#include <fcntl.h>

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "isoflop/base/file.hpp"

namespace isoflop::run_log {

class ReplacementFile {
public:
    explicit ReplacementFile(std::filesystem::path path)
        : path_(std::move(path)),
          file_(open_file(writing_name(path_), O_WRONLY | O_CREAT | O_TRUNC, "write")) {}

    ~ReplacementFile() {
        std::error_code ignored;
        if (!committed_) std::filesystem::remove(writing_name(path_), ignored);
    }
    ReplacementFile(const ReplacementFile&) = delete;
    ReplacementFile& operator=(const ReplacementFile&) = delete;
    ReplacementFile(ReplacementFile&&) = delete;
    ReplacementFile& operator=(ReplacementFile&&) = delete;

    void append(std::string_view text) {
        buffer_ += text;
        if (buffer_.size() >= kBufferBytes) flush();
    }

    void commit(bool on_disk) {
        flush();
        if (on_disk) synchronize(file_, path_);
        close_file(file_, path_);
        rename_path(writing_name(path_), path_);
        committed_ = true;
        if (on_disk) synchronize_directory(path_.parent_path());
    }

private:
    static constexpr std::size_t kBufferBytes = 1 << 18;

    void flush() {
        write_all(file_, std::as_bytes(std::span(buffer_)), path_);
        buffer_.clear();
    }

    std::filesystem::path path_;
    FileDescriptor file_;
    std::string buffer_;
    bool committed_ = false;
};

}  // namespace isoflop::run_log
