// The buffers of a MemoryPlan as tensors in one arena: the planner's list is the allocation.
#pragma once

#include <cstddef>
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
    /// Allocates plan.arena_bytes, zero-filled, in one piece of the device's memory. The device must
    /// outlive this.
    PlannedMemory(cost::MemoryPlan plan, const cost::Execution& execution,
                  Device& device = host_device());

    /// Tensor of `shape` at the start of the named buffer; of its `index`-th copy where there is
    /// one per layer (a buffer of the working set has one copy, which every index means). Throws
    /// std::logic_error when the plan has no such buffer or the shape needs more bytes than were
    /// planned.
    [[nodiscard]] TensorView tensor(std::string_view name, std::int64_t index,
                                    std::initializer_list<std::int64_t> shape) const;
    /// The same with the type of norm statistics, lse and moments.
    [[nodiscard]] TensorView statistics(std::string_view name, std::int64_t index,
                                        std::initializer_list<std::int64_t> shape) const;
    /// int32 token ids and targets.
    [[nodiscard]] std::int32_t* token_ids(std::int64_t index) const;
    /// All copies of all buffers of this name, which lie behind each other: the flat weights,
    /// gradients, moments.
    [[nodiscard]] TensorView flat_state(std::string_view name, DType dtype) const;

    /// The bytes of a buffer that is no tensor.
    [[nodiscard]] std::span<std::byte> bytes_of(std::string_view name) const;

    [[nodiscard]] bool has(std::string_view name) const { return plan_.find(name) != nullptr; }
    [[nodiscard]] const cost::MemoryPlan& plan() const { return plan_; }
    [[nodiscard]] std::uint64_t bytes() const { return plan_.arena_bytes; }

private:
    [[nodiscard]] std::byte* locate(std::string_view name, std::int64_t index,
                                    std::uint64_t bytes) const;
    [[nodiscard]] TensorView view(std::string_view name, std::int64_t index, DType dtype,
                                  std::initializer_list<std::int64_t> shape) const;
    cost::MemoryPlan plan_;
    DType storage_;
    DType statistics_;
    DeviceBuffer arena_;
};

}  // namespace isoflop::device
