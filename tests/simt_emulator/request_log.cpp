#include "simt_emulator/request_log.hpp"

#include <algorithm>
#include <map>

namespace isoflop::emulator {
namespace {

constexpr std::uint64_t sector_bytes = 32;
constexpr std::uint64_t word_bytes = 4;
constexpr std::uint64_t banks = 32;

/// How many different values `accesses` touch, in units of `unit` bytes.
std::uint64_t distinct_units(std::span<const Access> accesses, std::uint64_t unit) {
    std::vector<std::uint64_t> units;
    units.reserve(accesses.size());
    for (const Access& access : accesses) {
        const std::uint64_t last = (access.address + access.bytes - 1) / unit;
        for (std::uint64_t i = access.address / unit; i <= last; ++i) {
            if (units.empty() || units.back() != i) units.push_back(i);
        }
    }
    std::sort(units.begin(), units.end());
    return static_cast<std::uint64_t>(std::unique(units.begin(), units.end()) - units.begin());
}

void count_global(std::span<const Access> accesses, MemoryCount& count) {
    ++count.requests;
    for (const Access& access : accesses) count.bytes += access.bytes;
    count.sectors += distinct_units(accesses, sector_bytes);
}

/// Wavefronts of the lanes that are served together: the most different words in one bank.
std::uint64_t phase_wavefronts(std::span<const Access> accesses) {
    std::array<std::uint64_t, 128> words{};  // 32 lanes x 4, 16 x 8 and 8 x 16 bytes
    std::size_t size = 0;
    for (const Access& access : accesses) {
        const std::uint64_t last = (access.address + access.bytes - 1) / word_bytes;
        for (std::uint64_t w = access.address / word_bytes; w <= last && size < words.size(); ++w) {
            words[size++] = w;
        }
    }
    const auto end = words.begin() + static_cast<std::ptrdiff_t>(size);
    std::sort(words.begin(), end);
    std::array<std::uint64_t, banks> in_bank{};
    for (auto word = words.begin(); word != end; ++word) {
        if (word == words.begin() || *word != *(word - 1)) ++in_bank[*word % banks];
    }
    return *std::max_element(in_bank.begin(), in_bank.end());
}

void count_shared(std::span<const Access> accesses, std::span<const int> lanes,
                  SharedCount& count) {
    ++count.requests;
    for (const Access& access : accesses) count.bytes += access.bytes;
    const std::uint32_t widest = accesses.front().bytes;
    const int phase_lanes = widest <= 4 ? 32 : widest <= 8 ? 16 : 8;
    for (std::size_t begin = 0; begin < accesses.size();) {
        std::size_t end = begin + 1;
        while (end < accesses.size() && lanes[end] / phase_lanes == lanes[begin] / phase_lanes) {
            ++end;
        }
        const std::uint64_t wavefronts = phase_wavefronts(accesses.subspan(begin, end - begin));
        count.wavefronts += wavefronts;
        count.extra_wavefronts += wavefronts - 1;
        begin = end;
    }
}

std::array<int, 32> all_lanes() {
    std::array<int, 32> lanes{};
    for (int lane = 0; lane < 32; ++lane) lanes[static_cast<std::size_t>(lane)] = lane;
    return lanes;
}

}  // namespace

void count_request(std::span<const Access> accesses, std::span<const int> lanes,
                   Counters& counters) {
    switch (accesses.front().kind) {
        case AccessKind::global_load: return count_global(accesses, counters.global_load);
        case AccessKind::global_store: return count_global(accesses, counters.global_store);
        case AccessKind::global_atomic: return count_global(accesses, counters.global_atomic);
        case AccessKind::shared_load: return count_shared(accesses, lanes, counters.shared_load);
        case AccessKind::shared_store: return count_shared(accesses, lanes, counters.shared_store);
        case AccessKind::shared_atomic:
            return count_shared(accesses, lanes, counters.shared_atomic);
    }
}

bool RequestLog::uniform() const {
    return std::all_of(lanes_.begin() + 1, lanes_.end(), [&](const std::vector<Access>& lane) {
        return std::equal(lane.begin(), lane.end(), lanes_[0].begin(), lanes_[0].end(),
                          [](const Access& a, const Access& b) {
                              return a.site == b.site && a.kind == b.kind && a.bytes == b.bytes;
                          });
    });
}

void RequestLog::flush(Counters& counters) {
    static const std::array<int, 32> lane_numbers = all_lanes();
    if (uniform()) {
        std::array<Access, 32> request{};
        for (std::size_t i = 0; i < lanes_[0].size(); ++i) {
            for (std::size_t lane = 0; lane < 32; ++lane) request[lane] = lanes_[lane][i];
            count_request(request, lane_numbers, counters);
        }
    } else {
        flush_diverged(counters);
    }
    for (std::vector<Access>& lane : lanes_) lane.clear();
}

void RequestLog::flush_diverged(Counters& counters) {
    parts_.clear();
    for (int lane = 0; lane < 32; ++lane) {
        std::map<std::uint64_t, std::uint64_t> seen;  // by kind and site
        for (const Access& access : lanes_[static_cast<std::size_t>(lane)]) {
            const std::uint64_t place =
                static_cast<std::uint64_t>(access.kind) << 16U | access.site;
            parts_.push_back({place << 40U | seen[place]++, lane, access});
        }
    }
    std::stable_sort(parts_.begin(), parts_.end(),
                     [](const Part& a, const Part& b) { return a.group < b.group; });
    std::vector<Access> accesses;
    std::vector<int> lanes;
    for (std::size_t begin = 0; begin < parts_.size();) {
        accesses.clear();
        lanes.clear();
        std::size_t end = begin;
        for (; end < parts_.size() && parts_[end].group == parts_[begin].group; ++end) {
            accesses.push_back(parts_[end].access);
            lanes.push_back(parts_[end].lane);
        }
        count_request(accesses, lanes, counters);
        begin = end;
    }
}

}  // namespace isoflop::emulator
