#include "compare_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <istream>
#include <nlohmann/json.hpp>
#include <streambuf>
#include <system_error>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/config/json.hpp"
#include "run_log_document.hpp"
#include "run_log_json.hpp"

namespace isoflop::run_log {
namespace {

using nlohmann::ordered_json;

constexpr std::string_view kMetricsName = "metrics.jsonl";
constexpr const char* kIterations = "training_iterations";
constexpr const char* kEvaluations = "eval_steps";

struct PresetChoices {
    std::string_view preset;
    std::string_view normalization;
    std::string_view position_encoding;
    std::string_view ffn_type;
};

/// The choices of a preset that the log does not record.
constexpr std::array<PresetChoices, 5> kPresets{
    {{"gpt2", "layernorm_nobias", "learned_absolute", "standard"},
     {"llama", "rmsnorm", "rope", "swiglu"},
     {"team", "rmsnorm", "rope", "swiglu"},
     {"qwen3", "rmsnorm", "rope", "swiglu"},
     {"hybrid", "layernorm_nobias", "rope", "standard"}}};

/// `preset(norm/pos/ffn)`. The earlier system built the preset and logged the defaults of the
/// single choices, so for its logs the preset takes precedence.
std::string architecture_text(const ordered_json& config, bool of_earlier_system) {
    const std::string preset = text_at(config, "arch_preset");
    const auto* const known =
        std::find_if(kPresets.begin(), kPresets.end(),
                     [&](const auto& entry) { return entry.preset == preset; });
    const auto choice = [&](const char* key, std::string_view PresetChoices::*of_preset) {
        const std::string logged = text_at(config, key);
        if (known != kPresets.end() && (logged.empty() || of_earlier_system)) {
            return std::string((*known).*of_preset);
        }
        return logged.empty() ? std::string("-") : logged;
    };
    if (preset.empty() && text_at(config, "normalization").empty()) return {};
    return fmt::format("{}({}/{}/{})", preset.empty() ? "-" : preset,
                       choice("normalization", &PresetChoices::normalization),
                       choice("position_encoding", &PresetChoices::position_encoding),
                       choice("ffn_type", &PresetChoices::ffn_type));
}

/// Gathers the figures of one run from its records.
class FigureReader {
public:
    void start(const ordered_json& header) {
        const ordered_json config = header.value("config", ordered_json::object());
        run_.name = text_at(header, "run_name");
        run_.preset = text_at(config, "arch_preset");
        run_.architecture = architecture_text(config, !header.contains("version"));
        run_.requested_backend = text_at(header, "requested_backend");
        if (run_.requested_backend.empty()) {
            run_.requested_backend = text_at(config, "attention_backend");
        }
        run_.used_backend = text_at(header, "used_backend");
        run_.end_state = "running";
    }
    void iteration(const ordered_json& record) {
        sums_.add_iteration(record);
        const auto memory = record.find("memory");
        if (memory == record.end()) return;
        if (const auto peak = number_at(*memory, "max_allocated_gb")) {
            run_.memory_gb = std::max(*peak, run_.memory_gb.value_or(*peak));
        }
    }
    void evaluation(const ordered_json& record) { sums_.add_evaluation(record); }
    void end(std::string_view state) { run_.end_state = state; }

    /// `logged`: the summary of a document, for figures that its records lack.
    [[nodiscard]] ComparedRun finish(const ordered_json& logged = {}) const {
        const SummaryRecord summary = sums_.summary();
        ComparedRun run = run_;
        run.iterations = summary.total_iterations;
        run.val_loss =
            summary.best_val_loss ? summary.best_val_loss : number_at(logged, "best_val_loss");
        run.mfu_percent = summary.avg_mfu;
        run.flop_convention = summary.flop_convention;
        if (summary.total_iterations > 0) {
            run.time_ms = summary.avg_time_ms;
        } else {
            run.iterations = integer_at(logged, "total_iterations", 0);
            run.time_ms = number_at(logged, "avg_time_ms");
            run.mfu_percent = number_at(logged, "avg_mfu");
            if (run.mfu_percent) run.flop_convention = convention_at(logged);
        }
        return run;
    }

private:
    ComparedRun run_;
    SummaryAccumulator sums_;
};

ComparedRun read_metrics_run(const std::filesystem::path& log) {
    FigureReader reader;
    read_metrics(log, [&](const MetricsLine& line) {
        const std::string type = text_at(line.json, "type");
        if (type == line_type::kHeader) reader.start(line.json);
        if (type == line_type::kIteration) reader.iteration(line.json);
        if (type == line_type::kEval) reader.evaluation(line.json);
        if (type == line_type::kEnd) reader.end(text_at(line.json, "state"));
    });
    return reader.finish();
}

/// The characters of a file. Python writes NaN, Infinity and -Infinity, which are not JSON; they
/// become null. The file is read in pieces.
class JsonCharacters : public std::streambuf {
public:
    explicit JsonCharacters(const std::filesystem::path& path) : file_(path) {}

protected:
    int_type underflow() override {
        if (gptr() == egptr()) refill();
        return gptr() == egptr() ? traits_type::eof() : traits_type::to_int_type(*gptr());
    }

private:
    static constexpr std::size_t kPiece = 1U << 16U;
    static constexpr std::array<std::string_view, 3> kNames{"-Infinity", "Infinity", "NaN"};

    void refill() {
        while (converted_.empty() || gptr() == egptr()) {
            std::string piece(std::min<std::uint64_t>(kPiece, file_.size() - read_), '\0');
            file_.read(read_, std::as_writable_bytes(std::span(piece)));
            read_ += piece.size();
            const bool last = piece.empty();
            pending_ += piece;
            convert(last);
            setg(converted_.data(), converted_.data(), converted_.data() + converted_.size());
            if (last) return;
        }
    }

    /// Keeps back what may be the beginning of a name.
    void convert(bool last) {
        converted_.clear();
        std::size_t at = 0;
        const std::size_t end =
            last ? pending_.size() : pending_.size() - std::min(pending_.size(), kNames[0].size());
        while (at < end) at += convert_one(std::string_view(pending_).substr(at));
        pending_.erase(0, at);
    }

    /// Appends the first character or name; returns its length.
    std::size_t convert_one(std::string_view text) {
        if (quoted_ && text[0] == '\\' && text.size() > 1) {
            converted_ += text.substr(0, 2);
            return 2;
        }
        if (text[0] == '"') quoted_ = !quoted_;
        const auto* const name = std::find_if(
            kNames.begin(), kNames.end(),
            [&](std::string_view candidate) { return !quoted_ && text.starts_with(candidate); });
        if (name != kNames.end()) {
            converted_ += "null";
            return name->size();
        }
        converted_ += text[0];
        return 1;
    }

    RandomAccessFile file_;
    std::uint64_t read_ = 0;
    std::string pending_;
    std::string converted_;
    bool quoted_ = false;
};

/// The document without its lists of records, of which each is used and dropped: memory does not
/// grow with the run.
ordered_json read_document(
    const std::filesystem::path& log,
    const std::function<void(std::string_view list, const ordered_json& record)>& use) {
    JsonCharacters characters(log);
    std::istream stream(&characters);
    try {
        return config::parse_json_stream(stream,
                                         [&](std::string_view list, const ordered_json& item) {
                                             if (list != kIterations && list != kEvaluations)
                                                 return false;
                                             use(list, item);
                                             return true;
                                         });
    } catch (const config::JsonFault& fault) {
        throw IoError(
            fmt::format("'{}' is not JSON, or is cut short: {}", log.string(), fault.what()));
    }
}

ComparedRun read_document_run(const std::filesystem::path& log) {
    FigureReader reader;
    const ordered_json document =
        read_document(log, [&](std::string_view list, const ordered_json& record) {
            if (list == kIterations) {
                reader.iteration(record);
            } else {
                reader.evaluation(record);
            }
        });
    if (!document.is_object() || !document.contains(kIterations)) {
        throw IoError(fmt::format("'{}' is not the log of a run: it has no training_iterations",
                                  log.string()));
    }
    for (const char* list : {kIterations, kEvaluations}) {  // records are gone from it
        const ordered_json rest = document.value(list, ordered_json::array());
        if (rest.is_array() && rest.empty()) continue;
        throw IoError(fmt::format("'{}' is not the log of a run: '{}' is no list of records",
                                  log.string(), list));
    }
    reader.start(document);
    const std::string state = text_at(document, "end_state");
    if (!state.empty()) {
        reader.end(state);
    } else if (document.contains("end_time")) {
        reader.end("finished");
    }
    return reader.finish(document.value("summary", ordered_json()));
}

bool is_run_document(const std::filesystem::path& path) {
    return path.filename().string().starts_with("run_") && path.extension() == ".json";
}

std::vector<std::filesystem::path> logs_directly_in(const std::filesystem::path& folder) {
    if (std::filesystem::exists(folder / kMetricsName)) return {folder / kMetricsName};
    std::vector<std::filesystem::path> logs;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (is_run_document(entry.path())) logs.push_back(entry.path());
    }
    std::sort(logs.begin(), logs.end());
    return logs;
}

}  // namespace

std::vector<std::filesystem::path> find_logs(const std::filesystem::path& path) {
    std::error_code error;
    if (!std::filesystem::is_directory(path, error)) return {path};
    std::vector<std::filesystem::path> logs = logs_directly_in(path);
    if (!logs.empty()) return logs;
    for (const auto& entry : std::filesystem::directory_iterator(path)) {
        if (!entry.is_directory() || entry.is_symlink()) continue;
        for (auto& log : logs_directly_in(entry.path())) logs.push_back(std::move(log));
    }
    std::sort(logs.begin(), logs.end());
    return logs;
}

ComparedRun read_compared_run(const std::filesystem::path& log) {
    try {
        ComparedRun run =
            log.extension() == ".jsonl" ? read_metrics_run(log) : read_document_run(log);
        run.path = log;
        return run;
    } catch (const nlohmann::json::exception& error) {
        throw IoError(fmt::format("'{}' is not the log of a run: {}", log.string(), error.what()));
    }
}

}  // namespace isoflop::run_log
