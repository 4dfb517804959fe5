// Models in the folder layout of Hugging Face transformers: config.json, model.safetensors,
// tokenizer files. The written folders load with AutoModelForCausalLM.from_pretrained, and folders
// that these classes saved can be read.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/checkpoint/safetensors.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::checkpoint {

/// Reads elements [first, first + values.size()) of the named tensor of the model's
/// ParameterLayout.
using TensorReader =
    std::function<void(const std::string& name, std::int64_t first, std::span<float> values)>;

/// The tokenizer, as far as known. Its files are written when its kind is known, so that
/// AutoTokenizer gives the same tokens.
struct TokenizerInformation {
    enum class Kind {
        unknown,        ///< no tokenizer files
        byte,           ///< token = byte value
        character,      ///< token i is characters[i]
        sentencepiece,  ///< model_file, copied as tokenizer.model
        files,          ///< `files`, copied under their own names (as from an import)
    };
    Kind kind = Kind::unknown;
    std::vector<std::string> characters = {};  ///< UTF-8, one character each
    std::filesystem::path model_file = {};
    std::vector<std::filesystem::path> files = {};
    std::optional<std::int64_t> beginning_of_text = {};
    std::optional<std::int64_t> end_of_text = {};  ///< generation stops here
    /// The text of the config.json that came with `files`: its ids of special tokens are kept.
    std::string config_json = {};
};

struct ExportOptions {
    ElementType type = ElementType::f32;  ///< of the weights: f32, bf16 or f16
    TokenizerInformation tokenizer = {};
    /// replace the model that out_dir holds; otherwise an existing model is a ConfigError
    bool overwrite = false;
};

struct HuggingFaceClass {
    std::string_view model_type;  ///< "llama"
    std::string_view name;        ///< "LlamaForCausalLM"
};

/// The class of transformers that computes this model. Throws ConfigError that names the choice
/// that no class has.
[[nodiscard]] HuggingFaceClass hugging_face_class(const model::ModelConfig& config);

/// Writes the folder. Biases that the class has and the model lacks are written as zeros.
void export_hugging_face(const model::ModelConfig& config, const TensorReader& tensors,
                         const std::filesystem::path& out_dir, const ExportOptions& options = {});

/// A model read from such a folder, with the names and orientations of ParameterLayout.
class HuggingFaceModel {
public:
    HuggingFaceModel(HuggingFaceModel&&) noexcept;
    HuggingFaceModel& operator=(HuggingFaceModel&&) noexcept;
    ~HuggingFaceModel();

    [[nodiscard]] const model::ModelConfig& config() const;
    /// Elements [first, first + values.size()), converted from F32, BF16 or F16.
    void read(const std::string& name, std::int64_t first, std::span<float> values) const;
    /// For interfaces that take a TensorReader; valid during the life of this model, also after a
    /// move.
    [[nodiscard]] TensorReader reader() const;
    [[nodiscard]] const std::filesystem::path& directory() const;
    /// Tokenizer and generation files that the folder holds.
    [[nodiscard]] const std::vector<std::filesystem::path>& tokenizer_files() const;

private:
    friend HuggingFaceModel import_hugging_face(const std::filesystem::path& directory);
    struct State;
    explicit HuggingFaceModel(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// Reads config.json and model.safetensors, or model.safetensors.index.json with its shards. Throws
/// ConfigError for an architecture that the trainer does not run, IoError for missing, unexpected,
/// misshapen or quantised tensors.
[[nodiscard]] HuggingFaceModel import_hugging_face(const std::filesystem::path& directory);

}  // namespace isoflop::checkpoint
