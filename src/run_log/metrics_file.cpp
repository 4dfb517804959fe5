#include "metrics_file.hpp"

#include <fmt/format.h>

#include <span>
#include <string_view>

#include "isoflop/base/error.hpp"
#include "replacement_file.hpp"
#include "run_log_json.hpp"

namespace isoflop::run_log {
namespace {

using nlohmann::ordered_json;

bool is_kept(const ordered_json& line, std::int64_t from_iter, bool keep_boundary) {
    const std::string type = text_at(line, "type");
    if (type == line_type::kHeader) return true;
    if (type == line_type::kEnd) return false;
    const std::int64_t iter = integer_at(line, "iter", from_iter);
    const bool at_boundary = iter == from_iter && keep_boundary &&
                             (type == line_type::kEval || type == line_type::kCheckpoint);
    return iter < from_iter || at_boundary;
}

}  // namespace

std::filesystem::path metrics_path_of(const std::filesystem::path& run_dir) {
    return run_dir / "metrics.jsonl";
}

void append_line(const FileDescriptor& metrics, const ordered_json& line,
                 const std::filesystem::path& path) {
    const std::string text = compact_text(line) + "\n";
    write_all(metrics, std::as_bytes(std::span(text)), path);
}

RunDocument begin_metrics(const std::filesystem::path& run_dir, const ordered_json& header) {
    const std::filesystem::path path = metrics_path_of(run_dir);
    if (std::filesystem::exists(path)) {
        throw ConfigError(fmt::format(
            "'{}' already holds the log of a run; choose another run_name, or go on with it by "
            "--init_from=resume --run_name={}",
            run_dir.string(), text_at(header, "run_name")));
    }
    make_directories(run_dir);
    const FileDescriptor file = create_log(path);
    append_line(file, header, path);
    RunDocument document;
    document.add_line(header);
    return document;
}

RunDocument continue_metrics(const std::filesystem::path& run_dir, std::int64_t from_iter,
                             const RunLogOptions& options) {
    const std::filesystem::path path = metrics_path_of(run_dir);
    RunDocument document;
    ReplacementFile rewritten(path);
    const auto keep = [&](std::string_view text, const ordered_json& json) {
        rewritten.append(text);
        rewritten.append("\n");
        document.add_line(json);
    };
    read_metrics(path, [&](const MetricsLine& line) {
        if (is_kept(line.json, from_iter, options.keep_boundary)) keep(line.text, line.json);
    });
    ordered_json resumed = {
        {"type", line_type::kResume}, {"iter", from_iter}, {"timestamp", timestamp_now()}};
    for (const RunLogOptions::Change& change : options.changes)
        resumed["changes"][change.key] = {{"before", change.before}, {"now", change.now}};
    if (!options.notes.empty()) resumed["notes"] = options.notes;
    keep(compact_text(resumed), resumed);
    rewritten.commit(true);
    return document;
}

}  // namespace isoflop::run_log
