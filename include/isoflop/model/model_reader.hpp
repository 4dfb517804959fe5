// From the keys of a file to a complete ModelConfig: defaults of the model type or preset, derived
// sizes, consistency. With a Hugging Face model_type, omitted keys have the defaults of the class
// of that type in transformers, so that the parameter counts are equal; sizes without a sensible
// default are required.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/config/jsonc.hpp"
#include "isoflop/config/schema.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/model/model_keys.hpp"

namespace isoflop::model {

struct ReadFormat;

/// An error of one key; the caller that has the document adds the place.
class ModelKeyError : public ConfigError {
public:
    ModelKeyError(std::string key, const std::string& message)
        : ConfigError(message), key_(std::move(key)) {}
    [[nodiscard]] const std::string& key() const noexcept { return key_; }

private:
    std::string key_;
};

/// Hugging Face model types that are known, in the order of the documentation.
[[nodiscard]] std::vector<std::string_view> known_model_types();

/// Throws ModelKeyError naming key, value found and values allowed: unknown model type, missing
/// sizes, heads that do not divide, choices that contradict the model type, sizes beyond limits.
[[nodiscard]] ModelConfig resolve(const ModelKeys& keys);

/// The keys of a file and the resulting model.
struct ModelDescription {
    ModelKeys keys;
    ModelConfig config;
    std::vector<std::string> unknown_keys = {};  ///< of a Hugging Face file, without effect here
    std::string_view format =
        {};  ///< another program's, in words; empty for ours and transformers'
    std::vector<std::string> notes = {};     ///< of that format: what is assumed or left out
    std::vector<std::string> warnings = {};  ///< keys that describe a size and have no effect
};

/// What `keys` do not say and `config` has: "num_key_value_heads 32", "tie_word_embeddings false".
[[nodiscard]] std::vector<std::string> assumptions(const ModelKeys& keys,
                                                   const ModelConfig& config);
/// Of a whole file: a format of another program names its architecture.
[[nodiscard]] std::vector<std::string> assumptions(const ModelDescription& model);

/// A warning for each kind of key that describes the model's size and has no effect: foreign ones
/// of a Hugging Face file (`unknown`, found in the file's object), and known ones that this type
/// does not read.
[[nodiscard]] std::vector<std::string> warnings_of(const ModelKeys& keys, const ModelConfig& config,
                                                   std::span<const std::string> unknown,
                                                   const ReadFormat& format);

/// Overrides are "key=value" with any key of the table ("n_layer=24"). Errors carry file, line and
/// column.
[[nodiscard]] ModelDescription read_model(const config::Document& document,
                                          std::span<const std::string> overrides = {});
[[nodiscard]] ModelDescription read_model_file(const std::filesystem::path& path,
                                               std::span<const std::string> overrides = {});
[[nodiscard]] ModelDescription parse_model(std::string text, std::string file_name = "model");

/// Throws at the first foreign key of `object`, and names all. `schema` read `object` with `notes`.
void refuse_unknown_keys(const config::SchemaBase& schema, const config::ReadNotes& notes,
                         const config::Document& document, const config::Value& object);

/// The same before values are looked at: one wrong value must not hide the unknown keys of
/// `object`. Does nothing for Hugging Face files, which may have any key.
void refuse_unknown_keys(const config::SchemaBase& schema, const config::Document& document,
                         const config::Value& object);

/// Resolves keys read from `object`, pointing at the offending key there.
[[nodiscard]] ModelConfig resolve_at(const ModelKeys& keys, const config::Document& document,
                                     const config::Value& object);

/// "12L-12H-768D-RoPE-RMS-SwiGLU-PreNorm": layers, heads, width and the choices of the block.
[[nodiscard]] std::string summary_name(const ModelConfig& config);

}  // namespace isoflop::model
