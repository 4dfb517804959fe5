#include "run_place.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <chrono>
#include <ctime>
#include <iostream>

#include "isoflop/base/error.hpp"
#include "isoflop/base/printable.hpp"

namespace isoflop::trainer {
namespace fs = std::filesystem;

namespace {

std::string default_name(const recipe::RunPlan& plan) {
    const std::time_t now = std::chrono::system_clock::to_time_t(std::chrono::system_clock::now());
    const auto& keys = plan.config.keys.model;
    const std::string preset = keys.arch_preset  ? std::string(to_string(*keys.arch_preset))
                               : keys.model_type ? *keys.model_type
                                                 : std::string("custom");
    return fmt::format("{:%Y%m%d_%H%M%S}_{}_{}", fmt::localtime(now), preset,
                       to_string(plan.attention.used));
}

void check_name(const std::string& name) {
    // Files of the run have names with the run's in it, and file systems allow 255 bytes.
    constexpr std::size_t kLongest = 200;
    if (name.size() > kLongest) {
        throw ConfigError(
            fmt::format("run_name has {} bytes; at most {} are possible", name.size(), kLongest));
    }
    if (name.find('/') != std::string::npos || name.find('\0') != std::string::npos ||
        name == "." || name == "..") {
        throw ConfigError(fmt::format("run_name '{}' must be a plain folder name", name));
    }
}

/// Of a new run: its name appears in lines of reports and logs.
void check_new_name(const std::string& name) {
    check_name(name);
    if (std::any_of(name.begin(), name.end(),
                    [](unsigned char letter) { return std::iscntrl(letter) != 0; })) {
        throw ConfigError(fmt::format(
            "run_name '{}' has a line break, a tab or another control character", printable(name)));
    }
}

[[noreturn]] void refuse_existing(const fs::path& folder) {
    if (const std::string writer = RunLock::writer_of(folder); !writer.empty()) {
        throw ConfigError(fmt::format("{}: {}; wait for its end, or choose another run_name",
                                      folder.string(), writer));
    }
    throw ConfigError(
        fmt::format("{}: this run exists already; continue it with init_from=resume "
                    "or choose another run_name",
                    folder.string()));
}

}  // namespace

RunPlace new_run(const recipe::RunPlan& plan, RunLock& lock) {
    const recipe::RunKeys& keys = plan.config.keys.run;
    const fs::path out(keys.out_dir);
    if (!keys.run_name.empty()) {
        check_new_name(keys.run_name);
        const fs::path folder = out / keys.run_name;
        if (!lock.held()) lock = RunLock::of_new_folder(folder, {});
        if (!lock.held()) refuse_existing(folder);
        return {keys.run_name, folder};
    }
    const std::string base = default_name(plan);
    std::string name = base;
    for (int attempt = 2; !(lock = RunLock::of_new_folder(out / name, {})).held(); ++attempt)
        name = fmt::format("{}_{}", base, attempt);
    return {name, out / name};
}

RunLock lock_run(const fs::path& folder) {
    const auto say = [](const std::string& note) {
        std::cerr << "note: " << printable_lines(note) << '\n' << std::flush;
    };
    return RunLock::acquire(folder, say, {});
}

RunPlace existing_run(const recipe::RunKeys& keys) {
    const fs::path out(keys.out_dir);
    if (!keys.run_name.empty()) {
        check_name(keys.run_name);
        const fs::path folder = out / keys.run_name;
        if (!fs::is_directory(folder)) {
            throw ConfigError(fmt::format("{}: there is no such run to resume", folder.string()));
        }
        return {keys.run_name, folder};
    }
    fs::path newest;
    std::error_code error;
    for (const fs::directory_entry& entry : fs::directory_iterator(out, error)) {
        if (!fs::exists(entry.path() / "metrics.jsonl")) continue;
        const auto time = fs::last_write_time(entry.path() / "metrics.jsonl");
        if (newest.empty() || time > fs::last_write_time(newest / "metrics.jsonl"))
            newest = entry.path();
    }
    if (newest.empty()) throw ConfigError(fmt::format("{}: holds no run to resume", out.string()));
    return {newest.filename().string(), newest};
}

}  // namespace isoflop::trainer
