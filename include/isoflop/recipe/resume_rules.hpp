// Which keys a resumed run may change. Every training key has one of three classes; the table is in
// resume_rules.cpp, and a test holds it to the schema.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/recipe/recipe.hpp"

namespace isoflop::recipe {

enum class OnResume {
    fixed,  ///< by the checkpoint: the model, the data and their order
    noted,  ///< may change, and changes what is computed; said and logged
    free,   ///< may change: where results go and how often
};

/// Throws std::out_of_range for a key that has no class.
[[nodiscard]] OnResume on_resume(std::string_view key);

/// Values as text; "not set" for a key without one.
struct KeyChange {
    std::string key;
    std::string before;
    std::string now;
};
/// "num_attention_heads (n_head): 4 in the checkpoint, 8 now"
[[nodiscard]] std::string to_text(const KeyChange& change);

/// Choices and sizes in which two models differ.
[[nodiscard]] std::vector<KeyChange> model_changes(const model::ModelConfig& before,
                                                   const model::ModelConfig& now);

/// The model's value for a key, as KeyChange has it; nullopt when the key names no property of a
/// model.
[[nodiscard]] std::optional<std::string> model_value(const model::ModelConfig& model,
                                                     std::string_view key);

struct ResumeChanges {
    std::vector<KeyChange> fixed;
    std::vector<KeyChange> noted;
};
/// Changes from the run that wrote a checkpoint to the one that resumes it, by what the keys
/// resolve to. Of the data keys the caller may know that they mean the same data.
[[nodiscard]] ResumeChanges resume_changes(const Recipe& before, const Recipe& now);

}  // namespace isoflop::recipe
