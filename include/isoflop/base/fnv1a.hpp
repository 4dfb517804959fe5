// FNV-1a, 64 bits: a stable number for names, vocabularies and inputs that no adversary chooses.
#pragma once

#include <cstdint>
#include <string_view>

namespace isoflop {

inline constexpr std::uint64_t kFnvStart = 0xCBF29CE484222325;

[[nodiscard]] constexpr std::uint64_t fnv1a(std::string_view bytes,
                                            std::uint64_t hash = kFnvStart) {
    for (const char byte : bytes) {
        hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001B3;
    }
    return hash;
}

}  // namespace isoflop
