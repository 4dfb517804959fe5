// Which keys of a tile its queries see, and scores under a soft cap.
#pragma once

#include <algorithm>
#include <cmath>

#include "attention/arguments.hpp"
#include "attention/cpu/visible_products.hpp"

namespace isoflop::attention {

/// Of the tile of `lanes` queries at `first_query` and `keys` keys at `first_key`; keys are counted
/// from `first_key`.
template <class T>
class TileMask {
public:
    explicit TileMask(Scratch& scratch)
        : starts_(scratch.take<T>(kQueryTile)), limits_(scratch.take<T>(kQueryTile)) {}
    [[nodiscard]] static std::int64_t scratch_bytes() { return 2 * Scratch::size<T>(kQueryTile); }

    void set(const Shape& shape, std::int64_t first_query, std::int64_t lanes,
             std::int64_t first_key, std::int64_t keys) {
        const std::int64_t last_query = shape.query_length - 1;
        const std::int64_t end = std::min(first_query + kQueryTile - 1, last_query);
        seen_by_all_ = std::max<std::int64_t>(key_limit(shape, first_query) - first_key, 0);
        unseen_by_some_ = std::min(key_start(shape, end) - first_key, keys);
        masked_ = seen_by_all_ < keys || unseen_by_some_ > 0;
        if (!masked_) return;
        for (std::int64_t lane = 0; lane < lanes; ++lane) {
            const std::int64_t query = std::min(first_query + lane, last_query);
            starts_[lane] = static_cast<T>(key_start(shape, query) - first_key);
            limits_[lane] = static_cast<T>(key_limit(shape, query) - first_key);
        }
    }

    /// Whether any query sees less than all keys. Only then the rest holds.
    [[nodiscard]] bool masked() const { return masked_; }
    /// Keys from here on have limits that matter.
    [[nodiscard]] std::int64_t seen_by_all() const { return seen_by_all_; }
    /// Keys before this one have starts that matter.
    [[nodiscard]] std::int64_t unseen_by_some() const { return unseen_by_some_; }
    [[nodiscard]] const T* starts() const { return starts_; }
    [[nodiscard]] const T* limits() const { return limits_; }
    [[nodiscard]] VisibleKeys<T> visible() const { return {starts_, limits_}; }

private:
    T* starts_;  // [kQueryTile], as limits_
    T* limits_;
    std::int64_t seen_by_all_ = 0;
    std::int64_t unseen_by_some_ = 0;
    bool masked_ = false;
};

/// Base-2 scores become capped ones: cap tanh(score / cap), with `cap` in base 2 too.
template <class T>
void cap_scores(std::int64_t n, T cap, T* scores) {
    for (std::int64_t i = 0; i < n; ++i) scores[i] = cap * std::tanh(scores[i] / cap);
}

/// The derivative of a capped score by the score.
template <class T>
[[nodiscard]] T slope_of_capped(T capped, T cap) {
    const T part = capped / cap;
    return (T(1) - part) * (T(1) + part);
}

}  // namespace isoflop::attention
