#include <fmt/format.h>

#include <bit>
#include <cstring>
#include <stdexcept>
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

std::string_view header_of(std::span<const std::byte> file, const std::filesystem::path& path) {
    if (file.size() < kLengthBytes) {
        throw IoError(fmt::format("'{}' is not a valid safetensors file: it has {} bytes",
                                  path.string(), file.size()));
    }
    std::uint64_t length = 0;
    std::memcpy(&length, file.data(), sizeof length);
    if (length > kMaxHeaderBytes || length > file.size() - kLengthBytes) {
        throw IoError(fmt::format(
            "'{}' is not a valid safetensors file: its header claims {} bytes and {} follow "
            "(truncated, or another format)",
            path.string(), length, file.size() - kLengthBytes));
    }
    return {reinterpret_cast<const char*>(file.data() + kLengthBytes),
            static_cast<std::size_t>(length)};
}

/// Values in a file need not be aligned.
template <class Stored, class T, class Convert>
void convert_range(std::span<const std::byte> stored, std::span<T> values, Convert convert) {
    for (std::size_t i = 0; i < values.size(); ++i) {
        Stored element{};
        std::memcpy(&element, stored.data() + i * sizeof(Stored), sizeof(Stored));
        values[i] = static_cast<T>(convert(element));
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
    explicit State(const std::filesystem::path& file_path) : path(file_path), file(file_path) {
        const std::string_view text = header_of(file.bytes(), path);
        data = file.bytes().subspan(kLengthBytes + text.size());
        header = parse_header(text, data.size(), path);
        for (const TensorEntry& tensor : header.tensors) by_name.emplace(tensor.name, &tensor);
    }

    std::filesystem::path path;
    MappedFile file;
    std::span<const std::byte> data = {};
    Header header = {};
    std::unordered_map<std::string_view, const TensorEntry*> by_name = {};

    template <class T>
    void read(const TensorEntry& tensor, std::int64_t first, std::span<T> values) const {
        const auto elements = static_cast<std::uint64_t>(tensor.elements());
        const auto begin = static_cast<std::uint64_t>(first);
        if (first < 0 || begin > elements || values.size() > elements - begin) {
            throw std::out_of_range(fmt::format("tensor '{}' of '{}': elements {} to {} of {}",
                                                tensor.name, path.string(), first,
                                                begin + values.size(), elements));
        }
        if (values.empty()) return;
        const std::uint64_t width = size_in_bytes(tensor.type);
        const auto stored = data.subspan(tensor.begin + begin * width, values.size() * width);
        switch (tensor.type) {
            case ElementType::f64:
                return convert_range<double>(stored, values, [](double x) { return x; });
            case ElementType::f32:
                return convert_range<float>(stored, values, [](float x) { return x; });
            case ElementType::bf16:
                return convert_range<std::uint16_t>(stored, values, bfloat16_to_float);
            case ElementType::f16:
                return convert_range<std::uint16_t>(stored, values, float16_to_float);
            default:
                throw IoError(
                    fmt::format("tensor '{}' of '{}' holds {}; floating-point values are needed",
                                tensor.name, path.string(), to_string(tensor.type)));
        }
    }
};

SafetensorsFile::SafetensorsFile(const std::filesystem::path& path)
    : state_(std::make_unique<State>(path)) {}
SafetensorsFile::~SafetensorsFile() = default;
SafetensorsFile::SafetensorsFile(SafetensorsFile&&) noexcept = default;
SafetensorsFile& SafetensorsFile::operator=(SafetensorsFile&&) noexcept = default;

const std::filesystem::path& SafetensorsFile::path() const {
    return state_->path;
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

std::span<const std::byte> SafetensorsFile::bytes(const TensorEntry& tensor) const {
    return state_->data.subspan(tensor.begin, tensor.end - tensor.begin);
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
