#include "class_key_reader.hpp"

#include <fmt/format.h>

#include "isoflop/model/model_reader.hpp"

namespace isoflop::model {

const config::Value* ClassKeys::find(std::string_view key) const {
    if (!keys_.class_keys || !keys_.class_keys->is_object()) return nullptr;
    const config::Value* value = keys_.class_keys->find(key);
    return value == nullptr || value->is_null() ? nullptr : value;
}

const config::Value* ClassKeys::find_or_null(std::string_view key) const {
    if (!keys_.class_keys || !keys_.class_keys->is_object()) return nullptr;
    return keys_.class_keys->find(key);
}

std::int64_t ClassKeys::integer(std::string_view key, std::int64_t otherwise) const {
    const config::Value* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_integer()) refuse(key, "an integer");
    return value->as_integer();
}

std::optional<std::int64_t> ClassKeys::integer_or_null(std::string_view key,
                                                       std::int64_t otherwise) const {
    const bool has_object = keys_.class_keys && keys_.class_keys->is_object();
    const config::Value* value = has_object ? keys_.class_keys->find(key) : nullptr;
    if (value != nullptr && value->is_null()) return std::nullopt;
    return integer(key, otherwise);
}

double ClassKeys::number(std::string_view key, double otherwise) const {
    const config::Value* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_number()) refuse(key, "a number");
    return value->as_number();
}

bool ClassKeys::flag(std::string_view key, bool otherwise) const {
    const config::Value* value = find(key);
    if (value == nullptr) return otherwise;
    if (!value->is_bool()) refuse(key, "true or false");
    return value->as_bool();
}

std::string ClassKeys::text(std::string_view key, std::string_view otherwise) const {
    const config::Value* value = find(key);
    if (value == nullptr) return std::string(otherwise);
    if (!value->is_string()) refuse(key, "a string");
    return value->as_string();
}

std::optional<std::vector<std::int64_t>> ClassKeys::integers(std::string_view key) const {
    const config::Value* value = find(key);
    if (value == nullptr) return std::nullopt;
    if (!value->is_array()) refuse(key, "a list of integers");
    std::vector<std::int64_t> numbers;
    for (const config::Value& entry : value->as_array()) {
        if (!entry.is_integer()) refuse(key, "a list of integers");
        numbers.push_back(entry.as_integer());
    }
    return numbers;
}

namespace {

std::optional<std::vector<std::string>> texts_of(const config::Value& value) {
    if (!value.is_array()) return std::nullopt;
    std::vector<std::string> texts;
    for (const config::Value& entry : value.as_array()) {
        if (!entry.is_string()) return std::nullopt;
        texts.push_back(entry.as_string());
    }
    return texts;
}

}  // namespace

std::optional<std::vector<std::string>> ClassKeys::texts(std::string_view key) const {
    const config::Value* value = find(key);
    if (value == nullptr) return std::nullopt;
    auto texts = texts_of(*value);
    if (!texts) refuse(key, "a list of strings");
    return texts;
}

std::optional<std::vector<std::string>> ClassKeys::layer_types(std::int64_t layers) const {
    if (!keys_.layer_types || keys_.layer_types->is_null()) return std::nullopt;
    auto types = texts_of(*keys_.layer_types);
    if (!types || static_cast<std::int64_t>(types->size()) != layers) {
        throw ModelKeyError(
            "layer_types",
            fmt::format("layer_types must be a list of {} entries, one a layer", layers));
    }
    return types;
}

void ClassKeys::refuse(std::string_view key, std::string_view expected) const {
    const config::Value* value = find(key);
    throw ModelKeyError(std::string(key),
                        fmt::format("{} must be {}; found {}", key, expected,
                                    value == nullptr ? "nothing" : value->to_text()));
}

}  // namespace isoflop::model
