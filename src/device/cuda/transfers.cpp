#include "device/cuda/transfers.hpp"

#include <algorithm>
#include <cstring>

namespace isoflop::device::cuda {
namespace {

constexpr std::uint64_t kAlignment = 256;
constexpr std::size_t kMostParts = 256;

void copy_async(void* to, const void* from, std::uint64_t bytes, cudaMemcpyKind kind,
                const Stream& stream) {
    check(cudaMemcpyAsync(to, from, bytes, kind, stream.get()), "cudaMemcpyAsync");
}

}  // namespace

Uploads::Uploads(const Stream& compute)
    : compute_(compute), pinned_(kRingBytes), staging_(kRingBytes) {}

Uploads::~Uploads() {
    // The rings must outlive the copies from them.
    ignore(cudaStreamSynchronize(stream_.get()));
    ignore(cudaStreamSynchronize(compute_.get()));
}

void Uploads::copy(void* device, const void* host, std::uint64_t bytes) {
    if (bytes == 0) return;
    if (bytes <= kStagedBytes) {
        copy_staged(device, host, bytes);
        return;
    }
    for (std::uint64_t done = 0; done < bytes; done += kPieceBytes) {
        copy_piece(static_cast<std::byte*>(device) + done,
                   static_cast<const std::byte*>(host) + done, std::min(kPieceBytes, bytes - done));
    }
}

void Uploads::copy_staged(void* device, const void* host, std::uint64_t bytes) {
    const std::uint64_t begin = reserve(bytes);
    std::memcpy(pinned_.data() + begin, host, bytes);
    copy_async(staging_.data() + begin, pinned_.data() + begin, bytes, cudaMemcpyHostToDevice,
               stream_);
    arrived_.record(stream_);
    compute_.wait(arrived_.get());
    copy_async(device, staging_.data() + begin, bytes, cudaMemcpyDeviceToDevice, compute_);
    parts_.push_back({begin, begin + bytes, take_event()});
    parts_.back().consumed.record(compute_);
}

void Uploads::copy_piece(void* device, const void* host, std::uint64_t bytes) {
    const std::uint64_t begin = reserve(bytes);
    std::memcpy(pinned_.data() + begin, host, bytes);
    copy_async(device, pinned_.data() + begin, bytes, cudaMemcpyHostToDevice, compute_);
    parts_.push_back({begin, begin + bytes, take_event()});
    parts_.back().consumed.record(compute_);
}

std::uint64_t Uploads::reserve(std::uint64_t bytes) {
    std::uint64_t begin = (next_ + kAlignment - 1) / kAlignment * kAlignment;
    if (begin + bytes > kRingBytes) begin = 0;
    const auto overlaps = [&](const Part& part) {
        return part.begin < begin + bytes && begin < part.end;
    };
    // In order of age: a part is only free when those before it are.
    while (std::any_of(parts_.begin(), parts_.end(), overlaps)) release_oldest();
    if (parts_.size() >= kMostParts) release_oldest();
    next_ = begin + bytes;
    return begin;
}

void Uploads::release_oldest() {
    parts_.front().consumed.synchronize();
    spare_events_.push_back(std::move(parts_.front().consumed));
    parts_.pop_front();
}

Event Uploads::take_event() {
    if (spare_events_.empty()) return Event();
    Event event = std::move(spare_events_.back());
    spare_events_.pop_back();
    return event;
}

Downloads::Downloads(const Stream& compute)
    : compute_(compute),
      pieces_{Piece{PinnedMemory(Uploads::kPieceBytes), Event()},
              Piece{PinnedMemory(Uploads::kPieceBytes), Event()}} {}

void Downloads::copy(void* host, const void* device, std::uint64_t bytes) {
    const auto start = [&](std::uint64_t index) {
        const std::uint64_t done = index * Uploads::kPieceBytes;
        if (done >= bytes) return;
        const Piece& piece = pieces_[index % 2];
        copy_async(piece.memory.data(), static_cast<const std::byte*>(device) + done,
                   std::min(Uploads::kPieceBytes, bytes - done), cudaMemcpyDeviceToHost, compute_);
        piece.filled.record(compute_);
    };
    start(0);
    for (std::uint64_t index = 0; index * Uploads::kPieceBytes < bytes; ++index) {
        start(index + 1);
        const std::uint64_t done = index * Uploads::kPieceBytes;
        const Piece& piece = pieces_[index % 2];
        piece.filled.synchronize();
        std::memcpy(static_cast<std::byte*>(host) + done, piece.memory.data(),
                    std::min(Uploads::kPieceBytes, bytes - done));
    }
}

}  // namespace isoflop::device::cuda
