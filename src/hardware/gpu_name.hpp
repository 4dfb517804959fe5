// The form in which names of accelerators are compared: lower case, without spaces, dashes and
// underscores. It is stored on the stack, so that a lookup needs no allocation.
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

namespace isoflop::hardware {

class NormalisedName {
public:
    static constexpr std::size_t kMaximumLength = 96;

    /// The prefix lets a caller write a vendor in front of a name that lacks it.
    explicit NormalisedName(std::string_view name, std::string_view prefix = {}) {
        append(prefix);
        append(name);
    }

    /// False when the name is longer than any that a table may hold.
    [[nodiscard]] bool fits() const { return fits_; }
    [[nodiscard]] std::string_view view() const { return {letters_.data(), length_}; }

private:
    void append(std::string_view text) {
        for (const char letter : text) {
            if (letter == ' ' || letter == '-' || letter == '_' || letter == '\t') continue;
            if (length_ == kMaximumLength) {
                fits_ = false;
                return;
            }
            const bool is_capital = letter >= 'A' && letter <= 'Z';
            letters_[length_++] = is_capital ? static_cast<char>(letter - 'A' + 'a') : letter;
        }
    }

    std::array<char, kMaximumLength> letters_{};
    std::size_t length_ = 0;
    bool fits_ = true;
};

/// `name` without `vendor` in front; both normalised. A name that is only the vendor stays.
[[nodiscard]] inline std::string_view without_vendor(std::string_view name,
                                                     std::string_view vendor) {
    if (name.size() > vendor.size() && name.starts_with(vendor)) name.remove_prefix(vendor.size());
    return name;
}

}  // namespace isoflop::hardware
