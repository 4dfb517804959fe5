// One place for the text form of each enum. Specialise `enum_names<T>` beside the enum:
//
//   template <> inline constexpr auto enum_names<DType> = std::to_array<EnumName<DType>>({
//       {DType::float32, "float32"}, {DType::float32, "fp32"} /* later entries are aliases */});
#pragma once

#include <algorithm>
#include <array>
#include <optional>
#include <string_view>
#include <vector>

namespace isoflop {

template <class T>
struct EnumName {
    T value;
    std::string_view name;
};

template <class T>
inline constexpr std::array<EnumName<T>, 0> enum_names{};

/// Canonical name: the first entry with this value.
template <class T>
[[nodiscard]] constexpr std::string_view to_string(T value) {
    for (const auto& entry : enum_names<T>) {
        if (entry.value == value) return entry.name;
    }
    return "?";
}

/// Value of a canonical name or alias; nullopt when unknown.
template <class T>
[[nodiscard]] constexpr std::optional<T> from_string(std::string_view name) {
    for (const auto& entry : enum_names<T>) {
        if (entry.name == name) return entry.value;
    }
    return std::nullopt;
}

/// Names that a user may write, aliases included, in table order.
template <class T>
[[nodiscard]] std::vector<std::string_view> all_names() {
    std::vector<std::string_view> names;
    names.reserve(enum_names<T>.size());
    for (const auto& entry : enum_names<T>) names.push_back(entry.name);
    return names;
}

}  // namespace isoflop
