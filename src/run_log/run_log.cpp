#include "isoflop/run_log/run_log.hpp"

#include <fmt/format.h>

#include <array>
#include <chrono>
#include <ctime>
#include <nlohmann/json.hpp>
#include <string_view>
#include <utility>

#include "metrics_file.hpp"
#include "run_log_document.hpp"
#include "run_log_json.hpp"
#include "sink.hpp"

namespace isoflop::run_log {

using nlohmann::ordered_json;

struct RunLog::State {
    State(std::filesystem::path folder, RunLogOptions given, RunDocument logged)
        : run_dir(std::move(folder)), options(std::move(given)), document(std::move(logged)) {}

    std::filesystem::path run_dir;
    RunLogOptions options;
    RunDocument document;
    std::vector<std::unique_ptr<Sink>> sinks;

    void open(std::optional<std::int64_t> resumed_at) {
        sinks = open_sinks({run_dir, options, document, resumed_at});
    }
};

RunLog::RunLog() = default;
RunLog::RunLog(std::unique_ptr<State> state) : state_(std::move(state)) {}
RunLog::~RunLog() = default;
RunLog::RunLog(RunLog&&) noexcept = default;
RunLog& RunLog::operator=(RunLog&&) noexcept = default;

RunLog RunLog::create(const std::filesystem::path& run_dir, const std::string& run_name,
                      const ordered_json& config, const ordered_json& metadata,
                      const StartupRecord& startup, RunLogOptions options) {
    StartupRecord start = startup;
    if (start.timestamp.empty()) start.timestamp = timestamp_now();
    auto state = std::make_unique<State>(
        run_dir, std::move(options),
        begin_metrics(run_dir, header_json(run_name, config, metadata, start)));
    state->open(std::nullopt);
    return RunLog(std::move(state));
}

RunLog RunLog::resume(const std::filesystem::path& run_dir, std::int64_t from_iter,
                      RunLogOptions options) {
    RunDocument document = continue_metrics(run_dir, from_iter, options);
    auto state = std::make_unique<State>(run_dir, std::move(options), std::move(document));
    state->open(from_iter);
    return RunLog(std::move(state));
}

void RunLog::add(const IterationRecord& record) {
    if (!state_) return;
    state_->document.add_line(iteration_json(record));
    for (const auto& sink : state_->sinks) sink->iteration(record);
}

void RunLog::add(const EvalRecord& record) {
    if (!state_) return;
    EvalRecord timed = record;
    if (timed.timestamp.empty()) timed.timestamp = timestamp_now();
    state_->document.add_line(eval_json(timed));
    for (const auto& sink : state_->sinks) sink->evaluation(timed);
}

void RunLog::add(const CheckpointRecord& record) {
    if (!state_) return;
    CheckpointRecord timed = record;
    if (timed.timestamp.empty()) timed.timestamp = timestamp_now();
    state_->document.add_line(checkpoint_json(timed));
    for (const auto& sink : state_->sinks) sink->checkpoint(timed);
}

void RunLog::line(std::string_view text) {
    if (!state_) return;
    for (const auto& sink : state_->sinks) sink->line(text);
}

SummaryRecord RunLog::finish(EndState end_state) {
    if (!state_) return {};
    const EndRecord record{end_state, timestamp_now(), summary()};
    state_->document.add_line(end_json(record));
    for (const auto& sink : state_->sinks) sink->end(record);
    return record.summary;
}

SummaryRecord RunLog::summary() const {
    return state_ ? state_->document.summary() : SummaryRecord{};
}

std::filesystem::path RunLog::metrics_path() const {
    return state_ ? metrics_path_of(state_->run_dir) : std::filesystem::path();
}

std::filesystem::path RunLog::json_path() const {
    return state_ ? json_path_of(state_->run_dir, state_->document) : std::filesystem::path();
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
