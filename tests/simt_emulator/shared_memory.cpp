#include "simt_emulator/shared_memory.hpp"

#include <algorithm>

namespace isoflop::emulator {
namespace {

constexpr std::size_t array_alignment = 128;

std::size_t aligned(std::size_t bytes) {
    return (bytes + array_alignment - 1) / array_alignment * array_alignment;
}

}  // namespace

const SharedRegion& SharedMemory::declare(const void* key, const std::string& name,
                                          std::size_t bytes) {
    for (const SharedRegion& array : arrays_) {
        if (array.key == key) return array;
    }
    const std::size_t begin =
        arrays_.empty() ? red_zone_bytes
                        : aligned(arrays_.back().begin + arrays_.back().bytes) + red_zone_bytes;
    used_bytes_ += bytes;
    const std::size_t end = aligned(begin + bytes) + red_zone_bytes;
    if (bytes_.empty()) bytes_.resize(begin, std::byte{red_zone});
    bytes_.resize(end, std::byte{red_zone});
    std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(begin), bytes, std::byte{poison});
    shadow_.grow(end);
    return arrays_.emplace_back(SharedRegion{name, begin, bytes, key});
}

const SharedRegion& SharedMemory::part(const SharedRegion& whole, std::size_t begin,
                                       std::size_t bytes) {
    for (const SharedRegion& known : parts_) {
        if (known.begin == whole.begin + begin && known.bytes == bytes && known.key == whole.key) {
            return known;
        }
    }
    const std::string name =
        whole.name + "[bytes " + std::to_string(begin) + "..+" + std::to_string(bytes) + "]";
    return parts_.emplace_back(SharedRegion{name, whole.begin + begin, bytes, whole.key});
}

void SharedMemory::start_block(int warps) {
    for (const SharedRegion& array : arrays_) {
        std::fill_n(bytes_.begin() + static_cast<std::ptrdiff_t>(array.begin), array.bytes,
                    std::byte{poison});
    }
    shadow_.start_block(warps);
}

const std::string* SharedMemory::damaged() const {
    std::size_t zone_begin = 0;
    for (std::size_t i = 0; i <= arrays_.size(); ++i) {
        const bool last = i == arrays_.size();
        const std::size_t zone_end = last ? bytes_.size() : arrays_[i].begin;
        for (std::size_t byte = zone_begin; byte < zone_end; ++byte) {
            if (bytes_[byte] != std::byte{red_zone}) return &arrays_[last ? i - 1 : i].name;
        }
        if (!last) zone_begin = arrays_[i].begin + arrays_[i].bytes;
    }
    return nullptr;
}

}  // namespace isoflop::emulator
