#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "hugging_face_config.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "tokenizer_files.hpp"

namespace isoflop::checkpoint {
namespace {

constexpr std::size_t kPieceElements = std::size_t{1} << 18U;

std::vector<TensorDeclaration> declarations(const model::ModelConfig& config, ElementType type) {
    std::vector<TensorDeclaration> tensors;
    model::parameter_layout(config).for_each(
        [&](const std::string& name, const model::TensorSpec& tensor) {
            tensors.push_back({.name = name, .type = type, .shape = tensor.extents()});
        });
    return tensors;
}

void refuse_to_overwrite(const std::filesystem::path& out_dir) {
    for (const char* name : {"config.json", "model.safetensors", "model.safetensors.index.json"}) {
        if (!std::filesystem::exists(out_dir / name)) continue;
        throw ConfigError(
            fmt::format("'{}' exists already: choose another folder, or ask to overwrite",
                        (out_dir / name).string()));
    }
}

/// Tensors of the class in its order; those that the model lacks (biases) are zeros.
void write_weights(const model::ModelConfig& config, const TensorReader& tensors, ElementType type,
                   const std::filesystem::path& path) {
    std::unordered_map<std::string, bool> present;
    for (const TensorDeclaration& tensor : declarations(config, type))
        present.emplace(tensor.name, true);
    const std::vector<TensorDeclaration> held = declarations(as_class_holds_it(config), type);
    // transformers asks for this entry.
    SafetensorsWriter writer(path, held, {{"format", "pt"}});
    std::vector<float> values;
    for (const TensorDeclaration& tensor : held) {
        const std::uint64_t elements = element_count(tensor.shape);
        for (std::uint64_t first = 0; first < elements; first += values.size()) {
            values.assign(
                static_cast<std::size_t>(std::min<std::uint64_t>(elements - first, kPieceElements)),
                0.0F);
            if (present.contains(tensor.name))
                tensors(tensor.name, static_cast<std::int64_t>(first), values);
            writer.write(values);
        }
    }
    static_cast<void>(writer.finish());
}

nlohmann::ordered_json generation_config(const TokenizerInformation& tokenizer) {
    nlohmann::ordered_json json = {{"_from_model_config", true}};
    if (tokenizer.beginning_of_text) json["bos_token_id"] = *tokenizer.beginning_of_text;
    if (tokenizer.end_of_text) json["eos_token_id"] = *tokenizer.end_of_text;
    return json;
}

bool brings_generation_config(const TokenizerInformation& tokenizer) {
    return tokenizer.kind == TokenizerInformation::Kind::files &&
           std::any_of(tokenizer.files.begin(), tokenizer.files.end(), [](const auto& file) {
               return file.filename() == "generation_config.json";
           });
}

}  // namespace

void export_hugging_face(const model::ModelConfig& config, const TensorReader& tensors,
                         const std::filesystem::path& out_dir, const ExportOptions& options) {
    if (options.type != ElementType::f32 && options.type != ElementType::bf16 &&
        options.type != ElementType::f16) {
        throw ConfigError(fmt::format("weights are exported as F32, BF16 or F16, not as {}",
                                      to_string(options.type)));
    }
    const nlohmann::ordered_json json =
        hugging_face_config(config, options.type, options.tokenizer);
    if (!options.overwrite) refuse_to_overwrite(out_dir);
    make_directories(out_dir);
    write_weights(config, tensors, options.type, out_dir / "model.safetensors");
    write_tokenizer_files(options.tokenizer, out_dir);
    if (!brings_generation_config(options.tokenizer)) {
        write_text_file(out_dir / "generation_config.json",
                        generation_config(options.tokenizer).dump(2) + "\n");
    }
    // Last: a folder with a config.json is complete. The index of an earlier, sharded model would
    // override the new file.
    std::error_code ignored;
    std::filesystem::remove(out_dir / "model.safetensors.index.json", ignored);
    write_text_file(out_dir / "config.json", json.dump(2) + "\n");
    synchronize_directory(out_dir);
}

}  // namespace isoflop::checkpoint
