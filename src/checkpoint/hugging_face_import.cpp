#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <unordered_map>

#include "hugging_face_config.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/checkpoint/companion_files.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/config/json.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::checkpoint {
namespace {

constexpr std::uint64_t kMaxJsonBytes = std::uint64_t{1} << 27U;
constexpr std::uint64_t kPieceBytes = std::uint64_t{1} << 20U;
constexpr std::size_t kNamesInErrors = 5;

struct Source {
    const SafetensorsFile* file = nullptr;
    const TensorEntry* entry = nullptr;
};

std::string prefix_of(model::TensorNaming naming) {
    switch (naming) {
        case model::TensorNaming::gpt2:
        case model::TensorNaming::gptj: return "transformer.";
        case model::TensorNaming::gpt_neox: return "gpt_neox.";
        default: return "model.";
    }
}

/// Names as ParameterLayout has them. Files saved from the bare model (GPT2Model, LlamaModel) lack
/// the first part.
std::string full_name(const std::string& name, model::TensorNaming naming) {
    const std::string prefix = prefix_of(naming);
    if (name.starts_with(prefix) || name.starts_with("lm_head.") || name.starts_with("embed_out."))
        return name;
    return prefix + name;
}

/// Constants that older versions of transformers saved among the weights: causal masks, rotary
/// frequencies.
bool is_constant(const std::string& name, model::TensorNaming naming) {
    switch (naming) {
        case model::TensorNaming::gpt2:
        case model::TensorNaming::gptj:
            return name.ends_with(".attn.bias") || name.ends_with(".attn.masked_bias");
        case model::TensorNaming::gpt_neox:
            return name.ends_with(".attention.bias") || name.ends_with(".attention.masked_bias") ||
                   name.ends_with(".rotary_emb.inv_freq");
        default: return name.ends_with(".rotary_emb.inv_freq");
    }
}

std::string some_of(const std::vector<std::string>& names) {
    const std::size_t shown = std::min(names.size(), kNamesInErrors);
    std::string text = fmt::format(
        "{}", fmt::join(names.begin(), names.begin() + static_cast<std::ptrdiff_t>(shown), ", "));
    if (shown < names.size()) text += fmt::format(" and {} more", names.size() - shown);
    return text;
}

/// File names that an index lists.
std::set<std::string> indexed_files(const std::filesystem::path& index) {
    std::set<std::string> files;
    try {
        const auto json = config::read_json_file(index, kMaxJsonBytes);
        for (const auto& [tensor, file] : json.at("weight_map").items())
            files.insert(file.get<std::string>());
    } catch (const nlohmann::ordered_json::exception& error) {
        throw IoError(fmt::format("'{}' is damaged: {}", index.string(), error.what()));
    }
    for (const std::string& file : files) {
        if (file.find('/') == std::string::npos && file != ".." && !file.empty()) continue;
        throw IoError(
            fmt::format("'{}' is damaged: '{}' is not a file name", index.string(), file));
    }
    return files;
}

std::vector<SafetensorsFile> open_files(const std::filesystem::path& directory) {
    std::vector<SafetensorsFile> files;
    const auto index = directory / "model.safetensors.index.json";
    if (std::filesystem::exists(directory / "model.safetensors")) {
        files.emplace_back(directory / "model.safetensors");
    } else if (std::filesystem::exists(index)) {
        for (const std::string& file : indexed_files(index)) files.emplace_back(directory / file);
    } else {
        const bool pickled = std::filesystem::exists(directory / "pytorch_model.bin") ||
                             std::filesystem::exists(directory / "pytorch_model.bin.index.json");
        throw IoError(fmt::format("'{}' holds no model.safetensors{}", directory.string(),
                                  pickled
                                      ? "; convert its pytorch_model.bin: "
                                        "from_pretrained(...).save_pretrained(...) in transformers"
                                      : ""));
    }
    return files;
}

bool have_equal_values(const Source& a, const Source& b) {
    const std::uint64_t bytes = a.entry->end - a.entry->begin;
    if (a.entry->type != b.entry->type || b.entry->end - b.entry->begin != bytes) return false;
    std::vector<std::byte> left(static_cast<std::size_t>(std::min(bytes, kPieceBytes)));
    std::vector<std::byte> right(left.size());
    for (std::uint64_t first = 0; first < bytes; first += left.size()) {
        left.resize(static_cast<std::size_t>(std::min(bytes - first, kPieceBytes)));
        right.resize(left.size());
        a.file->read_bytes(*a.entry, first, left);
        b.file->read_bytes(*b.entry, first, right);
        if (left != right) return false;
    }
    return true;
}

}  // namespace

struct HuggingFaceModel::State {
    explicit State(const std::filesystem::path& model_directory) : directory(model_directory) {
        std::error_code unknown;
        if (!std::filesystem::is_directory(directory, unknown)) {
            throw IoError(
                fmt::format("'{}' is no folder: a Hugging Face model is a folder with "
                            "config.json and weights",
                            directory.string()));
        }
        const auto config_path = directory / "config.json";
        if (!std::filesystem::exists(config_path)) {
            throw IoError(fmt::format("'{}' is not a Hugging Face model: it has no config.json",
                                      directory.string()));
        }
        const std::string config_json = read_text_file(config_path, kMaxJsonBytes);
        config = model::parse_model(config_json, config_path.string()).config;
        check_importable(config, config_json, config_path);
        files = open_files(directory);
        collect();
        match();
        tokenizer_files = companion_files(directory);
    }

    [[noreturn]] void refuse(const std::string& what) const {
        throw IoError(fmt::format("cannot import '{}': {}", directory.string(), what));
    }

    void read(const std::string& name, std::int64_t first, std::span<float> values) const {
        const auto found = sources.find(name);
        if (found == sources.end()) refuse(fmt::format("it has no tensor '{}'", name));
        found->second.file->read(*found->second.entry, first, values);
    }

    void collect() {
        for (const SafetensorsFile& file : files) {
            for (const TensorEntry& entry : file.tensors()) {
                const std::string name = full_name(entry.name, config.naming);
                if (is_constant(name, config.naming)) continue;
                if (!sources.try_emplace(name, Source{.file = &file, .entry = &entry}).second) {
                    refuse(fmt::format("tensor '{}' is there twice", name));
                }
            }
        }
    }

    void match() {
        std::vector<std::string> missing;
        std::set<std::string> wanted;
        const auto layout = model::parameter_layout(config);
        layout.for_each([&](const std::string& name, const model::TensorSpec& tensor) {
            wanted.insert(name);
            const auto found = sources.find(name);
            if (found == sources.end()) {
                missing.push_back(name);
            } else {
                check(*found->second.entry, tensor);
            }
        });
        if (!missing.empty()) refuse(fmt::format("missing tensors: {}", some_of(missing)));
        drop_tied_head(std::string(layout.embedding.front().name), layout.tied_head);
        std::vector<std::string> unexpected;
        for (const auto& [name, source] : sources) {
            if (!wanted.contains(name)) unexpected.push_back(source.entry->name);
        }
        if (!unexpected.empty()) {
            refuse(fmt::format("tensors that a {} model does not have: {}", config.model_type,
                               some_of(unexpected)));
        }
    }

    void check(const TensorEntry& entry, const model::TensorSpec& tensor) const {
        const std::vector<std::int64_t> shape = tensor.extents();
        if (entry.shape != shape) {
            refuse(fmt::format("tensor '{}' is [{}]; config.json makes it [{}]", entry.name,
                               fmt::join(entry.shape, ", "), fmt::join(shape, ", ")));
        }
        constexpr std::array kFloats = {ElementType::f64, ElementType::f32, ElementType::bf16,
                                        ElementType::f16};
        if (std::find(kFloats.begin(), kFloats.end(), entry.type) == kFloats.end()) {
            refuse(fmt::format("tensor '{}' holds {}: quantized weights are not read", entry.name,
                               to_string(entry.type)));
        }
    }

    /// Some files repeat the embedding as the head; then both must be the same.
    void drop_tied_head(const std::string& embedding, bool tied) {
        const bool neox = config.naming == model::TensorNaming::gpt_neox;
        const auto head = sources.find(neox ? "embed_out.weight" : "lm_head.weight");
        if (!tied || head == sources.end()) return;
        if (!have_equal_values(head->second, sources.at(embedding))) {
            refuse(
                fmt::format("config.json says that the head is tied to '{}', but {} has other "
                            "values",
                            embedding, head->first));
        }
        sources.erase(head);
    }

    std::filesystem::path directory;
    model::ModelConfig config = {};
    std::vector<SafetensorsFile> files = {};
    std::map<std::string, Source> sources = {};
    std::vector<std::filesystem::path> tokenizer_files = {};
};

HuggingFaceModel::HuggingFaceModel(std::unique_ptr<State> state) : state_(std::move(state)) {}
HuggingFaceModel::~HuggingFaceModel() = default;
HuggingFaceModel::HuggingFaceModel(HuggingFaceModel&&) noexcept = default;
HuggingFaceModel& HuggingFaceModel::operator=(HuggingFaceModel&&) noexcept = default;

const model::ModelConfig& HuggingFaceModel::config() const {
    return state_->config;
}

void HuggingFaceModel::read(const std::string& name, std::int64_t first,
                            std::span<float> values) const {
    state_->read(name, first, values);
}

TensorReader HuggingFaceModel::reader() const {
    return [state = state_.get()](const std::string& name, std::int64_t first,
                                  std::span<float> values) { state->read(name, first, values); };
}

const std::filesystem::path& HuggingFaceModel::directory() const {
    return state_->directory;
}

const std::vector<std::filesystem::path>& HuggingFaceModel::tokenizer_files() const {
    return state_->tokenizer_files;
}

HuggingFaceModel import_hugging_face(const std::filesystem::path& directory) {
    return HuggingFaceModel(std::make_unique<HuggingFaceModel::State>(directory));
}

}  // namespace isoflop::checkpoint
