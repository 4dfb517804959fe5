#include "isoflop/ops/embedding.hpp"

#include <algorithm>

#include "ops/vectorize.hpp"

namespace isoflop::ops::cpu {
namespace {

/// Several tokens may add to one row of the table, so backward is split by columns, not by tokens:
/// each thread walks all tokens in order. Columns are independent, so their split, which follows
/// the number of threads, changes no sum. Stripes are whole cache lines.
std::int64_t columns_per_thread(const Context& context, std::int64_t width) {
    constexpr std::int64_t kLine = 16;
    const std::int64_t threads = context.pool.num_threads();
    const std::int64_t columns = (width + threads - 1) / threads;
    return std::max(kLine, (columns + kLine - 1) / kLine * kLine);
}

}  // namespace

void embedding_forward(Context& context, std::span<const std::int32_t> tokens,
                       const TensorView& table, const TensorView& positions,
                       std::int64_t sequence_length, std::int64_t first_position,
                       const TensorView& out) {
    device::visit_dtype(out.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t width = out.dim(1);
        const std::int32_t* const token = tokens.data();
        const T* const rows = table.as<T>().data();
        const T* const position_rows = positions.empty() ? nullptr : positions.as<T>().data();
        T* const result = out.as<T>().data();
        vectorized_rows(context, out.dim(0), width, [=](std::int64_t t) {
            const T* const from = rows + token[t] * width;
            T* const to = result + t * width;
            if (position_rows == nullptr) {
                std::copy_n(from, width, to);
                return;
            }
            const T* const position =
                position_rows + (first_position + t % sequence_length) * width;
            for_each_independent(width, [=](std::int64_t i) { to[i] = from[i] + position[i]; });
        });
    });
}

void embedding_backward(Context& context, std::span<const std::int32_t> tokens,
                        const TensorView& d_out, std::int64_t sequence_length,
                        const TensorView& d_table, const TensorView& d_positions) {
    device::visit_dtype(d_out.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t width = d_out.dim(1);
        const std::int64_t count = d_out.dim(0);
        const std::int32_t* const token = tokens.data();
        const T* const d_result = d_out.as<T>().data();
        T* const d_rows = d_table.as<T>().data();
        T* const d_position_rows = d_positions.empty() ? nullptr : d_positions.as<T>().data();
        const auto add_columns = [=](std::int64_t begin, std::int64_t end) {
            for (std::int64_t t = 0; t < count; ++t) {
                const T* const gradient = d_result + t * width + begin;
                T* const row = d_rows + token[t] * width + begin;
                for_each_independent(end - begin, [=](std::int64_t i) { row[i] += gradient[i]; });
                if (d_position_rows == nullptr) continue;
                T* const position = d_position_rows + t % sequence_length * width + begin;
                for_each_independent(end - begin,
                                     [=](std::int64_t i) { position[i] += gradient[i]; });
            }
        };
        vectorized_ranges(context, width, columns_per_thread(context, width), add_columns);
    });
}

}  // namespace isoflop::ops::cpu
