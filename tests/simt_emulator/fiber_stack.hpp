// A stack with an unreadable page below it, so that an overflow stops at once instead of damaging a
// neighbour.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstddef>
#include <new>

namespace isoflop::emulator {

class FiberStack {
public:
    explicit FiberStack(std::size_t bytes)
        : guard_bytes_(static_cast<std::size_t>(sysconf(_SC_PAGESIZE))), bytes_(bytes) {
        void* memory = mmap(nullptr, guard_bytes_ + bytes_, PROT_READ | PROT_WRITE,
                            MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_STACK, -1, 0);
        if (memory == MAP_FAILED) throw std::bad_alloc();
        memory_ = static_cast<std::byte*>(memory);
        mprotect(memory_, guard_bytes_, PROT_NONE);
    }
    ~FiberStack() { munmap(memory_, guard_bytes_ + bytes_); }
    FiberStack(const FiberStack&) = delete;
    FiberStack& operator=(const FiberStack&) = delete;

    [[nodiscard]] std::byte* bottom() const { return memory_ + guard_bytes_; }
    [[nodiscard]] std::byte* top() const { return bottom() + bytes_; }
    [[nodiscard]] std::size_t bytes() const { return bytes_; }

private:
    std::byte* memory_ = nullptr;
    std::size_t guard_bytes_;
    std::size_t bytes_;
};

}  // namespace isoflop::emulator
