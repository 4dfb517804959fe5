// A norm of query and key heads whose tensors are on a device.
#pragma once

#include <string>

#include "isoflop/ops/qk_norm.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {

struct QkNormCase {
    DType dtype = DType::float32;
    std::int64_t query_heads = 0;
    std::int64_t key_heads = 0;
    std::int64_t head_dim = 0;
    std::int64_t rows = 0;
    std::int64_t other_columns = 0;  ///< after the heads
    std::int64_t shift = 0;

    [[nodiscard]] std::int64_t heads() const { return query_heads + key_heads; }
    [[nodiscard]] std::int64_t row_width() const { return heads() * head_dim + other_columns; }
    [[nodiscard]] ops::QkNormShape shape() const {
        return {.query_heads = query_heads, .key_heads = key_heads, .head_dim = head_dim};
    }
};

inline std::string describe(const QkNormCase& c) {
    return std::string(short_name(c.dtype)) + ", " + std::to_string(c.query_heads) + " + " +
           std::to_string(c.key_heads) + " heads of " + std::to_string(c.head_dim) + ", " +
           std::to_string(c.rows) + " rows, shifted by " + std::to_string(c.shift);
}

struct QkNormProblem {
    QkNormProblem(device::Device& device, const QkNormCase& c)
        : packed(device, c.dtype, {c.rows, c.row_width()}, random_values(c.rows * c.row_width(), 1),
                 c.shift),
          d_packed(device, c.dtype, {c.rows, c.row_width()},
                   random_values(c.rows * c.row_width(), 2)),
          before(device, c.dtype, {c.rows, c.heads() * c.head_dim}),
          query_weight(device, c.dtype, {c.head_dim}, random_values(c.head_dim, 3, 1)),
          key_weight(device, c.dtype, {c.head_dim}, random_values(c.head_dim, 4, 1)),
          d_query_weight(device, c.dtype, {c.head_dim}, random_values(c.head_dim, 5)),
          d_key_weight(device, c.dtype, {c.head_dim}, random_values(c.head_dim, 6)),
          statistics(device, DType::float32, {c.rows, c.heads()}),
          shape(c.shape()) {}

    void forward(Context& context) const {
        ops::qk_norm_forward(context, shape, query_weight.view(), key_weight.view(), packed.view(),
                             before.view(), statistics.view());
    }
    void backward(Context& context) const {
        ops::qk_norm_backward(context, shape, query_weight.view(), key_weight.view(), before.view(),
                              statistics.view(), d_packed.view(), d_query_weight.view(),
                              d_key_weight.view());
    }

    DeviceTensor packed, d_packed, before, query_weight, key_weight, d_query_weight, d_key_weight,
        statistics;
    ops::QkNormShape shape;
};

}  // namespace isoflop::test
