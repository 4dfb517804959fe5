// What a configuration file is. Its structure says: the schema it names, the sections it has, the
// marks of Hugging Face's loader, and which table knows its keys; never a single key that several
// kinds share.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "isoflop/base/enum_names.hpp"
#include "isoflop/config/jsonc.hpp"

namespace isoflop::recipe {

enum class FileKind {
    plan,          ///< sections: GPUs, hours, data and an architecture
    training,      ///< flat keys of a run
    model,         ///< flat keys of an architecture
    hugging_face,  ///< a config.json that transformers wrote
};

/// nullopt when nothing in the file says: it is empty, or all its keys are unknown.
[[nodiscard]] std::optional<FileKind> file_kind(const config::Document& document);

/// "plan config", "training config", "model config", "Hugging Face config.json"
[[nodiscard]] std::string_view title(FileKind kind);

/// "is a training config; use `scaling-plan model FILE` or `train FILE`": what a file of this kind
/// is for, for commands that do not take it.
[[nodiscard]] std::string advice(FileKind kind, const std::string& file);

/// Throws ConfigError with that advice unless the document is of one of the kinds of `taken`, or
/// does not say what it is.
void refuse_other_kinds(const config::Document& document, std::initializer_list<FileKind> taken);

}  // namespace isoflop::recipe

namespace isoflop {
template <>
inline constexpr auto enum_names<recipe::FileKind> =
    std::to_array<EnumName<recipe::FileKind>>({{recipe::FileKind::plan, "plan"},
                                               {recipe::FileKind::training, "training"},
                                               {recipe::FileKind::model, "model"},
                                               {recipe::FileKind::hugging_face, "hugging_face"}});
}  // namespace isoflop
