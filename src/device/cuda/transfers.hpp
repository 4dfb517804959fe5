// Copies between pageable memory of the host and a GPU.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "device/cuda/memory.hpp"
#include "device/cuda/runtime.hpp"

namespace isoflop::device::cuda {

/// To the GPU, in order with a compute stream and without waiting for it. Data is copied into a
/// ring of pinned memory. Small data, such as batches, are then copied over the bus on a separate
/// stream into a ring on the GPU, while the compute stream is busy with earlier work; the compute
/// stream only copies from there. Large data are copied to their place in pieces.
class Uploads {
public:
    explicit Uploads(const Stream& compute);
    ~Uploads();
    Uploads(const Uploads&) = delete;
    Uploads& operator=(const Uploads&) = delete;

    /// `host` may be reused on return.
    void copy(void* device, const void* host, std::uint64_t bytes);

    static constexpr std::uint64_t kRingBytes = 8ULL << 20U;
    /// Larger copies go in pieces of this size.
    static constexpr std::uint64_t kPieceBytes = 2ULL << 20U;
    static constexpr std::uint64_t kStagedBytes = 1ULL << 20U;

private:
    /// A part of the ring until `consumed` has happened on the compute stream.
    struct Part {
        std::uint64_t begin;
        std::uint64_t end;
        Event consumed;
    };
    /// Offset of free bytes in the ring; waits for the oldest parts where there are none.
    [[nodiscard]] std::uint64_t reserve(std::uint64_t bytes);
    void release_oldest();
    [[nodiscard]] Event take_event();
    void copy_staged(void* device, const void* host, std::uint64_t bytes);
    void copy_piece(void* device, const void* host, std::uint64_t bytes);

    const Stream& compute_;
    PinnedMemory pinned_;
    DeviceMemory staging_;
    Stream stream_;  ///< destroyed, and so drained, before the memory
    Event arrived_;
    std::deque<Part> parts_;  ///< oldest first
    std::vector<Event> spare_events_;
    std::uint64_t next_ = 0;
};

/// From the GPU, waiting. Two pinned pieces in turn: one is filled while the other is read.
class Downloads {
public:
    explicit Downloads(const Stream& compute);
    void copy(void* host, const void* device, std::uint64_t bytes);

private:
    struct Piece {
        PinnedMemory memory;
        Event filled;
    };
    const Stream& compute_;
    std::array<Piece, 2> pieces_;
};

}  // namespace isoflop::device::cuda
