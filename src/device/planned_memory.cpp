#include "isoflop/device/planned_memory.hpp"

#include <fmt/format.h>

#include <stdexcept>

namespace isoflop::device {

PlannedMemory::PlannedMemory(cost::MemoryPlan plan, const cost::Execution& execution,
                             Device& device)
    : plan_(std::move(plan)),
      storage_(execution.storage_dtype()),
      statistics_(execution.statistics_dtype()),
      arena_(device, plan_.arena_bytes) {}

std::byte* PlannedMemory::locate(std::string_view name, std::int64_t index,
                                 std::uint64_t bytes) const {
    const cost::Buffer* buffer = plan_.find(name);
    if (buffer == nullptr) throw std::logic_error(fmt::format("memory plan: no buffer '{}'", name));
    const std::int64_t copy = buffer->lifetime == cost::Lifetime::working ? 0 : index;
    if (copy < 0 || copy >= buffer->count || bytes > buffer->bytes_each) {
        throw std::logic_error(fmt::format(
            "memory plan: buffer '{}' has {} copies of {} bytes; asked for {} bytes of copy {}",
            name, buffer->count, buffer->bytes_each, bytes, copy));
    }
    return arena_.data() + buffer->offset + static_cast<std::uint64_t>(copy) * buffer->bytes_each;
}

TensorView PlannedMemory::view(std::string_view name, std::int64_t index, DType dtype,
                               std::initializer_list<std::int64_t> shape) const {
    const TensorView wanted(nullptr, dtype, shape);
    return {locate(name, index, wanted.bytes()), dtype, shape};
}

TensorView PlannedMemory::tensor(std::string_view name, std::int64_t index,
                                 std::initializer_list<std::int64_t> shape) const {
    return view(name, index, storage_, shape);
}

TensorView PlannedMemory::statistics(std::string_view name, std::int64_t index,
                                     std::initializer_list<std::int64_t> shape) const {
    return view(name, index, statistics_, shape);
}

std::int32_t* PlannedMemory::token_ids(std::int64_t index) const {
    return reinterpret_cast<std::int32_t*>(locate("token_ids", index, 0));
}

std::span<std::byte> PlannedMemory::bytes_of(std::string_view name) const {
    const cost::Buffer* buffer = plan_.find(name);
    return {locate(name, 0, 0), buffer->bytes()};
}

TensorView PlannedMemory::flat_state(std::string_view name, DType dtype) const {
    std::uint64_t bytes = 0;
    std::uint64_t start = 0;
    for (const cost::Buffer& buffer : plan_.buffers) {
        if (buffer.name != name) continue;
        if (bytes == 0) start = buffer.offset;
        if (buffer.offset != start + bytes) {
            throw std::logic_error(fmt::format("memory plan: '{}' is not contiguous", name));
        }
        bytes += buffer.bytes();
    }
    return {
        arena_.data() + start, dtype, {static_cast<std::int64_t>(bytes / size_in_bytes(dtype))}};
}

}  // namespace isoflop::device
