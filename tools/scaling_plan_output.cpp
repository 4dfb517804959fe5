#include "scaling_plan_output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <system_error>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/text/fit.hpp"
#include "scaling_plan_support.hpp"

namespace isoflop::tools {

std::size_t width_of(const Options& options) {
    constexpr std::size_t kNarrowest = 40;
    return std::max(options.width.value_or(text::kReportWidth), kNarrowest);
}

std::string fitted(const std::string& report, const Options& options) {
    return text::fit_lines(report, width_of(options));
}

void check_output_files(std::span<const OutputFile> files, const Options& options) {
    for (std::size_t i = 0; i < files.size(); ++i) {
        const OutputFile& file = files[i];
        if (!file.wanted()) continue;
        if (file.path->empty())
            throw ConfigError(
                fmt::format("{} takes a file name, or - for standard output", file.option));
        if (file.printed() && options.json)
            throw ConfigError(
                fmt::format("--json and {} - both print to standard output", file.option));
        for (std::size_t j = 0; j < i; ++j) {
            if (files[j].path != file.path) continue;
            throw ConfigError(fmt::format("{} and {} both take {}; name another file",
                                          files[j].option, file.option,
                                          file.printed() ? "standard output" : *file.path));
        }
        std::error_code error;
        if (!file.printed() && std::filesystem::exists(*file.path, error))
            throw ConfigError(fmt::format("{}: exists already and is not overwritten", *file.path));
    }
}

void write_output_file(Result& result, const OutputFile& file, std::string text) {
    if (file.printed())
        result.output = std::move(text);
    else if (file.wanted())
        write_new_file(*file.path, text);
}

bool is_without_effect(std::string_view path) {
    constexpr std::array<std::string_view, 7> kSectionsAndKeys = {
        "training_gear.available_hours",
        "training_gear.peak_flops_per_gpu",
        "training_efficiency.expected_mfu",
        "dataset_constraints.",
        "scaling_law.",
        "cost_assumptions.",
        "output_options."};
    return path != "dataset_constraints.sequence_length" &&
           std::any_of(kSectionsAndKeys.begin(), kSectionsAndKeys.end(),
                       [&](std::string_view start) { return path.starts_with(start); });
}

std::string without_effect(std::string_view key) {
    return fmt::format("{} has no effect on the analysis of a model; backward uses it", key);
}

planner::GpuToFit gpu_to_fit(const std::string& gpu_type, const hardware::GpuTable& table,
                             recipe::KeysOf keys) {
    return gpu_type.empty() ? planner::GpuToFit{} : planner::GpuToFit{&table.at(gpu_type), keys};
}

Options with_convention(Options options, cost::Convention convention) {
    if (options.convention == "exact") options.convention = to_string(convention);
    return options;
}

}  // namespace isoflop::tools
