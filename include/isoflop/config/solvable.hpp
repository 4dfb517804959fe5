// A number that a user gives, asks for with the text "solve", or leaves out. What is not given is
// worked out from the keys that are.
#pragma once

#include <optional>
#include <string_view>

namespace isoflop::config {

/// How a file and a command line ask for a number.
inline constexpr std::string_view kSolve = "solve";

template <class T>
class Solvable {
public:
    constexpr Solvable() = default;
    /// Implicit, as that of std::optional: a number is a given one.
    constexpr Solvable(T value) : value_(value) {}
    /// Asked for by name; stands for the same plan as a number that is left out.
    [[nodiscard]] static constexpr Solvable solve() {
        Solvable result;
        result.asked_ = true;
        return result;
    }

    [[nodiscard]] constexpr bool is_given() const { return value_.has_value(); }
    [[nodiscard]] constexpr bool is_asked() const { return asked_; }
    /// Throws std::bad_optional_access when it is not given.
    [[nodiscard]] constexpr const T& value() const { return value_.value(); }
    [[nodiscard]] constexpr T value_or(T other) const { return value_.value_or(other); }

    friend constexpr bool operator==(const Solvable& a, const Solvable& b) {
        return a.value_ == b.value_ && a.asked_ == b.asked_;
    }
    friend constexpr bool operator==(const Solvable& a, const T& b) { return a.value_ == b; }

private:
    std::optional<T> value_ = std::nullopt;
    bool asked_ = false;
};

}  // namespace isoflop::config
