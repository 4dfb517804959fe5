// Where the architecture of a plan comes from: a section of the plan's file, a model file that the
// plan or an override names, or a model file in place of the plan.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isoflop/model/model_format.hpp"
#include "isoflop/recipe/file_kind.hpp"
#include "isoflop/recipe/plan_keys.hpp"

namespace isoflop::recipe {

struct PlanArchitecture {
    /// The plan. Its architecture is in our spelling, and not there where `file` has it.
    config::Document plan;
    /// A model file, under the section "architecture" in our spelling.
    std::optional<config::Document> file = {};
    model::ReadFormat format = {};
    /// The command line names a model file of this kind as the plan.
    std::optional<FileKind> in_place_of_the_plan = {};
};

/// Without the override "architecture=FILE", which is in `overrides` all the same.
[[nodiscard]] std::vector<std::string> without_architecture_file(
    std::span<const std::string> overrides);

/// `given` takes precedence over overrides, and these over what the document says.
[[nodiscard]] PlanArchitecture plan_architecture(config::Document plan,
                                                 std::span<const std::string> overrides,
                                                 std::optional<config::Document> given);

/// Throws ConfigError with the required keys that are not set, as flags of the command line.
void require_flags(const PlanKeys& keys, FileKind kind, const std::string& model_file);

/// What `model` says about the file: how it was read, what is assumed, and its warnings.
/// `assumed_length`: of sequences, where no key says it.
[[nodiscard]] std::vector<std::string> notes_about(const PlanArchitecture& architecture,
                                                   const model::ModelKeys& keys,
                                                   const model::ModelConfig& config,
                                                   std::span<const std::string> unknown_keys,
                                                   std::optional<std::int64_t> assumed_length);

}  // namespace isoflop::recipe
