#include <fmt/format.h>

#include <array>
#include <optional>
#include <stdexcept>

#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/half_precision.hpp"
#include "isoflop/checkpoint/safetensors.hpp"
#include "safetensors_header.hpp"

namespace isoflop::checkpoint {
namespace {

/// Checksum and write alternate over pieces that stay in the cache.
constexpr std::size_t kPieceBytes = std::size_t{1} << 20U;

std::vector<TensorEntry> place_tensors(const std::vector<TensorDeclaration>& declarations) {
    std::vector<TensorEntry> entries;
    entries.reserve(declarations.size());
    std::uint64_t next = 0;
    for (const TensorDeclaration& tensor : declarations) {
        if (next % size_in_bytes(tensor.type) != 0) {
            throw std::logic_error(
                fmt::format("safetensors: declare wider types before '{}'", tensor.name));
        }
        const std::uint64_t end = next + element_count(tensor.shape) * size_in_bytes(tensor.type);
        entries.push_back({.name = tensor.name,
                           .type = tensor.type,
                           .shape = tensor.shape,
                           .begin = next,
                           .end = end});
        next = end;
    }
    return entries;
}

}  // namespace

struct SafetensorsWriter::State {
    std::filesystem::path path;
    std::vector<TensorEntry> tensors;
    std::size_t current = 0;     ///< tensor that is being written
    std::uint64_t position = 0;  ///< bytes of values written
    FileSummary summary = {};
    std::optional<NewFile> file = std::nullopt;

    void put(std::span<const std::byte> bytes) {
        while (!bytes.empty()) {
            const auto piece = bytes.first(std::min(bytes.size(), kPieceBytes));
            summary.checksum = crc32c(piece, summary.checksum);
            file.value().append(piece);
            summary.bytes += piece.size();
            bytes = bytes.subspan(piece.size());
        }
    }

    void skip_complete() {
        while (current < tensors.size() && position == tensors[current].end) ++current;
    }

    /// The tensor that the next `elements` belong to.
    const TensorEntry& tensor_for(std::size_t elements) {
        if (current == tensors.size()) {
            throw std::logic_error(
                fmt::format("safetensors: '{}' has all its values", path.string()));
        }
        const TensorEntry& tensor = tensors[current];
        if (elements > (tensor.end - position) / size_in_bytes(tensor.type)) {
            throw std::logic_error(
                fmt::format("safetensors: too many values for '{}'", tensor.name));
        }
        return tensor;
    }

    void put_values(std::span<const std::byte> bytes) {
        put(bytes);
        position += bytes.size();
        skip_complete();
    }

    template <class Stored, class Convert>
    void put_converted(std::span<const float> values, Convert convert) {
        std::array<Stored, 4096> buffer{};
        while (!values.empty()) {
            const auto part = values.first(std::min(values.size(), buffer.size()));
            for (std::size_t i = 0; i < part.size(); ++i) buffer[i] = convert(part[i]);
            put_values(std::as_bytes(std::span<const Stored>(buffer).first(part.size())));
            values = values.subspan(part.size());
        }
    }
};

SafetensorsWriter::SafetensorsWriter(std::filesystem::path path,
                                     const std::vector<TensorDeclaration>& tensors,
                                     const Metadata& metadata)
    : state_(std::make_unique<State>()) {
    state_->path = std::move(path);
    state_->tensors = place_tensors(tensors);
    const std::string header = header_text(state_->tensors, metadata);
    state_->file.emplace(state_->path);
    state_->put(std::as_bytes(std::span(header)));
    state_->skip_complete();
}

SafetensorsWriter::~SafetensorsWriter() = default;

void SafetensorsWriter::write(std::span<const float> values) {
    if (values.empty()) return;
    switch (const TensorEntry& tensor = state_->tensor_for(values.size()); tensor.type) {
        case ElementType::f32: return state_->put_values(std::as_bytes(values));
        case ElementType::bf16:
            return state_->put_converted<std::uint16_t>(values, float_to_bfloat16);
        case ElementType::f16:
            return state_->put_converted<std::uint16_t>(values, float_to_float16);
        case ElementType::f64:
            return state_->put_converted<double>(
                values, [](float value) { return static_cast<double>(value); });
        default:
            throw std::logic_error(
                fmt::format("safetensors: '{}' is not floating point", tensor.name));
    }
}

void SafetensorsWriter::write_bytes(std::span<const std::byte> bytes) {
    if (bytes.empty()) return;
    const TensorEntry& tensor = state_->tensor_for(0);
    const std::uint64_t width = size_in_bytes(tensor.type);
    if (bytes.size() % width != 0) {
        throw std::logic_error(
            fmt::format("safetensors: a part of an element of '{}'", tensor.name));
    }
    static_cast<void>(state_->tensor_for(bytes.size() / width));
    state_->put_values(bytes);
}

FileSummary SafetensorsWriter::finish() {
    if (state_->current != state_->tensors.size()) {
        throw std::logic_error(fmt::format("safetensors: values of '{}' are missing",
                                           state_->tensors[state_->current].name));
    }
    state_->file.value().commit();
    return state_->summary;
}

}  // namespace isoflop::checkpoint
