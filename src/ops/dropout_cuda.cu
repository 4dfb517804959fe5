#include "isoflop/ops/dropout.hpp"

#include "isoflop/ops/cuda/elements.hpp"
#include "ops/cuda_philox.hpp"
#include "ops/dropout_mask.hpp"

namespace isoflop::ops::cuda {
namespace {

using simt::Global;

struct DropoutArguments {
    PhiloxKeyWords stream;
    std::uint32_t threshold;
    float scale;
    std::int64_t rows;
    std::int64_t columns;
    std::int64_t sequence_length;
    std::uint64_t first_sequence;
};

/// What the elements of one row share (dropout_mask.hpp).
struct RowMask {
    PhiloxKeyWords stream;
    std::uint32_t position;
    std::uint64_t sequence;

    [[nodiscard]] SIMT_DEVICE PhiloxWords words(std::int64_t group) const {
        return philox_words(
            {{static_cast<std::uint32_t>(group), position, static_cast<std::uint32_t>(sequence),
              static_cast<std::uint32_t>(sequence >> 32U)}},
            stream);
    }
    /// Without an index into an array, which would put it into memory.
    [[nodiscard]] SIMT_DEVICE std::uint32_t word(std::int64_t column) const {
        const PhiloxWords all = words(column / kDropoutGroup);
        const std::int64_t place = column % kDropoutGroup;
        const std::uint32_t low = place == 0 ? all.words[0] : all.words[1];
        const std::uint32_t high = place == 2 ? all.words[2] : all.words[3];
        return place < 2 ? low : high;
    }
};

template <class T>
SIMT_DEVICE T drop_element(const DropoutArguments& a, std::uint32_t word, T x) {
    return simt::round_to<T>(word >= a.threshold ? simt::to_float(x) * a.scale : 0.0F);
}

template <class T, int width>
SIMT_DEVICE Pack<T, width> drop_pack(const DropoutArguments& a, const RowMask& mask,
                                     std::int64_t column, Pack<T, width> pack) {
    if constexpr (width == 1) {
        pack.values[0] = drop_element(a, mask.word(column), pack.values[0]);
    } else {
        constexpr int group_width = kDropoutGroup;
        static_assert(width % group_width == 0);
        for (int first = 0; first < width; first += group_width) {
            const PhiloxWords words = mask.words((column + first) / group_width);
            for (int k = 0; k < group_width; ++k) {
                pack.values[first + k] = drop_element(a, words.words[k], pack.values[first + k]);
            }
        }
    }
    return pack;
}

template <class T, int width>
SIMT_KERNEL void dropout_kernel(Global<T> x, DropoutArguments a) {
    const ColumnRange own = own_columns<width>();
    for (std::int64_t row = simt::block_index().y; row < a.rows; row += simt::grid_size().y) {
        const std::int64_t sequence = row / a.sequence_length;
        const RowMask mask{
            .stream = a.stream,
            .position = static_cast<std::uint32_t>(row - sequence * a.sequence_length),
            .sequence = a.first_sequence + static_cast<std::uint64_t>(sequence)};
        for (std::int64_t i = own.first; i < a.columns; i += own.step) {
            const auto place = x + row * a.columns + i;
            store_pack(place, drop_pack(a, mask, i, load_pack<width>(place)));
        }
    }
}

}  // namespace

void dropout(Context& context, const DropoutKey& key, double probability,
             std::int64_t sequence_length, const TensorView& x) {
    if (x.size() == 0) return;
    const std::int64_t columns = x.dim(1);
    const DropoutArguments arguments{.stream = key_words(dropout_stream(key)),
                                     .threshold = dropout_threshold(probability),
                                     .scale = static_cast<float>(1 / (1 - probability)),
                                     .rows = x.dim(0),
                                     .columns = columns,
                                     .sequence_length = sequence_length,
                                     .first_sequence = key.first_sequence};
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        constexpr int width = kPackWidth<T>;
        const bool has_packs = are_vectorizable<T>(columns, {x});
        simt::launch(
            row_launch(context, "dropout", x.dim(0), has_packs ? columns / width : columns),
            has_packs ? dropout_kernel<T, width> : dropout_kernel<T, 1>, data<T>(x), arguments);
    });
}

}  // namespace isoflop::ops::cuda
