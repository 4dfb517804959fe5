#include "isoflop/trained_model/loaded_model.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iostream>
#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/parameter_layout.hpp"

namespace isoflop::trained_model {
namespace fs = std::filesystem;

namespace {

constexpr const char* kSentencePieceModel = "tokenizer.model";
constexpr std::uint64_t kLargestModel = std::uint64_t{512} << 20U;
constexpr std::uint64_t kLargestConfig = std::uint64_t{1} << 27U;

void prepare_layout(LoadedModel& model) {
    model.layout = cost::state_layout(model::parameter_layout(model.config), 1);
    model.weights.assign(model.layout.elements, 0.0F);
}

template <class Read>
void read_weights(LoadedModel& model, Read&& read) {
    for (const cost::StateTensor& tensor : model.layout.tensors) {
        read(tensor, std::span<float>(model.weights)
                         .subspan(tensor.offset, static_cast<std::size_t>(tensor.spec.elements())));
    }
}

LoadedModel load_checkpoint(const fs::path& path) {
    const checkpoint::CheckpointReader reader = checkpoint::CheckpointReader::open(path);
    const nlohmann::ordered_json state = reader.trainer_state();
    if (!state.contains("config")) {
        throw IoError(
            fmt::format("{}: trainer_state.json has no config", reader.directory().string()));
    }
    LoadedModel model;
    const std::string state_file = (reader.directory() / "trainer_state.json").string();
    try {
        model.keys = recipe::train_keys_from_json(state.at("config"), state_file);
        const auto imported = state.find(kImportedModelKey);
        model.config = imported != state.end() && !imported->is_null()
                           ? imported_model_config(*imported)
                           : recipe::recipe_of(model.keys).model;
    } catch (const ConfigError& error) {  // what a program wrote is data, not a configuration
        throw IoError(fmt::format("'{}' is damaged: {}", state_file, error.what()));
    }
    model.companions = checkpoint::companion_folder(reader.directory());
    model.directory = reader.directory();
    model.step = reader.step();
    prepare_layout(model);
    read_weights(model, [&](const cost::StateTensor& tensor, std::span<float> values) {
        reader.require(tensor.name, tensor.spec.extents());
        reader.read(tensor.name, 0, values);
    });
    return model;
}

LoadedModel load_hugging_face(const fs::path& path) {
    const checkpoint::HuggingFaceModel source = checkpoint::import_hugging_face(path);
    LoadedModel model;
    model.keys.model = model::read_model_file(path / "config.json").keys;
    model.config = source.config();
    model.directory = path;
    model.companions = path;
    prepare_layout(model);
    read_weights(model, [&](const cost::StateTensor& tensor, std::span<float> values) {
        source.read(tensor.name, 0, values);
    });
    return model;
}

/// The folder itself, the run it belongs to (<run>/checkpoints/step_N), or what came with the
/// model. Empty when there is no tokenizer that this build reads.
fs::path find_tokenizer(const LoadedModel& model) {
    const fs::path run = model.directory.parent_path().parent_path();
    for (const fs::path& folder : {model.directory, run}) {
        if (fs::exists(folder / "tokenizer_isoflop.json")) return folder;
    }
    const bool has_model = fs::exists(model.companions / kSentencePieceModel);
    return has_model && data::has_sentencepiece() ? model.companions : fs::path();
}

/// Whether the tokenizer is the one that came with the model: the ids of special tokens are then
/// its own.
bool has_own_tokenizer(const LoadedModel& model) {
    if (model.companions.empty()) return false;
    if (!model.tokenizer) return true;
    const fs::path file = model.companions / kSentencePieceModel;
    return !model.tokenizer->model_bytes().empty() && fs::exists(file) &&
           model.tokenizer->model_bytes() == read_text_file(file, kLargestModel);
}

checkpoint::TokenizerInformation tokenizer_information(const LoadedModel& model) {
    using Kind = checkpoint::TokenizerInformation::Kind;
    checkpoint::TokenizerInformation information;
    if (has_own_tokenizer(model)) {
        information.kind = Kind::files;
        information.files = checkpoint::companion_files(model.companions);
        information.config_json = read_text_file(model.companions / "config.json", kLargestConfig);
        return information;
    }
    if (!model.tokenizer) return information;
    information.end_of_text = model.tokenizer->end_of_text();
    const std::string name = model.tokenizer->name();
    if (name == "byte") {
        information.kind = Kind::byte;
    } else if (name == "char") {
        information.kind = Kind::character;
        for (std::int32_t token = 0; token < model.tokenizer->vocab_size(); ++token) {
            if (token == information.end_of_text) continue;
            information.characters.push_back(model.tokenizer->decode_bytes({&token, 1}));
        }
    } else {
        information.kind = Kind::sentencepiece;
        information.model_file = model.tokenizer_folder / kSentencePieceModel;
    }
    return information;
}

}  // namespace

device::TensorView LoadedModel::view() {
    return {weights.data(), DType::float32, {static_cast<std::int64_t>(weights.size())}};
}

model::ModelConfig imported_model_config(const nlohmann::ordered_json& config_json) {
    return model::parse_model(config_json.dump(), "config.json of the imported model").config;
}

LoadedModel load_model(const fs::path& path, const fs::path& tokenizer_folder) {
    if (!fs::exists(path)) throw ConfigError(fmt::format("{}: no such folder", path.string()));
    LoadedModel model = fs::is_directory(path) && fs::exists(path / "config.json")
                            ? load_hugging_face(path)
                            : load_checkpoint(path);
    model.tokenizer_folder = tokenizer_folder.empty() ? find_tokenizer(model) : tokenizer_folder;
    if (!model.tokenizer_folder.empty())
        model.tokenizer = data::load_tokenizer(model.tokenizer_folder);
    if (model.tokenizer && model.tokenizer->vocab_size() > model.config.vocab_size) {
        throw ConfigError(fmt::format("the tokenizer has {} tokens and the model {}",
                                      model.tokenizer->vocab_size(), model.config.vocab_size));
    }
    if (has_own_tokenizer(model))
        model.special_tokens = checkpoint::special_tokens(model.companions);
    return model;
}

void export_model(LoadedModel& model, const fs::path& out_dir, DType dtype) {
    checkpoint::ExportOptions options;
    switch (dtype) {
        case DType::float32: options.type = checkpoint::ElementType::f32; break;
        case DType::bfloat16: options.type = checkpoint::ElementType::bf16; break;
        case DType::float16: options.type = checkpoint::ElementType::f16; break;
        default: throw ConfigError("export writes float32, bfloat16 or float16");
    }
    options.tokenizer = tokenizer_information(model);
    const auto read = [&](const std::string& name, std::int64_t first, std::span<float> values) {
        for (const cost::StateTensor& tensor : model.layout.tensors) {
            if (tensor.name != name) continue;
            const auto from =
                model.weights.begin() +
                static_cast<std::ptrdiff_t>(tensor.offset + static_cast<std::uint64_t>(first));
            std::copy(from, from + static_cast<std::ptrdiff_t>(values.size()), values.begin());
            return;
        }
        throw IoError(fmt::format("the model has no tensor '{}'", name));
    };
    checkpoint::export_hugging_face(model.config, read, out_dir, options);
    // The tokenizer of this project beside the files of transformers, so that an import finds it.
    if (model.tokenizer) data::save_tokenizer(*model.tokenizer, out_dir);
}

namespace {

/// Such weights never recover; training refuses them.
void warn_of_non_finite(const LoadedModel& model) {
    for (const cost::StateTensor& tensor : model.layout.tensors) {
        const auto first = model.weights.begin() + static_cast<std::ptrdiff_t>(tensor.offset);
        const auto count = std::count_if(first, first + tensor.spec.elements(),
                                         [](float value) { return !std::isfinite(value); });
        if (count > 0) {
            std::cerr << fmt::format("warning: NaN or infinity in the weights: {}: {} values\n",
                                     tensor.name, count);
        }
    }
}

}  // namespace

fs::path import_model(const fs::path& hugging_face_dir, const fs::path& run_dir) {
    if (fs::exists(run_dir)) {
        throw ConfigError(
            fmt::format("{}: exists already and is not overwritten", run_dir.string()));
    }
    LoadedModel model = load_hugging_face(hugging_face_dir);
    warn_of_non_finite(model);
    fs::create_directories(run_dir);
    std::vector<checkpoint::NamedTensor> weights;
    std::vector<checkpoint::NamedTensor> moments;
    std::vector<float> zeros;
    for (const cost::StateTensor& tensor : model.layout.tensors) {
        zeros.resize(std::max(zeros.size(), static_cast<std::size_t>(tensor.spec.elements())));
    }
    for (const cost::StateTensor& tensor : model.layout.tensors) {
        const std::int64_t elements = tensor.spec.elements();
        weights.push_back(
            {tensor.name, tensor.spec.extents(),
             device::TensorView(model.weights.data() + tensor.offset, DType::float32, {elements})});
    }
    for (const cost::OptimizerTensor& state : recipe::optimizer_of(model.keys).tensors) {
        for (const cost::StateTensor& tensor : model.layout.tensors) {
            if (!state.covers(tensor.spec)) continue;
            moments.push_back(
                {std::string(state.checkpoint_prefix) + tensor.name, tensor.spec.extents(),
                 device::TensorView(zeros.data(), DType::float32, {tensor.spec.elements()})});
        }
    }
    const nlohmann::ordered_json state{
        {"iter", 0}, {"updates", 0}, {"best_val_loss", nullptr}, {"config", to_json(model.keys)}};
    if (fs::exists(hugging_face_dir / "tokenizer_isoflop.json")) {
        data::save_tokenizer(*data::load_tokenizer(hugging_face_dir), run_dir);
    }
    checkpoint::copy_companion_files(hugging_face_dir, run_dir / checkpoint::kCompanionFolder);
    return checkpoint::write_checkpoint(run_dir, 0, weights, moments, state);
}

}  // namespace isoflop::trained_model
