#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <stdexcept>
#include <type_traits>
#include <unordered_map>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/half_precision.hpp"
#include "isoflop/checkpoint/safetensors.hpp"
#include "safetensors_header.hpp"

namespace isoflop::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the format is little-endian; so must the machine be");

std::string header_of(const RandomAccessFile& file) {
    if (file.size() < kLengthBytes) {
        throw IoError(fmt::format("'{}' is not a valid safetensors file: it has {} bytes",
                                  file.path().string(), file.size()));
    }
    std::uint64_t length = 0;
    file.read(0, std::as_writable_bytes(std::span(&length, 1)));
    if (length > kMaxHeaderBytes || length > file.size() - kLengthBytes) {
        throw IoError(fmt::format(
            "'{}' is not a valid safetensors file: its header claims {} bytes and {} follow "
            "(truncated, or another format)",
            file.path().string(), length, file.size() - kLengthBytes));
    }
    std::string header(static_cast<std::size_t>(length), '\0');
    file.read(kLengthBytes, std::as_writable_bytes(std::span(header)));
    return header;
}

constexpr std::size_t kPieceValues = std::size_t{1} << 15U;

/// Values from `offset` on, a piece at a time; of the type that is stored, straight into place.
template <class Stored, class T, class Convert>
void read_range(const RandomAccessFile& file, std::uint64_t offset, std::span<T> values,
                Convert convert) {
    if constexpr (std::is_same_v<Stored, T>) {
        file.read(offset, std::as_writable_bytes(values));
        return;
    }
    std::vector<Stored> stored(std::min(values.size(), kPieceValues));
    while (!values.empty()) {
        const auto piece = std::span(stored).first(std::min(values.size(), stored.size()));
        file.read(offset, std::as_writable_bytes(piece));
        for (std::size_t i = 0; i < piece.size(); ++i)
            values[i] = static_cast<T>(convert(piece[i]));
        values = values.subspan(piece.size());
        offset += piece.size_bytes();
    }
}

}  // namespace

std::uint64_t size_in_bytes(ElementType type) {
    switch (type) {
        case ElementType::f64:
        case ElementType::i64:
        case ElementType::u64: return 8;
        case ElementType::f32:
        case ElementType::i32:
        case ElementType::u32: return 4;
        case ElementType::f16:
        case ElementType::bf16:
        case ElementType::i16:
        case ElementType::u16: return 2;
        case ElementType::i8:
        case ElementType::u8:
        case ElementType::boolean:
        case ElementType::f8_e4m3:
        case ElementType::f8_e5m2: return 1;
    }
    return 1;
}

ElementType element_type(DType dtype) {
    switch (dtype) {
        case DType::float64: return ElementType::f64;
        case DType::float32:
        case DType::tf32: return ElementType::f32;
        case DType::bfloat16: return ElementType::bf16;
        case DType::float16: return ElementType::f16;
        default: throw std::logic_error("tensors of this type are not stored");
    }
}

std::uint64_t element_count(std::span<const std::int64_t> shape) {
    std::uint64_t elements = 0;
    if (!count_elements(shape, elements)) {
        throw std::logic_error(fmt::format("no such shape: [{}]", fmt::join(shape, ", ")));
    }
    return elements;
}

struct SafetensorsFile::State {
    explicit State(const std::filesystem::path& path) : file(path) {
        const std::string text = header_of(file);
        data_begin = kLengthBytes + text.size();
        header = parse_header(text, file.size() - data_begin, path);
        for (const TensorEntry& tensor : header.tensors) by_name.emplace(tensor.name, &tensor);
    }

    RandomAccessFile file;
    std::uint64_t data_begin = 0;
    Header header = {};
    std::unordered_map<std::string_view, const TensorEntry*> by_name = {};

    template <class T>
    void read(const TensorEntry& tensor, std::int64_t first, std::span<T> values) const {
        const auto elements = static_cast<std::uint64_t>(tensor.elements());
        const auto begin = static_cast<std::uint64_t>(first);
        if (first < 0 || begin > elements || values.size() > elements - begin) {
            throw std::out_of_range(fmt::format("tensor '{}' of '{}': elements {} to {} of {}",
                                                tensor.name, file.path().string(), first,
                                                begin + values.size(), elements));
        }
        if (values.empty()) return;
        const std::uint64_t offset = data_begin + tensor.begin + begin * size_in_bytes(tensor.type);
        switch (tensor.type) {
            case ElementType::f64:
                return read_range<double>(file, offset, values, [](double x) { return x; });
            case ElementType::f32:
                return read_range<float>(file, offset, values, [](float x) { return x; });
            case ElementType::bf16:
                return read_range<std::uint16_t>(file, offset, values, bfloat16_to_float);
            case ElementType::f16:
                return read_range<std::uint16_t>(file, offset, values, float16_to_float);
            default:
                throw IoError(
                    fmt::format("tensor '{}' of '{}' holds {}; floating-point values are needed",
                                tensor.name, file.path().string(), to_string(tensor.type)));
        }
    }
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : state_(std::make_unique<State>(path)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::filesystem::path& SafetensorsFile::path() const {
    return state_->file.path();
}

const std::vector<TensorEntry>& SafetensorsFile::tensors() const {
    return state_->header.tensors;
}

const Metadata& SafetensorsFile::metadata() const {
    return state_->header.metadata;
}

const TensorEntry* SafetensorsFile::find(std::string_view name) const {
    const auto found = state_->by_name.find(name);
    return found == state_->by_name.end() ? nullptr : found->second;
}

void SafetensorsFile::read_bytes(const TensorEntry& tensor, std::uint64_t first,
                                 std::span<std::byte> bytes) const {
    const std::uint64_t held = tensor.end - tensor.begin;
    if (first > held || bytes.size() > held - first) {
        throw std::out_of_range(fmt::format("tensor '{}' of '{}': bytes {} to {} of {}",
                                            tensor.name, path().string(), first,
                                            first + bytes.size(), held));
    }
    state_->file.read(state_->data_begin + tensor.begin + first, bytes);
}

void SafetensorsFile::read(const TensorEntry& tensor, std::int64_t first,
                           std::span<float> values) const {
    state_->read(tensor, first, values);
}

void SafetensorsFile::read(const TensorEntry& tensor, std::int64_t first,
                           std::span<double> values) const {
    state_->read(tensor, first, values);
}

}  // namespace isoflop::checkpoint
