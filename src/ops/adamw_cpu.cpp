// One pass over weights, gradients and moments: 16 bytes read and 12 written per fp32 parameter,
// which is all that this op costs.
#include "isoflop/ops/adamw.hpp"

#include <algorithm>
#include <cmath>
#include <vector>

#include "ops/vectorize.hpp"

namespace isoflop::ops::cpu {
namespace {

/// The scalars of an update, computed in double and rounded once.
template <class T>
struct Coefficients {
    T beta1, one_minus_beta1, beta2, one_minus_beta2;
    T step_size;                    ///< lr / (1 - beta1^t)
    T inverse_root_correction2;     ///< 1 / sqrt(1 - beta2^t)
    T eps, gradient_scale, shrink;  ///< shrink = lr * weight_decay

    explicit Coefficients(const AdamWOptions& options)
        : beta1(T(options.beta1)),
          one_minus_beta1(T(1 - options.beta1)),
          beta2(T(options.beta2)),
          one_minus_beta2(T(1 - options.beta2)),
          step_size(T(options.learning_rate / correction(options.beta1, options.step))),
          inverse_root_correction2(T(1 / std::sqrt(correction(options.beta2, options.step)))),
          eps(T(options.eps)),
          gradient_scale(T(options.gradient_scale)),
          shrink(T(options.learning_rate * options.weight_decay)) {}

    static double correction(double beta, std::int64_t step) {
        return 1 - std::pow(beta, static_cast<double>(step));
    }
};

/// Where each segment's chunks begin in the numbering of all chunks; the last entry is their count.
std::vector<std::int64_t> first_chunks(std::span<const AdamWSegment> segments) {
    std::vector<std::int64_t> first = {0};
    for (const AdamWSegment& segment : segments) {
        first.push_back(first.back() + (segment.count + kChunkElements - 1) / kChunkElements);
    }
    return first;
}

template <class T>
void update(const Coefficients<T>& c, T shrink, std::int64_t count, T* w, const T* g, T* m, T* v) {
    run_vectorized([=] {
        for_each_independent(count, [=](std::int64_t i) {
            const T gradient = g[i] * c.gradient_scale;
            const T moment1 = c.beta1 * m[i] + c.one_minus_beta1 * gradient;
            const T moment2 = c.beta2 * v[i] + c.one_minus_beta2 * (gradient * gradient);
            const T denominator = std::sqrt(moment2) * c.inverse_root_correction2 + c.eps;
            m[i] = moment1;
            v[i] = moment2;
            w[i] -= c.step_size * moment1 / denominator + shrink * w[i];
        });
    });
}

}  // namespace

void adamw(Context& context, const AdamWOptions& options, std::span<const AdamWSegment> segments,
           const AdamWState& state) {
    const std::vector<std::int64_t> first = first_chunks(segments);
    device::visit_dtype(state.weights.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const Coefficients<T> coefficients(options);
        context.pool.parallel_for(first.back(), [&](std::int64_t chunk) {
            const auto after = std::upper_bound(first.begin(), first.end(), chunk);
            const auto index = static_cast<std::size_t>(after - first.begin() - 1);
            const AdamWSegment& segment = segments[index];
            const std::int64_t begin = (chunk - first[index]) * kChunkElements;
            const std::int64_t offset = segment.offset + begin;
            update(coefficients, segment.weight_decay ? coefficients.shrink : T(0),
                   std::min(kChunkElements, segment.count - begin),
                   state.weights.as<T>().data() + offset, state.gradients.as<T>().data() + offset,
                   state.first_moment.as<T>().data() + offset,
                   state.second_moment.as<T>().data() + offset);
        });
    });
}

}  // namespace isoflop::ops::cpu
