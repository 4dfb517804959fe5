// The JSON header of a safetensors file, both ways.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/checkpoint/safetensors.hpp"

namespace isoflop::checkpoint {

/// The reference implementation refuses longer headers as well.
inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;
inline constexpr std::uint64_t kLengthBytes = 8;

/// Length and JSON, padded with spaces so that the values begin at a multiple of 8. Throws
/// std::logic_error for duplicate names.
[[nodiscard]] std::string header_text(std::span<const TensorEntry> tensors,
                                      const Metadata& metadata);

struct Header {
    std::vector<TensorEntry> tensors;  ///< by offset
    Metadata metadata;
};

/// `data_bytes`: what follows the header in the file. Throws IoError naming `path`.
[[nodiscard]] Header parse_header(std::string_view json, std::uint64_t data_bytes,
                                  const std::filesystem::path& path);

/// Product of the extents times the element size; false when it does not fit 63 bits.
[[nodiscard]] bool count_elements(std::span<const std::int64_t> shape, std::uint64_t& elements);

}  // namespace isoflop::checkpoint
