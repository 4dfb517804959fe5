#include "isoflop/recipe/architecture_value.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/recipe/data_vocabulary.hpp"
#include "isoflop/recipe/file_kind.hpp"

namespace isoflop::recipe {
namespace {

namespace fs = std::filesystem;

/// Values keep their places in the training config.
config::Document model_of_training(config::Document document) {
    TrainKeys keys = read_train_keys(document);
    const fs::path imported = fs::path(keys.run.init_from) / "config.json";
    if (fs::exists(imported)) return config::read_jsonc_file(imported);
    const config::Section& section = model::model_schema().sections().front();
    config::Value::Object object;
    for (const config::Member& member : document.root.as_object()) {
        if (section.find(member.key) != nullptr) object.push_back(member);
    }
    const config::SourceLocation place = document.root.location();
    const auto add = [&](std::string key, config::Value::Storage value) {
        object.push_back({std::move(key), place, config::Value(std::move(value), place)});
    };
    const bool names_vocabulary = keys.model.vocab_size.has_value();
    // Training goes on with the default vocabulary where its data cannot be read.
    (void)use_vocabulary_of_data(keys);
    if (!names_vocabulary && keys.model.vocab_size) add("vocab_size", *keys.model.vocab_size);
    if (document.root.find("arch_preset") == nullptr && keys.model.arch_preset)
        add("arch_preset", std::string(to_string(*keys.model.arch_preset)));
    document.root = config::Value(std::move(object), place);
    return document;
}

}  // namespace

bool is_inline_architecture(std::string_view value) {
    const std::size_t first = value.find_first_not_of(" \t\n");
    return first != std::string_view::npos && value[first] == '{';
}

config::Document as_model_document(config::Document document) {
    refuse_other_kinds(document, {FileKind::model, FileKind::hugging_face, FileKind::training});
    if (file_kind(document) != FileKind::training) return document;
    return model_of_training(std::move(document));
}

config::Document architecture_document(const std::string& value) {
    return as_model_document(is_inline_architecture(value)
                                 ? config::parse_jsonc(value, "architecture")
                                 : config::read_jsonc_file(value));
}

model::ModelKeys architecture_keys(const std::string& value,
                                   std::span<const std::string> overrides) {
    return model::read_model(architecture_document(value), overrides).keys;
}

std::string use_vocabulary_of_data(TrainKeys& keys) {
    if (keys.model.vocab_size) return {};
    try {
        const std::int64_t vocabulary = data_vocab_size(keys.data);
        if (vocabulary > 0) keys.model.vocab_size = vocabulary;
    } catch (const IoError& error) {
        return fmt::format("the vocabulary of the preset is used: {}", error.what());
    }
    return {};
}

}  // namespace isoflop::recipe
