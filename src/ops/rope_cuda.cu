// A block rotates some rows at a time. It reads the angles of their positions once, for all heads.
#include "isoflop/ops/rope.hpp"

#include "isoflop/ops/cuda/elements.hpp"

namespace isoflop::ops::cuda {
namespace {

using simt::Global;

template <class T>
struct RopeArguments {
    Global<T> values;
    Global<const float> cosines;  ///< [positions, half_dim]
    Global<const float> sines;
    std::int64_t rows;
    std::int64_t row_width;
    std::int64_t sequence_length;
    std::int64_t first_position;
    int heads;
    int head_dim;
    int half_dim;
    int pair_step;      ///< from one pair to the next: 2 in the interleaved layout, else 1
    int pair_distance;  ///< between the two of a pair
    bool in_threes;
    int rows_at_once;
    float sign;  ///< -1 turns the other way, which is the transposed rotation
};

/// Angles of the rows from `first` on, each row as load_floats wants it.
template <int width, class T, class Row>
SIMT_DEVICE void read_angles(const RopeArguments<T>& a, std::int64_t first, int rows,
                             const Row& cosines, const Row& sines) {
    for (int i = simt::thread_index().x; i < rows * a.half_dim; i += simt::block_size().x) {
        const int row = i / a.half_dim;
        const int column = i % a.half_dim;
        const std::int64_t position = a.first_position + (first + row) % a.sequence_length;
        const std::int64_t from = position * a.half_dim + column;
        const std::int64_t to =
            static_cast<std::int64_t>(row) * a.half_dim + float_place(column, a.half_dim, width);
        simt::store(cosines + to, simt::load(a.cosines + from));
        simt::store(sines + to, a.sign * simt::load(a.sines + from));
    }
}

template <class T, int width>
SIMT_DEVICE void rotate(const Global<T>& first, const Global<T>& second,
                        const Floats<width>& cosines, const Floats<width>& sines) {
    Pack<T, width> x = load_pack<width>(first);
    Pack<T, width> y = load_pack<width>(second);
    for (int k = 0; k < width; ++k) {
        const float a = simt::to_float(x.values[k]);
        const float b = simt::to_float(y.values[k]);
        x.values[k] = simt::round_to<T>(a * cosines.values[k] - b * sines.values[k]);
        y.values[k] = simt::round_to<T>(b * cosines.values[k] + a * sines.values[k]);
    }
    store_pack(first, x);
    store_pack(second, y);
}

template <class T, int width>
SIMT_KERNEL void rope_kernel(RopeArguments<T> a) {
    const int packs = a.half_dim / width;
    const int row_packs = a.heads * packs;
    const std::int64_t angles = static_cast<std::int64_t>(a.rows_at_once) * a.half_dim;
    const auto cosines = simt::dynamic_shared<float>(0, angles);
    const auto sines =
        simt::dynamic_shared<float>(static_cast<std::int64_t>(sizeof(float)) * angles, angles);
    const std::int64_t step = static_cast<std::int64_t>(simt::grid_size().x) * a.rows_at_once;
    std::int64_t first = static_cast<std::int64_t>(simt::block_index().x) * a.rows_at_once;
    for (; first < a.rows; first += step) {
        const std::int64_t left = a.rows - first;
        const int rows = left < a.rows_at_once ? static_cast<int>(left) : a.rows_at_once;
        read_angles<width>(a, first, rows, cosines, sines);
        simt::sync_threads();
        for (int i = simt::thread_index().x; i < rows * row_packs; i += simt::block_size().x) {
            const int row = i / row_packs;
            const int head = i % row_packs / packs;
            const int pack = i % packs;
            const std::int64_t angle = static_cast<std::int64_t>(row) * a.half_dim;
            const int place = a.in_threes ? head / 2 * 3 + head % 2 : head;
            const Global<T> value = a.values + (first + row) * a.row_width +
                                    static_cast<std::int64_t>(place) * a.head_dim +
                                    static_cast<std::int64_t>(pack) * width * a.pair_step;
            rotate<T, width>(value, value + a.pair_distance,
                             load_floats<width>(cosines + angle, pack, packs),
                             load_floats<width>(sines + angle, pack, packs));
        }
        simt::sync_threads();  // before the next angles
    }
}

/// `sign` is 1, or -1 for the transposed rotation.
void rotate(Context& context, const RopeTable& table, const RopeShape& shape, float sign,
            const TensorView& packed) {
    const std::int64_t half_dim = table.half_dim();
    if (packed.dim(0) == 0 || shape.heads == 0 || half_dim == 0) return;
    if (table.device_cosines() == nullptr)
        throw std::logic_error("rope: the table has not been copied to the GPU");
    constexpr std::int64_t most_angle_bytes = 32 * 1024;
    const std::int64_t angle_bytes = 2 * static_cast<std::int64_t>(sizeof(float)) * half_dim;
    visit_storage(packed.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t row_width = packed.dim(1);
        const bool has_packs = !shape.interleaved && are_vectorizable<T>(half_dim, {packed}) &&
                               are_vectorizable<T>(shape.head_dim, {packed}) &&
                               is_vectorizable(data<T>(packed), row_width);
        const std::int64_t row_packs =
            shape.heads * (has_packs ? half_dim / kPackWidth<T> : half_dim);
        // Some packs for each thread between two barriers.
        const std::int64_t rows_at_once =
            std::max<std::int64_t>(1, std::min({4 * kBlockThreads / row_packs, packed.dim(0),
                                                most_angle_bytes / angle_bytes}));
        const RopeArguments<T> arguments{
            .values = data<T>(packed),
            .cosines = table.device_cosines(),
            .sines = table.device_sines(),
            .rows = packed.dim(0),
            .row_width = row_width,
            .sequence_length = shape.sequence_length,
            .first_position = shape.first_position,
            .heads = static_cast<int>(shape.heads),
            .head_dim = static_cast<int>(shape.head_dim),
            .half_dim = static_cast<int>(half_dim),
            .pair_step = shape.interleaved ? 2 : 1,
            .pair_distance = shape.interleaved ? 1 : static_cast<int>(half_dim),
            .in_threes = shape.in_threes,
            .rows_at_once = static_cast<int>(rows_at_once),
            .sign = sign};
        simt::launch({.name = "rope",
                      .grid = {blocks_for(packed.dim(0), rows_at_once,
                                          8 * context.device.info().multiprocessors)},
                      .block = {kBlockThreads},
                      .shared_bytes = static_cast<std::size_t>(rows_at_once * angle_bytes),
                      .stream = stream_of(context)},
                     has_packs ? rope_kernel<T, kPackWidth<T>> : rope_kernel<T, 1>, arguments);
    });
}

}  // namespace

void rope_forward(Context& context, const RopeTable& table, const RopeShape& shape,
                  const TensorView& packed) {
    rotate(context, table, shape, 1.0F, packed);
}
void rope_backward(Context& context, const RopeTable& table, const RopeShape& shape,
                   const TensorView& d_packed) {
    rotate(context, table, shape, -1.0F, d_packed);
}

}  // namespace isoflop::ops::cuda
