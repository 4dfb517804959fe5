#include "isoflop/trainer/schedule.hpp"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace isoflop::trainer {

namespace {

/// From `low`, which is before iteration 0 of the warm-up, to `peak`, which is after its last.
double warming_up(double low, double peak, std::int64_t iteration, std::int64_t iterations) {
    return low +
           (peak - low) * static_cast<double>(iteration + 1) / static_cast<double>(iterations + 1);
}

}  // namespace

double learning_rate(const recipe::Recipe& config, std::int64_t iteration) {
    const recipe::OptimizerKeys& keys = config.keys.optimizer;
    const double peak = keys.learning_rate;
    if (iteration < keys.warmup_iters) {
        return peak * static_cast<double>(iteration + 1) /
               static_cast<double>(keys.warmup_iters + 1);
    }
    std::int64_t warm = keys.warmup_iters;
    if (config.rewarm && iteration >= config.rewarm->start) {
        warm += config.rewarm->start;
        if (iteration < warm) {
            return warming_up(config.rewarm->from, peak, iteration - config.rewarm->start,
                              keys.warmup_iters);
        }
    }
    if (!keys.decay_lr || keys.lr_schedule == recipe::LearningRateSchedule::constant) return peak;
    if (iteration > config.lr_decay_iters) return config.min_lr;
    const auto decay_end = static_cast<double>(config.lr_decay_iters);
    double decay_start = static_cast<double>(warm);
    if (keys.lr_schedule == recipe::LearningRateSchedule::wsd) {
        decay_start = std::max(decay_start, decay_end * (1.0 - keys.wsd_decay_fraction));
    }
    const double length = decay_end - decay_start;
    const double elapsed = static_cast<double>(iteration) - decay_start;
    if (elapsed <= 0 || length <= 0) return peak;
    const double progress = std::min(elapsed / length, 1.0);
    const double remaining = keys.lr_schedule == recipe::LearningRateSchedule::cosine
                                 ? 0.5 * (1.0 + std::cos(std::numbers::pi * progress))
                                 : 1.0 - progress;
    return config.min_lr + (peak - config.min_lr) * remaining;
}

}  // namespace isoflop::trainer
