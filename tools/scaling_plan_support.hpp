// What the sources of scaling-plan's commands share.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/model_analysis.hpp"
#include "isoflop/recipe/file_kind.hpp"
#include "scaling_plan_commands.hpp"

namespace isoflop::tools {

[[nodiscard]] hardware::GpuTable gpu_table(const Options& options);
/// Throws ConfigError unless there is one.
[[nodiscard]] const std::string& only_file(const Options& options, std::string_view command);
/// File names may hold bytes that are no UTF-8; JSON may not.
[[nodiscard]] std::string dump(const nlohmann::ordered_json& json);
/// Writes a file that must not exist yet.
void write_new_file(const std::string& path, const std::string& text);

/// A model file as the command `model` understands it.
struct AnalysedModel {
    model::ModelDescription description;
    planner::ModelAnalysis analysis;
    cost::Convention convention = cost::Convention::exact;  ///< that its keys name
    std::vector<std::string> warnings = {};
    std::optional<std::int64_t> assumed_length = {};  ///< of sequences, where no key says it
};
[[nodiscard]] AnalysedModel analysed_model(const config::Document& file, const Options& options);
/// What the file was read as, in words: another program's format, else the kind.
[[nodiscard]] std::string_view format_title(const model::ModelDescription& description,
                                            recipe::FileKind kind);

}  // namespace isoflop::tools
