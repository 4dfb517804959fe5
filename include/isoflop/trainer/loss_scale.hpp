// Dynamic loss scaling for fp16, whose smallest numbers are too large for many gradients
// (Micikevicius 2018, arXiv 1710.03740): losses are multiplied by a power of two that is halved
// when gradients overflow and doubled after a long time without.
#pragma once

#include <algorithm>
#include <cstdint>

#include "isoflop/base/dtype.hpp"

namespace isoflop::trainer {

class LossScale {
public:
    static constexpr double kInitial = 65536;
    static constexpr double kLargest = 16777216;
    static constexpr std::int64_t kGrowthInterval = 2000;  ///< updates

    explicit LossScale(DType storage)
        : active_(storage == DType::float16), value_(active_ ? kInitial : 1) {}

    [[nodiscard]] double value() const { return value_; }
    void set(double value) { value_ = active_ ? value : 1; }
    [[nodiscard]] std::int64_t good_updates() const { return good_updates_; }
    void set_good_updates(std::int64_t updates) { good_updates_ = updates; }

    /// Reports gradients that were not finite. True when the scale explains them; the scale is then
    /// reduced.
    bool overflow() {
        good_updates_ = 0;
        if (!active_ || value_ <= 1) return false;
        value_ /= 2;
        return true;
    }
    void updated() {
        if (!active_ || ++good_updates_ < kGrowthInterval) return;
        good_updates_ = 0;
        value_ = std::min(2 * value_, kLargest);
    }

private:
    bool active_;
    double value_;
    std::int64_t good_updates_ = 0;
};

}  // namespace isoflop::trainer
