#include "isoflop/ops/reduction.hpp"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstring>
#include <vector>

#include "ops/checksum_term.hpp"
#include "ops/vectorize.hpp"

namespace isoflop::ops::cpu {
namespace {

/// Results of body(begin, end) for fixed chunks of the elements, in chunk order.
template <class Result, class Body>
std::vector<Result> chunk_results(Context& context, std::int64_t count, const Body& body) {
    const std::int64_t chunks = (count + kChunkElements - 1) / kChunkElements;
    std::vector<Result> results(static_cast<std::size_t>(chunks));
    context.pool.parallel_for(chunks, [&](std::int64_t chunk) {
        const std::int64_t begin = chunk * kChunkElements;
        const std::int64_t end = std::min(count, begin + kChunkElements);
        run_vectorized([&] { results[static_cast<std::size_t>(chunk)] = body(begin, end); });
    });
    return results;
}

/// Sum over all elements of transform(element), added in double.
template <class Transform>
double transformed_sum(Context& context, const TensorView& x, const Transform& transform) {
    return device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const T* const values = x.as<T>().data();
        const auto body = [=](std::int64_t begin, std::int64_t end) {
            return lane_sum<double>(end - begin, [=](std::int64_t i) {
                return transform(static_cast<double>(values[begin + i]));
            });
        };
        double total = 0;
        for (const double part : chunk_results<double>(context, x.size(), body)) total += part;
        return total;
    });
}

/// The difference of a number with itself is 0, of an infinity or NaN it is NaN.
template <class T>
[[gnu::always_inline]] inline bool is_finite(T x) {
    return x - x == T(0);
}

/// Five passes over elements in cache: read rarely, so kept simple.
template <class T>
[[gnu::always_inline]] inline TensorStatistics chunk_statistics(const T* x, std::int64_t count) {
    TensorStatistics result;
    result.non_finite = static_cast<std::int64_t>(
        lane_sum<T>(count, [=](std::int64_t i) { return is_finite(x[i]) ? T(0) : T(1); }));
    result.count = count - result.non_finite;
    if (result.count == 0) return result;
    const auto finite = [=](std::int64_t i) {
        return static_cast<double>(is_finite(x[i]) ? x[i] : T(0));
    };
    constexpr T kInfinity = std::numeric_limits<T>::infinity();
    result.sum = lane_sum<double>(count, finite);
    result.sum_of_squares =
        lane_sum<double>(count, [=](std::int64_t i) { return finite(i) * finite(i); });
    result.minimum = static_cast<double>(
        lane_min<T>(count, [=](std::int64_t i) { return is_finite(x[i]) ? x[i] : kInfinity; }));
    result.maximum = static_cast<double>(
        lane_max<T>(count, [=](std::int64_t i) { return is_finite(x[i]) ? x[i] : -kInfinity; }));
    return result;
}

}  // namespace

DeferredValue deferred_sum_of_squares(Context& context, const TensorView& x) {
    return device::DeferredValue(
        transformed_sum(context, x, [](double value) { return value * value; }));
}

DeferredValue deferred_sum(Context& context, const TensorView& x) {
    return device::DeferredValue(transformed_sum(context, x, [](double value) { return value; }));
}

TensorStatistics statistics(Context& context, const TensorView& x) {
    return device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const T* const values = x.as<T>().data();
        const auto body = [=](std::int64_t begin, std::int64_t end) {
            return chunk_statistics(values + begin, end - begin);
        };
        TensorStatistics total;
        for (const auto& part : chunk_results<TensorStatistics>(context, x.size(), body)) {
            total = combine(total, part);
        }
        return total;
    });
}

void add(Context& context, const TensorView& x, const TensorView& y, const TensorView& out) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const T* const a = x.as<T>().data();
        const T* const b = y.as<T>().data();
        T* const result = out.as<T>().data();
        vectorized_elements(context, x.size(), [=](std::int64_t i) { result[i] = a[i] + b[i]; });
    });
}

void scale(Context& context, double factor, const TensorView& x) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const T rounded = static_cast<T>(factor);
        T* const values = x.as<T>().data();
        vectorized_elements(context, x.size(), [=](std::int64_t i) { values[i] *= rounded; });
    });
}

void fill(Context& context, double value, const TensorView& x) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        T* const values = x.as<T>().data();
        vectorized_ranges(context, x.size(), kChunkElements,
                          [=](std::int64_t begin, std::int64_t end) {
                              std::fill_n(values + begin, end - begin, static_cast<T>(value));
                          });
    });
}

void copy(Context& context, const TensorView& from, const TensorView& to) {
    device::visit_dtype(from.dtype(), [&](auto from_zero) {
        device::visit_dtype(to.dtype(), [&](auto to_zero) {
            using From = decltype(from_zero);
            using To = decltype(to_zero);
            const From* const source = from.as<From>().data();
            To* const target = to.as<To>().data();
            context.pool.parallel_ranges(
                from.size(), kChunkElements, [=](std::int64_t begin, std::int64_t end) {
                    std::transform(source + begin, source + end, target + begin,
                                   [](From value) { return static_cast<To>(value); });
                });
        });
    });
}

std::uint64_t checksum(Context& context, const TensorView& x) {
    const auto* const bytes = static_cast<const std::byte*>(x.data());
    const auto size = static_cast<std::int64_t>(x.bytes());
    const std::int64_t words = (size + 3) / 4;
    std::atomic<std::uint64_t> total = 0;
    context.pool.parallel_ranges(words, kChunkElements, [&](std::int64_t begin, std::int64_t end) {
        std::uint64_t sum = 0;
        for (std::int64_t i = begin; i < end; ++i) {
            std::uint32_t word = 0;
            std::memcpy(&word, bytes + 4 * i,
                        static_cast<std::size_t>(std::min<std::int64_t>(4, size - 4 * i)));
            sum += checksum_term(word, static_cast<std::uint64_t>(i));
        }
        total += sum;
    });
    return total;
}

}  // namespace isoflop::ops::cpu
