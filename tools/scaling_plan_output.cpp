#include "scaling_plan_output.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "isoflop/text/fit.hpp"

namespace isoflop::tools {

std::size_t width_of(const Options& options) {
    constexpr std::size_t kNarrowest = 40;
    return std::max(options.width.value_or(text::kReportWidth), kNarrowest);
}

std::string fitted(const std::string& report, const Options& options) {
    return text::fit_lines(report, width_of(options));
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
