#include "isoflop/ops/rope.hpp"

#include "ops/vectorize.hpp"

namespace isoflop::ops::cpu {
namespace {

template <class T>
struct Angles {
    const T* cosines;
    const T* sines;
};

template <class T>
Angles<T> angles_of(const RopeTable& table) {
    if constexpr (std::is_same_v<T, float>) {
        return {table.cosines_fp32().data(), table.sines_fp32().data()};
    } else {
        return {table.cosines().data(), table.sines().data()};
    }
}

/// A rotation is transposed by turning the other way: `turn` is 1 or -1.
void rotate(Context& context, const RopeTable& table, const RopeShape& shape, int turn,
            const TensorView& packed) {
    device::visit_dtype(packed.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const RopeShape s = shape;
        const std::int64_t half = table.half_dim();
        const std::int64_t row_width = packed.dim(1);
        const Angles<T> angles = angles_of<T>(table);
        const T sign = static_cast<T>(turn);
        T* const values = packed.as<T>().data();
        vectorized_rows(context, packed.dim(0), s.heads * s.head_dim, [=](std::int64_t row) {
            const std::int64_t position = s.first_position + row % s.sequence_length;
            const T* const cosine = angles.cosines + position * half;
            const T* const sine = angles.sines + position * half;
            for (std::int64_t head = 0; head < s.heads; ++head) {
                T* const first = values + row * row_width + s.place(head) * s.head_dim;
                if (s.interleaved) {
                    for_each_independent(half, [=](std::int64_t i) {
                        const T a = first[2 * i];
                        const T b = first[2 * i + 1];
                        const T sin = sign * sine[i];
                        first[2 * i] = a * cosine[i] - b * sin;
                        first[2 * i + 1] = b * cosine[i] + a * sin;
                    });
                    continue;
                }
                T* const second = first + half;
                for_each_independent(half, [=](std::int64_t i) {
                    const T a = first[i];
                    const T b = second[i];
                    const T sin = sign * sine[i];
                    first[i] = a * cosine[i] - b * sin;
                    second[i] = b * cosine[i] + a * sin;
                });
            }
        });
    });
}

}  // namespace

void rope_forward(Context& context, const RopeTable& table, const RopeShape& shape,
                  const TensorView& packed) {
    rotate(context, table, shape, 1, packed);
}
void rope_backward(Context& context, const RopeTable& table, const RopeShape& shape,
                   const TensorView& d_packed) {
    rotate(context, table, shape, -1, d_packed);
}

}  // namespace isoflop::ops::cpu
