#include "isoflop/ops/qk_norm.hpp"

#include "ops/norm_rows.hpp"
#include "ops/row_sums.hpp"

namespace isoflop::ops::cpu {

void qk_norm_forward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                     const TensorView& key_weight, const TensorView& packed,
                     const TensorView& before, const TensorView& statistics) {
    device::visit_dtype(packed.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const QkNormShape s = shape;
        const T offset = weight_offset<T>(shape.adds_one);
        const std::int64_t heads = s.query_heads + s.key_heads;
        const std::int64_t row_width = packed.dim(1);
        const T* const query_scale = query_weight.as<T>().data();
        const T* const key_scale = key_weight.as<T>().data();
        T* const values = packed.as<T>().data();
        T* const raw = before.as<T>().data();
        T* const saved = statistics.as<T>().data();
        vectorized_rows(context, packed.dim(0), heads * s.head_dim, [=](std::int64_t row) {
            for (std::int64_t head = 0; head < heads; ++head) {
                const T* const weight = head < s.query_heads ? query_scale : key_scale;
                T* const value = values + row * row_width + head * s.head_dim;
                T* const copied = raw + (row * heads + head) * s.head_dim;
                for_each_independent(s.head_dim, [=](std::int64_t i) { copied[i] = value[i]; });
                const T inverse = row_statistics<false>(copied, s.head_dim, s.eps).inverse;
                saved[row * heads + head] = inverse;
                for_each_independent(s.head_dim, [=](std::int64_t i) {
                    value[i] = copied[i] * inverse * (weight[i] + offset);
                });
            }
        });
    });
}

void qk_norm_backward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                      const TensorView& key_weight, const TensorView& before,
                      const TensorView& statistics, const TensorView& d_packed,
                      const TensorView& d_query_weight, const TensorView& d_key_weight) {
    device::visit_dtype(d_packed.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const QkNormShape s = shape;
        const T offset = weight_offset<T>(shape.adds_one);
        const std::int64_t heads = s.query_heads + s.key_heads;
        const std::int64_t row_width = d_packed.dim(1);
        const T* const query_scale = query_weight.as<T>().data();
        const T* const key_scale = key_weight.as<T>().data();
        const T* const raw = before.as<T>().data();
        const T* const saved = statistics.as<T>().data();
        T* const gradients = d_packed.as<T>().data();
        // Sums of one chunk: the query weight's gradient, then the key weight's.
        const auto backward_row = [=](std::int64_t row, T* sums) {
            for (std::int64_t head = 0; head < heads; ++head) {
                const bool is_query = head < s.query_heads;
                const T* const weight = is_query ? query_scale : key_scale;
                T* const d_weight = is_query ? sums : sums + s.head_dim;
                T* const gradient = gradients + row * row_width + head * s.head_dim;
                const T* const x = raw + (row * heads + head) * s.head_dim;
                const RowStatistics<T> stats = {T(0), saved[row * heads + head]};
                const T slope =
                    row_gradient<false>(gradient, weight, x, stats, s.head_dim, offset).slope;
                for_each_independent(s.head_dim, [=](std::int64_t i) {
                    const T d_y = gradient[i];
                    d_weight[i] += d_y * (x[i] * stats.inverse);
                    gradient[i] = stats.inverse * (d_y * (weight[i] + offset)) - x[i] * slope;
                });
            }
        };
        const std::span<const T> partials =
            partial_row_sums<T>(context, d_packed.dim(0), 2 * s.head_dim, backward_row);
        add_partial_sums<T>(context, partials, 2 * s.head_dim, 0, d_query_weight.as<T>());
        add_partial_sums<T>(context, partials, 2 * s.head_dim, s.head_dim, d_key_weight.as<T>());
    });
}

}  // namespace isoflop::ops::cpu
