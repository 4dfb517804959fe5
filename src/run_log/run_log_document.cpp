#include "run_log_document.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <fstream>
#include <limits>
#include <system_error>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/config/json.hpp"
#include "run_log_json.hpp"

namespace isoflop::run_log {
namespace {

using nlohmann::ordered_json;
using Write = std::function<void(std::string_view)>;

constexpr std::int64_t kWarmUpIterations = 5;
/// How a line of an iteration starts; the document has the object without its type.
constexpr std::string_view kIterationStart = R"({"type":"iteration",)";

std::ifstream open_metrics(const std::filesystem::path& path) {
    (void)open_regular_file(path);  // refuses anything else, which reading might wait for
    std::ifstream file(path, std::ios::binary);
    if (!file) throw_system_error("read", path, errno);
    return file;
}

/// As std::getline, and reports whether the line has its line break.
bool next_line(std::ifstream& file, std::string& line, bool& complete) {
    if (!std::getline(file, line)) return false;
    complete = !file.eof();
    return true;
}

std::string type_of(const ordered_json& line) {
    return text_at(line, "type");
}

std::string without_type(const ordered_json& line) {
    ordered_json copy = line;
    copy.erase("type");
    return compact_text(copy);
}

ordered_json schema_notes() {
    return {
        {"gb", "fields that end in _gb are GiB (2^30 bytes)"},
        {"mfu",
         "null for the first five iterations; mfu and hfu are fractions, avg_mfu is in percent; "
         "model FLOPs are counted by flop_convention, in logs without it by palm"},
        {"iterations", "numbered from 0; loss is the mean over all tokens of the iteration"},
        {"time", "timestamps are local, ISO 8601; times of iterations in milliseconds"}};
}

/// "key": value, indented as a member of the outermost object.
std::string member(std::string_view key, const ordered_json& value) {
    const std::string text = value.dump(2, ' ', false, ordered_json::error_handler_t::replace);
    std::string result = fmt::format("  \"{}\": ", key);
    for (const char c : text) {
        result += c;
        if (c == '\n') result += "  ";
    }
    return result;
}

std::string list_member(std::string_view key, const std::vector<std::string>& items) {
    if (items.empty()) return fmt::format("  \"{}\": []", key);
    std::string result = fmt::format("  \"{}\": [", key);
    for (std::size_t i = 0; i < items.size(); ++i) {
        result += fmt::format("{}\n    {}", i == 0 ? "" : ",", items[i]);
    }
    return result + "\n  ]";
}

void write_iterations(const std::filesystem::path& metrics_path, std::uint64_t metrics_bytes,
                      const Write& write_text) {
    write_text("  \"training_iterations\": [");
    std::ifstream file = open_metrics(metrics_path);
    std::string line;
    bool complete = false;
    bool any = false;
    std::uint64_t used = 0;
    while (used < metrics_bytes && next_line(file, line, complete)) {
        used += line.size() + 1;
        if (!line.starts_with(kIterationStart)) continue;
        write_text(any ? ",\n    {" : "\n    {");
        write_text(std::string_view(line).substr(kIterationStart.size()));
        any = true;
    }
    write_text(any ? "\n  ]" : "]");
}

}  // namespace

std::uint64_t read_metrics(const std::filesystem::path& metrics_path,
                           const std::function<void(const MetricsLine&)>& use) {
    std::ifstream file = open_metrics(metrics_path);
    std::string line;
    bool complete = false;
    std::uint64_t used = 0;
    std::int64_t number = 0;
    std::int64_t damaged = 0;  // a line's number; an error only when another line follows
    while (next_line(file, line, complete)) {
        if (damaged != 0) {
            throw IoError(fmt::format("'{}' is damaged in line {}: not a record of a run log",
                                      metrics_path.string(), damaged));
        }
        if (!complete) break;
        ++number;
        const ordered_json json = config::try_parse_json(line).value_or(ordered_json());
        const std::string type = type_of(json);
        if (type.empty() || (type == line_type::kHeader) != (number == 1)) {
            damaged = number;
            continue;
        }
        try {
            use({line, json});
        } catch (const ordered_json::exception& error) {
            throw IoError(fmt::format("'{}' is damaged in line {}: {}", metrics_path.string(),
                                      number, error.what()));
        }
        used += line.size() + 1;
    }
    if (used == 0) {
        throw IoError(
            fmt::format("'{}' does not start with the header of a run log", metrics_path.string()));
    }
    return used;
}

void SummaryAccumulator::add_line(const ordered_json& line) {
    const std::string type = type_of(line);
    if (type == line_type::kIteration) {
        add_iteration(line);
    } else if (type == line_type::kEval) {
        add_evaluation(line);
    } else if (type == line_type::kCheckpoint) {
        ++counts_.total_checkpoints;
    }
}

void SummaryAccumulator::add_iteration(const ordered_json& record) {
    const double time_ms = number_at(record, "time_ms").value_or(0);
    (counts_.total_iterations < kWarmUpIterations ? warm_up_ms_ : later_ms_) += time_ms;
    ++counts_.total_iterations;
    counts_.final_iter = integer_at(record, "iter", counts_.final_iter);
    counts_.final_train_loss = number_at(record, "loss");
    if (record.value("skipped", false)) ++counts_.skipped_iterations;
    const auto mfu = record.find("mfu");
    if (mfu == record.end()) return;
    if (const auto percent = number_at(*mfu, "mfu_percent")) {
        // A run resumed with another convention: figures of both have no mean.
        std::string convention = convention_at(*mfu);
        if (convention != counts_.flop_convention) {
            mfu_percent_sum_ = 0;
            mfu_count_ = 0;
            counts_.flop_convention = std::move(convention);
        }
        mfu_percent_sum_ += *percent;
        ++mfu_count_;
    }
}

void SummaryAccumulator::add_evaluation(const ordered_json& record) {
    ++counts_.total_eval_steps;
    if (const auto loss = number_at(record, "val_loss")) {
        counts_.best_val_loss = std::min(*loss, counts_.best_val_loss.value_or(*loss));
    }
}

SummaryRecord SummaryAccumulator::summary() const {
    SummaryRecord summary = counts_;
    const std::int64_t later = counts_.total_iterations - kWarmUpIterations;
    if (later > 0) {
        summary.avg_time_ms = later_ms_ / static_cast<double>(later);
    } else if (counts_.total_iterations > 0) {
        summary.avg_time_ms = warm_up_ms_ / static_cast<double>(counts_.total_iterations);
    }
    if (mfu_count_ > 0) summary.avg_mfu = mfu_percent_sum_ / static_cast<double>(mfu_count_);
    return summary;
}

void RunDocument::add_line(const ordered_json& line) {
    const std::string type = type_of(line);
    if (type == line_type::kHeader) header_ = line;
    if (type == line_type::kEval) evaluations_.push_back(without_type(line));
    if (type == line_type::kCheckpoint) checkpoints_.push_back(without_type(line));
    if (type == line_type::kResume) resumes_.push_back(without_type(line));
    if (type == line_type::kEnd) end_ = line;
    summary_.add_line(line);
}

std::string RunDocument::run_name() const {
    return text_at(header_.value(), "run_name");
}

std::vector<EvalRecord> RunDocument::evaluations_at(std::int64_t iter) const {
    std::vector<EvalRecord> found;
    for (auto text = evaluations_.rbegin(); text != evaluations_.rend(); ++text) {
        const ordered_json json = config::parse_json(*text);
        if (integer_at(json, "iter", iter - 1) != iter) break;
        constexpr double kUnknown = std::numeric_limits<double>::quiet_NaN();
        EvalRecord record;
        record.iter = iter;
        record.train_loss = number_at(json, "train_loss").value_or(kUnknown);
        record.val_loss = number_at(json, "val_loss").value_or(kUnknown);
        found.push_back(record);
    }
    return found;
}

void RunDocument::write(const std::filesystem::path& metrics_path, std::uint64_t metrics_bytes,
                        const Write& write_text) const {
    const ordered_json& header = header_.value();
    write_text("{\n");
    for (const auto& [key, value] : header.items()) {
        if (key != "type" && key != "metadata") write_text(member(key, value) + ",\n");
    }
    write_text(member("schema", schema_notes()) + ",\n");
    write_iterations(metrics_path, metrics_bytes, write_text);
    write_text(",\n" + list_member("eval_steps", evaluations_));
    write_text(",\n" + list_member("checkpoints", checkpoints_));
    write_text(",\n" + list_member("resumes", resumes_));
    const ordered_json metadata = header.value("metadata", ordered_json::object());
    write_text(",\n" + member("metadata", metadata));
    write_text(",\n" + member("end_state", end_ ? text_at(*end_, "state") : "running"));
    write_text(",\n" +
               member("end_time", end_ ? end_->value("end_time", ordered_json()) : ordered_json()));
    write_text(",\n" + member("summary", summary_json(summary())));
    write_text("\n}\n");
}

std::filesystem::path json_path_of(const std::filesystem::path& run_dir,
                                   const RunDocument& document) {
    return run_dir / fmt::format("run_{}.json", document.run_name());
}

}  // namespace isoflop::run_log
