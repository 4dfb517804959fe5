// Multiples of a number.
#pragma once

#include <type_traits>

namespace isoflop {

/// The least multiple of `multiple` that is not below `value`. Both are positive, or `value` is 0.
template <class T>
[[nodiscard]] constexpr T round_up(T value, std::type_identity_t<T> multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

}  // namespace isoflop
