#include "isoflop/run_log/run_log.hpp"

#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <span>
#include <string_view>
#include <system_error>
#include <utility>

#include "checkpoint/file.hpp"
#include "isoflop/base/error.hpp"
#include "run_log_document.hpp"
#include "run_log_json.hpp"

namespace isoflop::run_log {
namespace {

using checkpoint::FileDescriptor;
using nlohmann::ordered_json;

constexpr std::string_view kMetricsName = "metrics.jsonl";
/// The document is rewritten when the run has grown by this share since the last time.
constexpr std::int64_t kGrowthDivisor = 10;

/// A file that gets its name when it is complete, written in large pieces.
class ReplacementFile {
public:
    explicit ReplacementFile(std::filesystem::path path)
        : path_(std::move(path)),
          file_(checkpoint::writing_name(path_), O_WRONLY | O_CREAT | O_TRUNC, "write") {}

    ~ReplacementFile() {
        std::error_code ignored;
        if (!committed_) std::filesystem::remove(checkpoint::writing_name(path_), ignored);
    }
    ReplacementFile(const ReplacementFile&) = delete;
    ReplacementFile& operator=(const ReplacementFile&) = delete;
    ReplacementFile(ReplacementFile&&) = delete;
    ReplacementFile& operator=(ReplacementFile&&) = delete;

    void append(std::string_view text) {
        buffer_ += text;
        if (buffer_.size() >= kBufferBytes) flush();
    }

    void commit(bool synchronize) {
        flush();
        if (synchronize) checkpoint::synchronize(file_, path_);
        file_.close(path_);
        checkpoint::rename_path(checkpoint::writing_name(path_), path_);
        committed_ = true;
        if (synchronize) checkpoint::synchronize_directory(path_.parent_path());
    }

private:
    static constexpr std::size_t kBufferBytes = 1 << 18;

    void flush() {
        checkpoint::write_all(file_, std::as_bytes(std::span(buffer_)), path_);
        buffer_.clear();
    }

    std::filesystem::path path_;
    FileDescriptor file_;
    std::string buffer_;
    bool committed_ = false;
};

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

struct RunLog::State {
    std::filesystem::path run_dir;
    RunLogOptions options;
    FileDescriptor metrics;
    std::uint64_t metrics_bytes = 0;
    std::int64_t iterations = 0;
    std::int64_t iterations_saved = 0;  ///< in the document as last written
    RunDocument document;

    [[nodiscard]] std::filesystem::path metrics_path() const { return run_dir / kMetricsName; }
    [[nodiscard]] std::filesystem::path json_path() const {
        return run_dir / fmt::format("run_{}.json", document.run_name());
    }

    /// One record, one line, one write(2).
    void append(const ordered_json& line) {
        const std::string text = compact_text(line) + "\n";
        checkpoint::write_all(metrics, std::as_bytes(std::span(text)), metrics_path());
        metrics_bytes += text.size();
        document.add_line(line);
    }

    void save_document(bool synchronize) {
        iterations_saved = iterations;
        if (!options.save_json) return;
        ReplacementFile file(json_path());
        document.write(metrics_path(), metrics_bytes,
                       [&](std::string_view text) { file.append(text); });
        file.commit(synchronize);
    }

    [[nodiscard]] bool save_is_due() const {
        const std::int64_t interval =
            std::max({std::int64_t{1}, options.log_save_interval, iterations / kGrowthDivisor});
        return iterations - iterations_saved >= interval;
    }
};

RunLog::RunLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunLog::~RunLog() = default;
RunLog::RunLog(RunLog&&) noexcept = default;
RunLog& RunLog::operator=(RunLog&&) noexcept = default;

RunLog RunLog::create(const std::filesystem::path& run_dir, const std::string& run_name,
                      const ordered_json& config, const ordered_json& metadata,
                      const StartupRecord& startup, RunLogOptions options) {
    auto state = std::make_unique<State>();
    state->run_dir = run_dir;
    state->options = options;
    if (std::filesystem::exists(state->metrics_path())) {
        throw ConfigError(fmt::format(
            "'{}' already holds the log of a run; choose another run_name, or go on with it by "
            "--init_from=resume --run_name={}",
            run_dir.string(), run_name));
    }
    checkpoint::make_directories(run_dir);
    state->metrics =
        FileDescriptor(state->metrics_path(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND, "write");
    StartupRecord start = startup;
    if (start.timestamp.empty()) start.timestamp = timestamp_now();
    state->append(header_json(run_name, config, metadata, start));
    state->save_document(false);
    return RunLog(std::move(state));
}

RunLog RunLog::resume(const std::filesystem::path& run_dir, std::int64_t from_iter,
                      RunLogOptions options) {
    auto state = std::make_unique<State>();
    state->run_dir = run_dir;
    state->options = options;
    ReplacementFile rewritten(state->metrics_path());
    const auto keep = [&](std::string_view text, const ordered_json& json) {
        rewritten.append(text);
        rewritten.append("\n");
        state->metrics_bytes += text.size() + 1;
        state->document.add_line(json);
    };
    read_metrics(state->metrics_path(), [&](const MetricsLine& line) {
        if (is_kept(line.json, from_iter, options.keep_boundary)) keep(line.text, line.json);
    });
    const ordered_json resumed = {
        {"type", line_type::kResume}, {"iter", from_iter}, {"timestamp", timestamp_now()}};
    keep(compact_text(resumed), resumed);
    rewritten.commit(true);
    state->metrics = FileDescriptor(state->metrics_path(), O_WRONLY | O_APPEND, "write");
    state->iterations = state->document.summary().total_iterations;
    state->save_document(false);
    return RunLog(std::move(state));
}

void RunLog::add(const IterationRecord& record) {
    state_->append(iteration_json(record));
    ++state_->iterations;
    if (state_->save_is_due()) state_->save_document(false);
}

void RunLog::add(const EvalRecord& record) {
    EvalRecord timed = record;
    if (timed.timestamp.empty()) timed.timestamp = timestamp_now();
    state_->append(eval_json(timed));
}

void RunLog::add(const CheckpointRecord& record) {
    CheckpointRecord timed = record;
    if (timed.timestamp.empty()) timed.timestamp = timestamp_now();
    state_->append(checkpoint_json(timed));
}

SummaryRecord RunLog::finish(EndState state) {
    const SummaryRecord result = summary();
    state_->append({{"type", line_type::kEnd},
                    {"state", to_string(state)},
                    {"end_time", timestamp_now()},
                    {"summary", summary_json(result)}});
    checkpoint::synchronize(state_->metrics, state_->metrics_path());
    state_->save_document(true);
    return result;
}

SummaryRecord RunLog::summary() const {
    return state_->document.summary();
}

std::filesystem::path RunLog::metrics_path() const {
    return state_->metrics_path();
}

std::filesystem::path RunLog::json_path() const {
    return state_->json_path();
}

std::string derive_run_json(const std::filesystem::path& metrics_path) {
    RunDocument document;
    const std::uint64_t used =
        read_metrics(metrics_path, [&](const MetricsLine& line) { document.add_line(line.json); });
    std::string text;
    document.write(metrics_path, used, [&](std::string_view piece) { text += piece; });
    return text;
}

std::string timestamp_now() {
    const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    std::tm local{};
    ::localtime_r(&now, &local);
    std::array<char, 40> text{};
    const std::size_t length =
        std::strftime(text.data(), text.size(), "%Y-%m-%dT%H:%M:%S%z", &local);
    std::string result(text.data(), length);
    // strftime writes +0100; ISO 8601's extended form, which Python reads, is +01:00.
    result.insert(result.size() - 2, ":");
    return result;
}

}  // namespace isoflop::run_log
