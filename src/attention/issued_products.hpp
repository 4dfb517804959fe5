// Multiply-adds that the kernels of a CPU count while they run, where each product is issued. The
// lanes that pad a tile to whole vectors, which compute on zeros, are not counted.
#pragma once

#include <atomic>
#include <cstdint>

namespace isoflop::attention {

/// `scores`: of q and k, and the gradients of both. `values`: of the probabilities and v, and the
/// gradients of both.
struct ProductCount {
    std::uint64_t scores = 0;
    std::uint64_t values = 0;
};

[[nodiscard]] constexpr std::uint64_t multiply_adds(std::int64_t m, std::int64_t n,
                                                    std::int64_t k) {
    return static_cast<std::uint64_t>(m) * static_cast<std::uint64_t>(n) *
           static_cast<std::uint64_t>(k);
}

/// Of one call: its tasks, which run on several threads, add theirs when they are done.
class IssuedProducts {
public:
    void add(const ProductCount& count) {
        scores_.fetch_add(count.scores, std::memory_order_relaxed);
        values_.fetch_add(count.values, std::memory_order_relaxed);
    }
    [[nodiscard]] ProductCount total() const { return {scores_.load(), values_.load()}; }

private:
    std::atomic<std::uint64_t> scores_ = 0;
    std::atomic<std::uint64_t> values_ = 0;
};

}  // namespace isoflop::attention
