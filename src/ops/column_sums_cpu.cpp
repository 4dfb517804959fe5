#include "isoflop/ops/reduction.hpp"
#include "ops/row_sums.hpp"

namespace isoflop::ops::cpu {

void add_column_sums(Context& context, const TensorView& matrix, const TensorView& sums) {
    device::visit_dtype(matrix.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t width = matrix.dim(1);
        const T* const elements = matrix.as<T>().data();
        const std::span<const T> partials =
            partial_row_sums<T>(context, matrix.dim(0), width, [=](std::int64_t row, T* row_sums) {
                const T* const from = elements + row * width;
                for_each_independent(width, [=](std::int64_t i) { row_sums[i] += from[i]; });
            });
        add_partial_sums<T>(context, partials, width, 0, sums.as<T>());
    });
}

}  // namespace isoflop::ops::cpu
