// The safetensors file format (https://huggingface.co/docs/safetensors): an 8-byte little-endian
// header length, a JSON header {"name": {"dtype", "shape", "data_offsets": [begin, end]},
// "__metadata__": {...}}, then the tensors, row-major and without gaps. Files are written in one
// pass.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/dtype.hpp"
#include "isoflop/base/enum_names.hpp"

namespace isoflop::checkpoint {

/// Element types of the format. All types are validated; values can be read and written for the
/// floating-point types.
enum class ElementType {
    f64,
    f32,
    f16,
    bf16,
    i64,
    i32,
    i16,
    i8,
    u64,
    u32,
    u16,
    u8,
    boolean,
    f8_e4m3,
    f8_e5m2
};

[[nodiscard]] std::uint64_t size_in_bytes(ElementType type);
/// How a tensor of the trainer is stored: float32 and tf32 as f32, bfloat16 as bf16, ... Throws
/// std::logic_error for types that the trainer never stores.
[[nodiscard]] ElementType element_type(DType dtype);

struct TensorDeclaration {
    std::string name;
    ElementType type = ElementType::f32;
    std::vector<std::int64_t> shape;  ///< empty: one value
};

/// The number of elements; throws std::logic_error for a negative extent or a product beyond 2^63.
[[nodiscard]] std::uint64_t element_count(std::span<const std::int64_t> shape);

using Metadata = std::map<std::string, std::string>;

/// Content of a finished file, for a manifest.
struct FileSummary {
    std::uint64_t bytes = 0;
    std::uint32_t checksum = 0;  ///< CRC-32C of the whole file
};

/// Writes a file from first to last byte: all tensors are declared, then their values follow in
/// that order, in pieces of any size. Until finish() the file is called `<path>.writing`; an
/// abandoned writer removes it. Throws IoError naming the file when the disk is full or a write
/// fails.
class SafetensorsWriter {
public:
    SafetensorsWriter(std::filesystem::path path, const std::vector<TensorDeclaration>& tensors,
                      const Metadata& metadata = {});
    ~SafetensorsWriter();
    SafetensorsWriter(const SafetensorsWriter&) = delete;
    SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

    /// The next elements, rounded to the type of the tensor they belong to. A piece may not reach
    /// into the next tensor (std::logic_error), so that wrong sizes of a caller are found at the
    /// tensor where they occur.
    void write(std::span<const float> values);
    /// The next elements in their stored form.
    void write_bytes(std::span<const std::byte> bytes);
    /// Flushes to the disk (fsync) and gives the file its name. Throws std::logic_error when values
    /// are missing.
    FileSummary finish();

private:
    struct State;
    std::unique_ptr<State> state_;
};

struct TensorEntry {
    std::string name;
    ElementType type = ElementType::f32;
    std::vector<std::int64_t> shape;
    std::uint64_t begin = 0;  ///< first byte, counted from the end of the header
    std::uint64_t end = 0;

    [[nodiscard]] std::int64_t elements() const {
        return static_cast<std::int64_t>((end - begin) / size_in_bytes(type));
    }
};

/// A file opened for reading. The constructor validates all data except the values: header length,
/// JSON, unknown types, sizes that disagree with shapes, gaps, overlaps, offsets out of range,
/// duplicate names. Throws IoError naming the file.
class SafetensorsFile {
public:
    explicit SafetensorsFile(const std::filesystem::path& path);
    ~SafetensorsFile();
    SafetensorsFile(SafetensorsFile&&) noexcept;
    SafetensorsFile& operator=(SafetensorsFile&&) noexcept;

    [[nodiscard]] const std::filesystem::path& path() const;
    [[nodiscard]] const std::vector<TensorEntry>& tensors() const;  ///< in file order
    [[nodiscard]] const Metadata& metadata() const;
    [[nodiscard]] const TensorEntry* find(std::string_view name) const;  ///< nullptr when absent
    /// Bytes first, first + 1, ... of the tensor as it is stored. Throws std::out_of_range when
    /// they do not fit.
    void read_bytes(const TensorEntry& tensor, std::uint64_t first,
                    std::span<std::byte> bytes) const;

    /// Elements [first, first + values.size()) converted to the type asked for. Throws IoError when
    /// the tensor is not floating point, std::out_of_range when the range does not fit.
    void read(const TensorEntry& tensor, std::int64_t first, std::span<float> values) const;
    void read(const TensorEntry& tensor, std::int64_t first, std::span<double> values) const;

private:
    struct State;
    std::unique_ptr<State> state_;
};

}  // namespace isoflop::checkpoint

namespace isoflop {
template <>
inline constexpr auto enum_names<checkpoint::ElementType> =
    std::to_array<EnumName<checkpoint::ElementType>>({{checkpoint::ElementType::f64, "F64"},
                                                      {checkpoint::ElementType::f32, "F32"},
                                                      {checkpoint::ElementType::f16, "F16"},
                                                      {checkpoint::ElementType::bf16, "BF16"},
                                                      {checkpoint::ElementType::i64, "I64"},
                                                      {checkpoint::ElementType::i32, "I32"},
                                                      {checkpoint::ElementType::i16, "I16"},
                                                      {checkpoint::ElementType::i8, "I8"},
                                                      {checkpoint::ElementType::u64, "U64"},
                                                      {checkpoint::ElementType::u32, "U32"},
                                                      {checkpoint::ElementType::u16, "U16"},
                                                      {checkpoint::ElementType::u8, "U8"},
                                                      {checkpoint::ElementType::boolean, "BOOL"},
                                                      {checkpoint::ElementType::f8_e4m3, "F8_E4M3"},
                                                      {checkpoint::ElementType::f8_e5m2,
                                                       "F8_E5M2"}});
}  // namespace isoflop
