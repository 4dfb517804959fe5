#include "isoflop/run_log/compare.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <system_error>
#include <tuple>
#include <utility>

#include "compare_reader.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/printable.hpp"

namespace isoflop::run_log {
namespace {

using nlohmann::ordered_json;

std::string text_or_dash(const std::string& text) {
    return text.empty() ? "-" : text;
}

std::string number_or_dash(const std::optional<double>& value, int decimals) {
    return value ? fmt::format("{:.{}f}", *value, decimals) : "-";
}

std::string time_or_dash(const std::optional<double>& time_ms) {
    return time_ms ? fmt::format("{:.1f} ms", *time_ms) : "-";
}

std::string memory_or_dash(const std::optional<double>& memory_gb) {
    return memory_gb ? fmt::format("{:.2f} GiB", *memory_gb) : "-";
}

bool ranks_before(const ComparedRun& a, const ComparedRun& b) {
    constexpr double kLast = std::numeric_limits<double>::infinity();
    const double loss_a = a.val_loss.value_or(kLast);
    const double loss_b = b.val_loss.value_or(kLast);
    return std::tie(loss_a, a.name) < std::tie(loss_b, b.name);
}

/// Mean of the runs that have the figure.
template <class Member>
std::optional<double> mean_of(const std::vector<const ComparedRun*>& runs, Member member) {
    double sum = 0;
    std::int64_t count = 0;
    for (const ComparedRun* run : runs) {
        if (const std::optional<double>& value = run->*member) {
            sum += *value;
            ++count;
        }
    }
    return count > 0 ? std::optional(sum / static_cast<double>(count)) : std::nullopt;
}

/// The conventions by which runs count the FLOPs of their MFU, in the order of the ranking, each
/// with the names of its runs.
std::vector<std::pair<std::string, std::string>> conventions_of(
    const std::vector<const ComparedRun*>& runs) {
    std::vector<std::pair<std::string, std::string>> conventions;
    for (const ComparedRun* run : runs) {
        if (!run->mfu_percent) continue;
        const auto found =
            std::find_if(conventions.begin(), conventions.end(),
                         [&](const auto& entry) { return entry.first == run->flop_convention; });
        if (found == conventions.end())
            conventions.emplace_back(run->flop_convention, text_or_dash(run->name));
        else
            found->second += ", " + text_or_dash(run->name);
    }
    return conventions;
}

/// In the order in which presets appear in the ranking.
std::vector<PresetAverage> preset_averages(const std::vector<ComparedRun>& runs) {
    std::vector<std::string> presets;
    for (const ComparedRun& run : runs) {
        const std::string preset = text_or_dash(run.preset);
        if (std::find(presets.begin(), presets.end(), preset) == presets.end()) {
            presets.push_back(preset);
        }
    }
    std::vector<PresetAverage> averages;
    for (const std::string& preset : presets) {
        std::vector<const ComparedRun*> members;
        for (const ComparedRun& run : runs) {
            if (text_or_dash(run.preset) == preset) members.push_back(&run);
        }
        averages.push_back({.preset = preset,
                            .runs = static_cast<std::int64_t>(members.size()),
                            .val_loss = mean_of(members, &ComparedRun::val_loss),
                            .mfu_percent = conventions_of(members).size() <= 1
                                               ? mean_of(members, &ComparedRun::mfu_percent)
                                               : std::nullopt,
                            .time_ms = mean_of(members, &ComparedRun::time_ms)});
    }
    return averages;
}

std::optional<double> improvement_percent(const std::vector<ComparedRun>& ranked) {
    const auto evaluated = std::count_if(ranked.begin(), ranked.end(),
                                         [](const auto& run) { return run.val_loss.has_value(); });
    if (evaluated < 2) return std::nullopt;
    const double best = *ranked.front().val_loss;
    const double worst = *ranked[static_cast<std::size_t>(evaluated) - 1].val_loss;
    if (worst == 0) return std::nullopt;
    return (worst - best) / worst * 100;
}

std::string run_table(const std::vector<ComparedRun>& runs, text::Colour colour,
                      std::size_t width) {
    using text::Align;
    text::Table table({{"Rank"},
                       {"Run", Align::left},
                       {"Architecture", Align::left},
                       {"Backend", Align::left},
                       {"Val loss"},
                       {"MFU %"},
                       {"Time/iter"},
                       {"Memory"}});
    for (std::size_t i = 0; i < runs.size(); ++i) {
        const ComparedRun& run = runs[i];
        table.row({run.val_loss ? fmt::format("{}", i + 1) : "-", text_or_dash(run.name),
                   text_or_dash(run.architecture), text_or_dash(run.used_backend),
                   number_or_dash(run.val_loss, 4), number_or_dash(run.mfu_percent, 2),
                   time_or_dash(run.time_ms), memory_or_dash(run.memory_gb)});
    }
    return table.str("", colour, width);
}

std::string preset_table(const std::vector<PresetAverage>& presets, text::Colour colour) {
    text::Table table(
        {{"Preset", text::Align::left}, {"Runs"}, {"Val loss"}, {"MFU %"}, {"Time/iter"}});
    for (const PresetAverage& average : presets) {
        table.row({average.preset, fmt::format("{}", average.runs),
                   number_or_dash(average.val_loss, 4), number_or_dash(average.mfu_percent, 2),
                   time_or_dash(average.time_ms)});
    }
    return table.str("", colour);
}

/// How the column of the MFU counts FLOPs.
std::string convention_note(const std::vector<ComparedRun>& runs) {
    std::vector<const ComparedRun*> all;
    all.reserve(runs.size());
    for (const ComparedRun& run : runs) all.push_back(&run);
    const auto conventions = conventions_of(all);
    if (conventions.empty()) return {};
    if (conventions.size() == 1)
        return printable_lines(
            fmt::format("MFU counts model FLOPs by {}.\n", conventions.front().first));
    std::string note = "Note: MFU cannot be compared between conventions:";
    for (const auto& [convention, names] : conventions)
        note += fmt::format("\n  {}: {}", convention, names);
    return printable_lines(note) + "\n";
}

/// One line for each run that did not finish.
std::string state_notes(const std::vector<ComparedRun>& runs) {
    std::string notes;
    for (const ComparedRun& run : runs) {
        if (run.end_state == "finished") continue;
        const std::string state = run.end_state == "running"
                                      ? "has no end: it still runs, or was killed"
                                      : fmt::format("has ended as {}", run.end_state);
        notes += printable_lines(fmt::format("Note: {} {} ({} iterations logged)\n",
                                             text_or_dash(run.name), state, run.iterations));
    }
    return notes;
}

void keep_latest(std::vector<std::filesystem::path>& logs, std::size_t latest) {
    std::vector<std::pair<std::filesystem::file_time_type, std::filesystem::path>> by_time;
    for (const std::filesystem::path& log : logs) {
        std::error_code missing;  // reading the log reports it
        by_time.emplace_back(std::filesystem::last_write_time(log, missing), log);
    }
    std::sort(by_time.rbegin(), by_time.rend());
    logs.clear();
    for (std::size_t i = 0; i < latest; ++i) logs.push_back(by_time[i].second);
}

ordered_json json_of(const std::optional<double>& value) {
    return value ? ordered_json(*value) : ordered_json(nullptr);
}

ordered_json json_of(const std::string& text) {
    return text.empty() ? ordered_json(nullptr) : ordered_json(text);
}

/// Whether a file is named as logs are: run_*.json, *.jsonl.
bool is_named_as_log(const std::filesystem::path& path) {
    return path.extension() == ".jsonl" ||
           (path.extension() == ".json" && path.filename().string().starts_with("run_"));
}

bool is_log(const std::filesystem::path& path) {
    try {
        (void)read_compared_run(path);
        return true;
    } catch (const Error&) {
        return false;
    }
}

/// Logs of all paths; those that have none are `skipped`, unless no path has one.
std::vector<std::filesystem::path> logs_of(std::span<const std::filesystem::path> paths,
                                           std::vector<std::string>& skipped) {
    std::vector<std::filesystem::path> logs;
    for (const std::filesystem::path& path : paths) {
        std::error_code error;
        const bool is_other = paths.size() > 1 && std::filesystem::is_regular_file(path, error) &&
                              !is_named_as_log(path) && !is_log(path);
        const std::vector<std::filesystem::path> found =
            is_other ? std::vector<std::filesystem::path>() : find_logs(path);
        if (found.empty()) skipped.push_back(path.string());
        logs.insert(logs.end(), found.begin(), found.end());
    }
    if (!logs.empty()) return logs;
    throw IoError(fmt::format("'{}' holds no run: neither metrics.jsonl nor run_*.json",
                              skipped.empty() ? std::string() : skipped.front()));
}

}  // namespace

Comparison compare_runs(std::span<const std::filesystem::path> paths, std::size_t latest) {
    if (paths.empty()) throw ConfigError("compare needs run folders or run_*.json files");
    Comparison comparison;
    std::vector<std::filesystem::path> logs = logs_of(paths, comparison.skipped);
    if (latest > 0 && latest < logs.size()) keep_latest(logs, latest);
    for (const auto& log : logs) comparison.runs.push_back(read_compared_run(log));
    std::stable_sort(comparison.runs.begin(), comparison.runs.end(), ranks_before);
    comparison.presets = preset_averages(comparison.runs);
    comparison.improvement_percent = improvement_percent(comparison.runs);
    return comparison;
}

std::string comparison_text(const Comparison& comparison, text::Colour colour, std::size_t width) {
    std::string text = run_table(comparison.runs, colour, width);
    if (!comparison.runs.empty() && comparison.runs.front().val_loss) {
        const ComparedRun& best = comparison.runs.front();
        text += fmt::format("\nBest: {}, {}, validation loss {:.4f}\n", printable(best.name),
                            printable(text_or_dash(best.architecture)), *best.val_loss);
    } else {
        text += "\nBest: none, no run has a validation loss\n";
    }
    if (comparison.improvement_percent) {
        text +=
            fmt::format("Improvement over the worst: {:.2f} %\n", *comparison.improvement_percent);
    }
    text += convention_note(comparison.runs);
    text += state_notes(comparison.runs);
    for (const std::string& path : comparison.skipped)
        text += printable_lines(fmt::format("Note: {} holds no run, and is skipped\n", path));
    text += "\n" + text::bold("Averages by preset", colour) + "\n";
    return text + preset_table(comparison.presets, colour);
}

ordered_json comparison_json(const Comparison& comparison) {
    ordered_json runs = ordered_json::array();
    for (std::size_t i = 0; i < comparison.runs.size(); ++i) {
        const ComparedRun& run = comparison.runs[i];
        runs.push_back({{"rank", run.val_loss ? ordered_json(i + 1) : ordered_json(nullptr)},
                        {"run_name", json_of(run.name)},
                        {"path", run.path.string()},
                        {"preset", json_of(run.preset)},
                        {"architecture", json_of(run.architecture)},
                        {"requested_backend", json_of(run.requested_backend)},
                        {"used_backend", json_of(run.used_backend)},
                        {"end_state", json_of(run.end_state)},
                        {"iterations", run.iterations},
                        {"val_loss", json_of(run.val_loss)},
                        {"mfu_percent", json_of(run.mfu_percent)},
                        {"flop_convention", json_of(run.flop_convention)},
                        {"time_ms", json_of(run.time_ms)},
                        {"memory_gb", json_of(run.memory_gb)}});
    }
    ordered_json presets = ordered_json::array();
    for (const PresetAverage& average : comparison.presets) {
        presets.push_back({{"preset", average.preset},
                           {"runs", average.runs},
                           {"val_loss", json_of(average.val_loss)},
                           {"mfu_percent", json_of(average.mfu_percent)},
                           {"time_ms", json_of(average.time_ms)}});
    }
    const bool any_evaluated = !comparison.runs.empty() && comparison.runs.front().val_loss;
    return {{"runs", runs},
            {"skipped", comparison.skipped},
            {"best", any_evaluated ? runs.front()["run_name"] : ordered_json(nullptr)},
            {"improvement_percent", json_of(comparison.improvement_percent)},
            {"presets", presets}};
}

}  // namespace isoflop::run_log
