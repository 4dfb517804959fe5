// The text that prepare-data reads: files, their order, their pieces and the progress.
#pragma once

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "data/file_io.hpp"
#include "isoflop/data/prepare.hpp"

namespace isoflop::data {

/// One document. A stream (standard input, a pipe) has a descriptor, can be read once, and its size
/// is not known.
struct InputDocument {
    std::filesystem::path path{};
    std::string name{};  ///< for messages and meta.json
    std::uint64_t bytes = 0;
    int stream = -1;
};

struct TextInput {
    std::vector<InputDocument> documents;
    FileDescriptor pipe;  ///< kept open for a document that is a named pipe
    std::uint64_t skipped_links = 0;
    std::uint64_t skipped_empty = 0;

    [[nodiscard]] bool is_stream() const {
        return documents.size() == 1 && documents.front().stream >= 0;
    }
    [[nodiscard]] std::optional<std::uint64_t> total_bytes() const;
};

/// Throws IoError when the input is missing, unreadable, empty, or a folder without files.
[[nodiscard]] TextInput find_text(const PrepareOptions& options);

/// Reports progress at most ten times per second, and ends the run on request.
class ProgressMeter {
public:
    ProgressMeter(const PrepareOptions& options, std::string_view stage,
                  std::optional<std::uint64_t> bytes_total);
    /// Throws Error when the stop token of the options is set.
    void advance(std::uint64_t bytes, std::uint64_t tokens = 0);
    void finish();
    [[nodiscard]] std::uint64_t bytes_done() const { return bytes_done_; }

private:
    using Clock = std::chrono::steady_clock;
    void report(Clock::time_point now, bool finished) const;

    const PrepareOptions& options_;
    std::string_view stage_;
    std::optional<std::uint64_t> bytes_total_;
    std::uint64_t bytes_done_ = 0;
    std::uint64_t tokens_ = 0;
    Clock::time_point start_ = Clock::now();
    Clock::time_point last_report_;
};

/// Calls `take` with one piece of the document after the other (up to 64 KiB each).
void read_document(const InputDocument& document,
                   const std::function<void(std::string_view)>& take);

}  // namespace isoflop::data
