// Owned memory of a GPU, and pinned memory of the host, which copies reach without the driver's
// own staging.
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>

namespace isoflop::device::cuda {

/// cudaMalloc. Throws Error with ExitCode::out_of_memory, naming the size and what is free.
[[nodiscard]] std::byte* allocate_device(std::uint64_t bytes);
/// cudaMallocHost, likewise.
[[nodiscard]] std::byte* allocate_pinned(std::uint64_t bytes);
void free_device(std::byte* memory) noexcept;
void free_pinned(std::byte* memory) noexcept;

template <std::byte* (*allocate)(std::uint64_t), void (*release)(std::byte*) noexcept>
class Memory {
public:
    explicit Memory(std::uint64_t bytes) : data_(allocate(bytes)), size_(bytes) {}
    ~Memory() {
        if (data_ != nullptr) release(data_);
    }
    Memory(Memory&& other) noexcept
        : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}
    Memory& operator=(Memory&&) = delete;
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }

private:
    std::byte* data_ = nullptr;
    std::uint64_t size_ = 0;
};

using DeviceMemory = Memory<allocate_device, free_device>;
using PinnedMemory = Memory<allocate_pinned, free_pinned>;

}  // namespace isoflop::device::cuda
