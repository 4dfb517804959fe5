// Anonymous mappings: the memory of the CPU as a device, and of packed matrices.
#pragma once

#include <cstddef>
#include <cstdint>

namespace isoflop::device {

/// Zero-filled, page-aligned memory from mmap; nullptr for 0 bytes. Throws Error with
/// ExitCode::out_of_memory, naming the size, when the system refuses.
[[nodiscard]] std::byte* map_memory(std::uint64_t bytes);
void unmap_memory(std::byte* memory, std::uint64_t bytes) noexcept;

/// Owns memory of map_memory; pages are taken when first touched. Huge pages are asked for.
class Arena {
public:
    /// Throws Error with ExitCode::out_of_memory, naming the size, when the system refuses.
    explicit Arena(std::uint64_t bytes);
    ~Arena();
    Arena(Arena&& other) noexcept;
    Arena& operator=(Arena&& other) noexcept;
    Arena(const Arena&) = delete;
    Arena& operator=(const Arena&) = delete;

    [[nodiscard]] std::byte* data() const { return data_; }
    [[nodiscard]] std::uint64_t size() const { return size_; }

private:
    std::byte* data_ = nullptr;
    std::uint64_t size_ = 0;
};

}  // namespace isoflop::device
