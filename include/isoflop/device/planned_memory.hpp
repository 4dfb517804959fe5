// The buffers of a MemoryPlan as tensors in one arena, which is allocated as the planner has listed
// them. What the plan estimates (contexts and workspaces of libraries) is not in it.
#pragma once

#include <cstddef>
#include <functional>
#include <initializer_list>
#include <span>
#include <string_view>

#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::device {

class PlannedMemory {
public:
    /// Allocates plan.arena_bytes, zero-filled, in one piece of the device's memory. The device
    /// must outlive this.
    PlannedMemory(cost::MemoryPlan plan, const cost::Execution& execution,
                  Device& device = host_device());

    /// Tensor of `shape`, and of the buffer's element type, at the start of a buffer; of its
    /// `index`-th copy where there is one per layer (a buffer of the working set has one copy,
    /// which every index means). Throws std::logic_error when the plan has no such buffer, it holds
    /// no tensor elements, or the shape needs more bytes than were planned.
    [[nodiscard]] TensorView tensor(cost::BufferId id, std::int64_t index,
                                    std::initializer_list<std::int64_t> shape) const;
    /// All copies of all buffers of this id, which lie behind each other: the flat weights,
    /// gradients, moments.
    [[nodiscard]] TensorView flat_state(cost::BufferId id) const;
    /// The same for a state of the optimizer; empty where it covers no tensor of the model.
    [[nodiscard]] TensorView optimizer_state(const cost::OptimizerTensor& tensor) const;
    /// Token ids (index 0) and targets (1) of a micro-batch.
    [[nodiscard]] std::span<std::int32_t> token_ids(std::int64_t index) const;
    /// All copies of a buffer, as bytes.
    [[nodiscard]] std::span<std::byte> bytes_of(cost::BufferId id) const;

    [[nodiscard]] bool has(cost::BufferId id) const { return plan_.find(id) != nullptr; }
    [[nodiscard]] const cost::MemoryPlan& plan() const { return plan_; }
    [[nodiscard]] std::uint64_t bytes() const { return plan_.arena_bytes; }
    /// End of the furthest range that the functions above have returned: memory that is really in
    /// use, counted here and not taken from the plan.
    [[nodiscard]] std::uint64_t high_water_bytes() const { return high_water_bytes_; }

private:
    [[nodiscard]] const cost::Buffer& buffer(cost::BufferId id) const;
    [[nodiscard]] DType dtype(std::string_view name, cost::ElementKind elements) const;
    [[nodiscard]] TensorView flat(const std::function<bool(const cost::Buffer&)>& is_part,
                                  std::string_view name, cost::ElementKind elements) const;
    [[nodiscard]] std::byte* hand_out(std::uint64_t offset, std::uint64_t bytes) const;
    [[nodiscard]] std::byte* locate(cost::BufferId id, std::int64_t index,
                                    std::uint64_t bytes) const;
    cost::MemoryPlan plan_;
    cost::Execution execution_;
    DeviceBuffer arena_;
    mutable std::uint64_t high_water_bytes_ = 0;
};

}  // namespace isoflop::device
