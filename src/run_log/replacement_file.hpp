// A file that gets its final name when it is complete; written in large pieces. Internal to the
// layer.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "isoflop/base/file.hpp"

namespace isoflop::run_log {

class ReplacementFile {
public:
    explicit ReplacementFile(std::filesystem::path path) : file_(std::move(path)) {}

    void append(std::string_view text) {
        buffer_ += text;
        if (buffer_.size() >= kBufferBytes) flush();
    }

    void commit(bool on_disk) {
        flush();
        file_.commit(on_disk);
        if (on_disk) synchronize_directory(file_.path().parent_path());
    }

private:
    static constexpr std::size_t kBufferBytes = 1 << 18;

    void flush() {
        file_.append(buffer_);
        buffer_.clear();
    }

    NewFile file_;
    std::string buffer_;
};

}  // namespace isoflop::run_log
