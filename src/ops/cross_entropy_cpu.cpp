// One online pass (Milakov & Gimelshein 2018) finds the largest logit and the sum of exponentials
// block by block, each block staying in the first-level cache; a second pass writes the gradient.
#include "isoflop/ops/cross_entropy.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ops/vector_math.hpp"
#include "ops/vectorize.hpp"

namespace isoflop::ops::cpu {
namespace {

template <class T>
struct SoftmaxSum {
    T shift = 0;     ///< largest logit, or 0 when all are -infinity
    double sum = 0;  ///< of exp(z - shift)
};

template <class T>
[[gnu::always_inline]] inline SoftmaxSum<T> softmax_sum(const T* logits, std::int64_t count) {
    constexpr std::int64_t kBlock = 2048;
    constexpr T kMinusInfinity = -std::numeric_limits<T>::infinity();
    T maximum = kMinusInfinity;
    double sum = 0;
    for (std::int64_t begin = 0; begin < count; begin += kBlock) {
        const T* const block = logits + begin;
        const std::int64_t length = std::min(kBlock, count - begin);
        const T block_maximum = lane_max<T>(length, [=](std::int64_t i) { return block[i]; });
        if (block_maximum > maximum) {
            sum *= std::exp(static_cast<double>(maximum) - static_cast<double>(block_maximum));
            maximum = block_maximum;
        }
        // Subtracting -infinity from itself would turn a masked block into NaN.
        const T shift = maximum == kMinusInfinity ? T(0) : maximum;
        sum += static_cast<double>(
            lane_sum<T>(length, [=](std::int64_t i) { return exponential(block[i] - shift); }));
    }
    return {maximum == kMinusInfinity ? T(0) : maximum, sum};
}

template <class T>
[[gnu::always_inline]] inline T row_loss(const SoftmaxSum<T>& softmax, T target_logit) {
    return static_cast<T>(std::log(softmax.sum) +
                          (static_cast<double>(softmax.shift) - static_cast<double>(target_logit)));
}

}  // namespace

void cross_entropy_forward(Context& context, const TensorView& logits,
                           std::span<const std::int32_t> targets, std::int32_t ignore_index,
                           const TensorView& losses) {
    device::visit_dtype(logits.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t width = logits.dim(1);
        const T* const all = logits.as<T>().data();
        T* const loss = losses.as<T>().data();
        const std::int32_t* const target = targets.data();
        vectorized_rows(context, logits.dim(0), width, [=](std::int64_t row) {
            const T* const z = all + row * width;
            loss[row] = target[row] == ignore_index
                            ? T(0)
                            : row_loss(softmax_sum(z, width), z[target[row]]);
        });
    });
}

void cross_entropy_forward_backward(Context& context, const TensorView& logits,
                                    std::span<const std::int32_t> targets,
                                    std::int32_t ignore_index, double scale,
                                    const TensorView& losses) {
    device::visit_dtype(logits.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t width = logits.dim(1);
        T* const all = logits.as<T>().data();
        T* const loss = losses.as<T>().data();
        const std::int32_t* const target = targets.data();
        vectorized_rows(context, logits.dim(0), width, [=](std::int64_t row) {
            T* const z = all + row * width;
            if (target[row] == ignore_index) {
                loss[row] = T(0);
                std::fill_n(z, width, T(0));
                return;
            }
            const SoftmaxSum<T> softmax = softmax_sum(z, width);
            loss[row] = row_loss(softmax, z[target[row]]);
            const T factor = static_cast<T>(scale / softmax.sum);
            const T shift = softmax.shift;
            for_each_independent(
                width, [=](std::int64_t i) { z[i] = factor * exponential(z[i] - shift); });
            z[target[row]] -= static_cast<T>(scale);
        });
    });
}

}  // namespace isoflop::ops::cpu
