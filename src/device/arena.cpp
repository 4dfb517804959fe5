// mmap rather than malloc: zeroed without being touched, and the kernel may back it with huge
// pages, which matters to products that walk hundreds of megabytes.
#include "isoflop/device/arena.hpp"

#include <fmt/format.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstring>
#include <limits>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::device {
namespace {

[[noreturn]] void refuse(std::uint64_t bytes, const char* reason) {
    throw Error(ExitCode::out_of_memory,
                fmt::format("cannot allocate {} ({} bytes): {}",
                            human_bytes(static_cast<double>(bytes)), bytes, reason));
}

}  // namespace

std::byte* map_memory(std::uint64_t bytes) {
    if (bytes == 0) return nullptr;
    if (bytes > static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max())) {
        refuse(bytes, "larger than the address space");
    }
    void* mapping =
        mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (mapping == MAP_FAILED) refuse(bytes, std::strerror(errno));
#ifdef MADV_HUGEPAGE
    // A hint: a kernel without huge pages refuses it and uses small pages.
    static_cast<void>(madvise(mapping, bytes, MADV_HUGEPAGE));
#endif
    return static_cast<std::byte*>(mapping);
}

void unmap_memory(std::byte* memory, std::uint64_t bytes) noexcept {
    if (memory != nullptr) munmap(memory, bytes);
}

Arena::Arena(std::uint64_t bytes) : data_(map_memory(bytes)), size_(bytes) {}

Arena::~Arena() {
    unmap_memory(data_, size_);
}

Arena::Arena(Arena&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

Arena& Arena::operator=(Arena&& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(size_, other.size_);
    return *this;
}

}  // namespace isoflop::device
