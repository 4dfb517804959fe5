#include "data/text_input.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "isoflop/base/error.hpp"
#include "isoflop/base/stop.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;

namespace {

/// Regular files below a folder, sorted by path, so that every machine sees the same order.
TextInput walk_folder(const fs::path& folder) {
    TextInput input;
    std::error_code error;
    fs::recursive_directory_iterator entry(folder, error);
    for (; !error && entry != fs::recursive_directory_iterator(); entry.increment(error)) {
        if (entry->is_symlink()) {
            ++input.skipped_links;
            continue;
        }
        if (!entry->is_regular_file()) continue;
        const std::uint64_t bytes = entry->file_size();
        if (bytes == 0) {
            ++input.skipped_empty;
            continue;
        }
        input.documents.push_back(
            {.path = entry->path(), .name = entry->path().string(), .bytes = bytes});
    }
    if (error) fail(folder, fmt::format("cannot be read: {}", error.message()));
    if (input.documents.empty()) {
        fail(folder,
             fmt::format("no text in this folder ({} links and {} empty files are left out)",
                         input.skipped_links, input.skipped_empty));
    }
    std::sort(input.documents.begin(), input.documents.end(),
              [](const InputDocument& left, const InputDocument& right) {
                  return left.name < right.name;
              });
    return input;
}

}  // namespace

std::optional<std::uint64_t> TextInput::total_bytes() const {
    if (is_stream()) return std::nullopt;
    std::uint64_t result = 0;
    for (const InputDocument& document : documents) result += document.bytes;
    return result;
}

TextInput find_text(const PrepareOptions& options) {
    TextInput input;
    if (options.input == "-") {
        input.documents.push_back(
            {.path = "standard input", .name = "standard input", .stream = options.standard_input});
        return input;
    }
    const fs::path path = options.input;
    std::error_code error;
    const fs::file_status status = fs::status(path, error);
    if (status.type() == fs::file_type::directory) return walk_folder(path);

    FileDescriptor file = open_for_reading(path);
    if (status.type() == fs::file_type::regular) {
        const std::uint64_t bytes = fs::file_size(path);
        if (bytes == 0) fail(path, "the file is empty");
        input.documents.push_back({.path = path, .name = path.string(), .bytes = bytes});
    } else {
        input.documents.push_back({.path = path, .name = path.string(), .stream = file.get()});
        input.pipe = std::move(file);
    }
    return input;
}

ProgressMeter::ProgressMeter(const PrepareOptions& options, std::string_view stage,
                             std::optional<std::uint64_t> bytes_total)
    : options_(options), stage_(stage), bytes_total_(bytes_total), last_report_(start_) {}

void ProgressMeter::advance(std::uint64_t bytes, std::uint64_t tokens) {
    constexpr auto kInterval = std::chrono::milliseconds(100);
    bytes_done_ += bytes;
    tokens_ += tokens;
    if (options_.stop.stop_requested() || stop_requested()) throw Stopped("reading text");
    if (!options_.progress) return;
    const Clock::time_point now = Clock::now();
    if (now - last_report_ < kInterval) return;
    last_report_ = now;
    report(now, false);
}

void ProgressMeter::finish() {
    if (options_.progress) report(Clock::now(), true);
}

void ProgressMeter::report(Clock::time_point now, bool finished) const {
    const double seconds = std::chrono::duration<double>(now - start_).count();
    PrepareProgress progress{.stage = stage_,
                             .bytes_done = bytes_done_,
                             .bytes_total = bytes_total_,
                             .tokens = tokens_,
                             .finished = finished};
    if (seconds > 0) progress.bytes_per_second = static_cast<double>(bytes_done_) / seconds;
    if (bytes_total_ && progress.bytes_per_second > 0) {
        const std::uint64_t bytes_left =
            *bytes_total_ > bytes_done_ ? *bytes_total_ - bytes_done_ : 0;
        progress.seconds_left = static_cast<double>(bytes_left) / progress.bytes_per_second;
    }
    options_.progress(progress);
}

void read_document(const InputDocument& document,
                   const std::function<void(std::string_view)>& take) {
    FileDescriptor file;
    int descriptor = document.stream;
    if (descriptor < 0) {
        file = open_for_reading(document.path);
        descriptor = file.get();
        ::posix_fadvise(descriptor, 0, 0,
                        POSIX_FADV_SEQUENTIAL);  // a hint; its failure is ignored
    }
    std::vector<char> buffer(1U << 16U);
    while (const std::size_t count = read_some_or_stop(descriptor, buffer, document.path)) {
        take(std::string_view(buffer.data(), count));
    }
}

}  // namespace isoflop::data
