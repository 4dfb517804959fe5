// Reads the keys that only one class of transformers has.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/model/model_keys.hpp"

namespace isoflop::model {

/// Every read names its default, which is that of the class. Values of another type are refused by
/// their key.
class ClassKeys {
public:
    explicit ClassKeys(const ModelKeys& keys) : keys_(keys) {}

    /// The keys that every model may have.
    [[nodiscard]] const ModelKeys& common() const { return keys_; }
    /// nullptr where the file has no such key, or null.
    [[nodiscard]] const config::Value* find(std::string_view key) const;
    /// The same, but null where the file has null.
    [[nodiscard]] const config::Value* find_or_null(std::string_view key) const;
    [[nodiscard]] std::int64_t integer(std::string_view key, std::int64_t otherwise) const;
    [[nodiscard]] double number(std::string_view key, double otherwise) const;
    [[nodiscard]] bool flag(std::string_view key, bool otherwise) const;
    [[nodiscard]] std::string text(std::string_view key, std::string_view otherwise) const;
    /// nullopt where the file has null.
    [[nodiscard]] std::optional<std::int64_t> integer_or_null(std::string_view key,
                                                              std::int64_t otherwise) const;
    /// nullopt without such a key.
    [[nodiscard]] std::optional<std::vector<std::int64_t>> integers(std::string_view key) const;
    [[nodiscard]] std::optional<std::vector<std::string>> texts(std::string_view key) const;
    /// layer_types of the file, one entry a layer; nullopt without it.
    [[nodiscard]] std::optional<std::vector<std::string>> layer_types(std::int64_t layers) const;

    /// ModelKeyError for `key`, with what was found.
    [[noreturn]] void refuse(std::string_view key, std::string_view expected) const;

private:
    const ModelKeys& keys_;
};

}  // namespace isoflop::model
