#include "isoflop/device/planned_memory.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <stdexcept>

namespace isoflop::device {

PlannedMemory::PlannedMemory(cost::MemoryPlan plan, const cost::Execution& execution,
                             Device& device)
    : plan_(std::move(plan)), execution_(execution), arena_(device, plan_.arena_bytes) {}

const cost::Buffer& PlannedMemory::buffer(cost::BufferId id) const {
    const cost::Buffer* const found = plan_.find(id);
    if (found != nullptr) return *found;
    throw std::logic_error(fmt::format("memory plan: no buffer '{}'", cost::buffer_kind(id).name));
}

DType PlannedMemory::dtype(std::string_view name, cost::ElementKind elements) const {
    const std::optional<DType> dtype = cost::element_dtype(elements, execution_);
    if (dtype) return *dtype;
    throw std::logic_error(fmt::format("memory plan: buffer '{}' holds no tensors", name));
}

std::byte* PlannedMemory::hand_out(std::uint64_t offset, std::uint64_t bytes) const {
    high_water_bytes_ = std::max(high_water_bytes_, offset + bytes);
    return arena_.data() + offset;
}

std::byte* PlannedMemory::locate(cost::BufferId id, std::int64_t index, std::uint64_t bytes) const {
    const cost::Buffer& planned = buffer(id);
    const std::int64_t copy = planned.lifetime == cost::Lifetime::working ? 0 : index;
    if (copy < 0 || copy >= planned.count || bytes > planned.bytes_each) {
        throw std::logic_error(fmt::format(
            "memory plan: buffer '{}' has {} copies of {} bytes; asked for {} bytes of copy {}",
            planned.name(), planned.count, planned.bytes_each, bytes, copy));
    }
    return hand_out(planned.offset + static_cast<std::uint64_t>(copy) * planned.bytes_each, bytes);
}

TensorView PlannedMemory::tensor(cost::BufferId id, std::int64_t index,
                                 std::initializer_list<std::int64_t> shape) const {
    const cost::BufferKind& kind = cost::buffer_kind(id);
    const TensorView wanted(nullptr, dtype(kind.name, kind.elements), shape);
    return {locate(id, index, wanted.bytes()), wanted.dtype(), shape};
}

std::span<std::int32_t> PlannedMemory::token_ids(std::int64_t index) const {
    const auto tokens = static_cast<std::size_t>(execution_.tokens());
    std::byte* const ids = locate(cost::BufferId::token_ids, index, tokens * sizeof(std::int32_t));
    return {reinterpret_cast<std::int32_t*>(ids), tokens};
}

std::span<std::byte> PlannedMemory::bytes_of(cost::BufferId id) const {
    const cost::Buffer& planned = buffer(id);
    return {hand_out(planned.offset, planned.bytes()), planned.bytes()};
}

TensorView PlannedMemory::flat_state(cost::BufferId id) const {
    const cost::BufferKind& kind = cost::buffer_kind(id);
    return flat([id](const cost::Buffer& buffer) { return buffer.id == id; }, kind.name,
                kind.elements);
}

TensorView PlannedMemory::optimizer_state(const cost::OptimizerTensor& tensor) const {
    const auto is_part = [&tensor](const cost::Buffer& buffer) {
        return buffer.optimizer_tensor == &tensor;
    };
    if (std::none_of(plan_.buffers.begin(), plan_.buffers.end(), is_part)) return {};
    return flat(is_part, tensor.name, tensor.elements);
}

TensorView PlannedMemory::flat(const std::function<bool(const cost::Buffer&)>& is_part,
                               std::string_view name, cost::ElementKind elements) const {
    std::uint64_t start = 0;
    std::uint64_t bytes = 0;
    for (const cost::Buffer& part : plan_.buffers) {
        if (!is_part(part)) continue;
        if (bytes == 0) start = part.offset;
        if (part.offset != start + bytes)
            throw std::logic_error(fmt::format("memory plan: '{}' is not contiguous", name));
        bytes += part.bytes();
    }
    if (bytes == 0) throw std::logic_error(fmt::format("memory plan: no buffer '{}'", name));
    const DType type = dtype(name, elements);
    return {hand_out(start, bytes), type, {static_cast<std::int64_t>(bytes / size_in_bytes(type))}};
}

}  // namespace isoflop::device
