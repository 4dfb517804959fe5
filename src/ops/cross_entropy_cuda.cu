// One block per row: an online pass for the largest logit and the sum of exponentials, then, for
// the gradient, a second pass in place. Rows of a vocabulary are longer than shared memory, but the
// second pass finds most of them in L2.
#include "isoflop/ops/cross_entropy.hpp"

#include "isoflop/ops/cuda/softmax.hpp"

namespace isoflop::ops::cuda {
namespace {

struct Rows {
    std::int64_t count, width;
    std::int64_t misplaced;  ///< elements from a multiple of 16 bytes to the first row
    std::int32_t ignore_index;
};

template <class T, int width>
SIMT_DEVICE void load_floats_of(simt::Global<const T> from, float (&values)[width]) {
    const Pack<T, width> pack = load_pack<width>(from);
    for (int i = 0; i < width; ++i) values[i] = simt::to_float(pack.values[i]);
}

template <class T>
SIMT_DEVICE void fill_row_with_zeros(simt::Global<T> row, const RowParts<T>& parts) {
    for_each_part<T>(parts, [&](std::int64_t first, auto constant) {
        store_pack(row + first, Pack<T, constant.value>{});
    });
}

/// The row becomes scale * (softmax - onehot).
template <class T>
SIMT_DEVICE void write_gradient(simt::Global<T> row, const RowParts<T>& parts,
                                const SoftmaxSum& softmax, std::int64_t target, float scale) {
    const float factor = scale / softmax.sum;
    for_each_part<T>(parts, [&](std::int64_t first, auto constant) {
        constexpr int width = constant.value;
        Pack<T, width> pack = load_pack<width>(row + first);
        for (int i = 0; i < width; ++i) {
            float gradient = factor * std::exp(simt::to_float(pack.values[i]) - softmax.shift);
            if (first + i == target) gradient -= scale;
            pack.values[i] = simt::round_to<T>(gradient);
        }
        store_pack(row + first, pack);
    });
}

template <class T, bool kBackward>
SIMT_KERNEL void cross_entropy_kernel(simt::Global<float> losses, simt::Global<T> logits,
                                      simt::Global<const std::int32_t> targets, Rows rows,
                                      float scale) {
    SIMT_SHARED_ARRAY(float, partial, 2 * kMostRowWarps);
    for (std::int64_t row = simt::block_index().x; row < rows.count; row += simt::grid_size().x) {
        const auto z = logits + row * rows.width;
        const RowParts<T> parts(rows.misplaced + row * rows.width, rows.width);
        const std::int32_t target = simt::load(targets + row);
        const bool is_first = simt::thread_index().x == 0;
        if (target == rows.ignore_index) {
            if (is_first) simt::store(losses + row, 0.0F);
            if constexpr (kBackward) fill_row_with_zeros<T>(z, parts);
            continue;
        }
        SoftmaxSum softmax;
        for_each_part<T>(parts, [&](std::int64_t first, auto constant) {
            float values[constant.value];
            load_floats_of<T>(z + first, values);
            add_to_softmax(softmax, values);
        });
        const float target_logit = is_first ? simt::to_float(simt::load(z + target)) : 0.0F;
        softmax = block_softmax(softmax, partial);
        if (is_first) {
            simt::store(losses + row, std::log(softmax.sum) + (softmax.shift - target_logit));
        }
        if constexpr (kBackward) write_gradient<T>(z, parts, softmax, target, scale);
    }
}

template <bool kBackward>
void launch_rows(Context& context, const TensorView& logits, std::span<const std::int32_t> targets,
                 std::int32_t ignore_index, double scale, const TensorView& losses) {
    if (logits.dim(0) == 0) return;
    visit_storage(logits.dtype(), [&](auto zero) {
        using T = decltype(zero);
        T* const values = data<T>(logits);
        const Rows rows{.count = logits.dim(0),
                        .width = logits.dim(1),
                        .misplaced = misplacement(values),
                        .ignore_index = ignore_index};
        simt::launch({.name = kBackward ? "cross_entropy_backward" : "cross_entropy",
                      .grid = {blocks_for(rows.count, 1, 1 << 20)},
                      .block = {threads_for_row(rows.width)},
                      .stream = stream_of(context)},
                     cross_entropy_kernel<T, kBackward>, data<float>(losses), values,
                     targets.data(), rows, static_cast<float>(scale));
    });
}

}  // namespace

void cross_entropy_forward(Context& context, const TensorView& logits,
                           std::span<const std::int32_t> targets, std::int32_t ignore_index,
                           const TensorView& losses) {
    launch_rows<false>(context, logits, targets, ignore_index, 0, losses);
}

void cross_entropy_forward_backward(Context& context, const TensorView& logits,
                                    std::span<const std::int32_t> targets,
                                    std::int32_t ignore_index, double scale,
                                    const TensorView& losses) {
    launch_rows<true>(context, logits, targets, ignore_index, scale, losses);
}

}  // namespace isoflop::ops::cuda
