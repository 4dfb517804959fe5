// A block normalises one row after another. It keeps the row and the parameters in shared memory,
// so that each is read once; rows that do not fit are read again from global memory. A thread has
// the same columns in every pass: what it has written itself needs no barrier.
#include "isoflop/ops/norm.hpp"

#include <cmath>

#include "ops/cuda_partial_sums.hpp"

namespace isoflop::ops::cuda {
namespace {

using simt::Global;

template <class T>
struct ForwardArguments {
    Global<const T> x;
    Global<const T> branch;
    Global<T> sum;
    Global<T> out;
    Global<float> statistics;
    Global<const T> weight;
    Global<const T> bias;
    std::int64_t rows;
    int columns;
    bool has_branch;
    bool has_bias;
    float eps;
    float weight_offset;  ///< added to every weight
};

/// Columns of this thread, as packs: pack first, first + step, ... of `end`.
struct PackRange {
    int first;
    int end;
    int step;
};

template <int width>
SIMT_DEVICE PackRange own_packs(int columns) {
    return {simt::thread_index().x, columns / width, simt::block_size().x};
}

template <int width, class From, class To>
SIMT_DEVICE void copy_row(const PackRange& own, const From& from, const To& to) {
    for (int i = own.first; i < own.end; i += own.step) {
        const std::int64_t place = static_cast<std::int64_t>(i) * width;
        store_pack(to + place, load_pack<width>(from + place));
    }
}

/// Reads the row, adds the branch, keeps the sum as it is after rounding. Returns this thread's
/// part of the sum of elements or, for RMSNorm, of squares.
template <bool kIsCentered, bool kIsCached, int width, class T, class Kept>
SIMT_DEVICE float read_row(const ForwardArguments<T>& a, std::int64_t row_begin,
                           const PackRange& own, const Kept& kept) {
    float total = 0.0F;
    for (int i = own.first; i < own.end; i += own.step) {
        const std::int64_t place = static_cast<std::int64_t>(i) * width;
        Pack<T, width> pack = load_pack<width>(a.x + row_begin + place);
        if (a.has_branch) {
            pack = map_packs<T, width>([](float x, float branch) { return x + branch; }, pack,
                                       load_pack<width>(a.branch + row_begin + place));
            store_pack(a.sum + row_begin + place, pack);
        }
        if constexpr (kIsCached) store_pack(kept + place, pack);
        for (int k = 0; k < width; ++k) {
            const float x = simt::to_float(pack.values[k]);
            total += kIsCentered ? x : x * x;
        }
    }
    return total;
}

template <int width, class Row>
SIMT_DEVICE float centered_squares(const Row& row, const PackRange& own, float mean) {
    float squares = 0.0F;
    for (int i = own.first; i < own.end; i += own.step) {
        const auto pack = load_pack<width>(row + static_cast<std::int64_t>(i) * width);
        for (int k = 0; k < width; ++k) {
            const float centered = simt::to_float(pack.values[k]) - mean;
            squares += centered * centered;
        }
    }
    return squares;
}

template <bool kIsCentered, bool kIsCached, int width, class T>
SIMT_KERNEL void norm_forward_kernel(ForwardArguments<T> a) {
    SIMT_SHARED_ARRAY(float, partial, 32);
    const PackRange own = own_packs<width>(a.columns);
    const auto row_bytes = static_cast<std::int64_t>(sizeof(T)) * a.columns;
    const auto weight = cached_or<kIsCached, T>(a.weight, row_bytes, a.columns);
    const auto bias = cached_or<kIsCached, T>(a.bias, 2 * row_bytes, a.has_bias ? a.columns : 0);
    if constexpr (kIsCached) {
        copy_row<width>(own, a.weight, weight);
        if (a.has_bias) copy_row<width>(own, a.bias, bias);
    }
    const auto count = static_cast<float>(a.columns);
    for (std::int64_t row = simt::block_index().x; row < a.rows; row += simt::grid_size().x) {
        const std::int64_t begin = row * a.columns;
        const Global<const T> input = a.has_branch ? Global<const T>(a.sum) : a.x;
        const auto kept = cached_or<kIsCached, T>(input + begin, 0, a.columns);
        const float total =
            block_sum(read_row<kIsCentered, kIsCached, width>(a, begin, own, kept), partial);
        float mean = 0.0F;
        float squares = total;
        if constexpr (kIsCentered) {
            mean = total / count;
            squares = block_sum(centered_squares<width>(kept, own, mean), partial);
        }
        const float inverse = 1.0F / std::sqrt(squares / count + a.eps);
        if (simt::thread_index().x == 0) {
            if constexpr (kIsCentered) simt::store(a.statistics + row, mean);
            simt::store(a.statistics + (kIsCentered ? a.rows + row : row), inverse);
        }
        for (int i = own.first; i < own.end; i += own.step) {
            const std::int64_t place = static_cast<std::int64_t>(i) * width;
            const auto normalised = [mean, inverse, offset = a.weight_offset](float x,
                                                                              float scale) {
                return (x - mean) * inverse * (scale + offset);
            };
            const Pack<T, width> x = load_pack<width>(kept + place);
            const Pack<T, width> scale = load_pack<width>(weight + place);
            if (a.has_bias) {
                store_pack(a.out + begin + place,
                           map_packs<T, width>(
                               [&](float value, float factor, float bias_of) {
                                   return normalised(value, factor) + bias_of;
                               },
                               x, scale, load_pack<width>(bias + place)));
            } else {
                store_pack(a.out + begin + place, map_packs<T, width>(normalised, x, scale));
            }
        }
    }
}

template <class T>
struct BackwardArguments {
    Global<const T> d_out;
    Global<const T> x;
    Global<const float> statistics;
    Global<const T> weight;
    Global<T> d_x;
    Global<float> partials;  ///< [blocks, sums_columns]
    std::int64_t rows;
    int columns;
    int sums_columns;  ///< of d_weight, then of d_bias where there is one
    bool accumulate;
    float weight_offset;  ///< added to every weight
};

struct RowStatistics {
    float mean;
    float inverse;
};

/// Sums of a row over d_y, x and weight: d_x = inverse * g - offset - (x - mean) * slope with g =
/// d_y * weight (norm_rows.hpp).
struct RowSums {
    float gradients = 0.0F;  ///< of g
    float products = 0.0F;   ///< of g * normalised x
};

/// Reads the row, adds to the sums of the parameters' gradients, and returns this thread's part of
/// the row's sums.
template <bool kIsCached, int width, class T, class Kept, class Weight, class Sums>
SIMT_DEVICE RowSums read_gradient(const BackwardArguments<T>& a, std::int64_t begin,
                                  const PackRange& own, const RowStatistics& row,
                                  const Weight& weight, const Sums& sums, const Kept& kept_d_y,
                                  const Kept& kept_x) {
    RowSums result;
    for (int i = own.first; i < own.end; i += own.step) {
        const std::int64_t place = static_cast<std::int64_t>(i) * width;
        const Pack<T, width> d_y = load_pack<width>(a.d_out + begin + place);
        const Pack<T, width> x = load_pack<width>(a.x + begin + place);
        const Pack<T, width> scale = load_pack<width>(weight + place);
        if constexpr (kIsCached) {
            store_pack(kept_d_y + place, d_y);
            store_pack(kept_x + place, x);
        }
        Floats<width> d_weight = load_floats<width>(sums, i, own.end);
        for (int k = 0; k < width; ++k) {
            const float gradient = simt::to_float(d_y.values[k]);
            const float normalised = (simt::to_float(x.values[k]) - row.mean) * row.inverse;
            const float scaled = gradient * (simt::to_float(scale.values[k]) + a.weight_offset);
            result.gradients += scaled;
            result.products += scaled * normalised;
            d_weight.values[k] += gradient * normalised;
        }
        store_floats(sums, i, own.end, d_weight);
        if (a.sums_columns > a.columns) {
            Floats<width> d_bias = load_floats<width>(sums + a.columns, i, own.end);
            for (int k = 0; k < width; ++k) d_bias.values[k] += simt::to_float(d_y.values[k]);
            store_floats(sums + a.columns, i, own.end, d_bias);
        }
    }
    return result;
}

template <int width, class T, class Kept, class Weight>
SIMT_DEVICE void write_gradient(const BackwardArguments<T>& a, std::int64_t begin,
                                const PackRange& own, const RowStatistics& row, float offset,
                                float slope, const Weight& weight, const Kept& kept_d_y,
                                const Kept& kept_x) {
    const auto gradient = [=, weight_offset = a.weight_offset](float d_y, float x, float scale) {
        return row.inverse * (d_y * (scale + weight_offset)) - offset - (x - row.mean) * slope;
    };
    for (int i = own.first; i < own.end; i += own.step) {
        const std::int64_t place = static_cast<std::int64_t>(i) * width;
        const Pack<T, width> d_y = load_pack<width>(kept_d_y + place);
        const Pack<T, width> x = load_pack<width>(kept_x + place);
        const Pack<T, width> scale = load_pack<width>(weight + place);
        const auto d_x = a.d_x + begin + place;
        if (a.accumulate) {
            store_pack(d_x, map_packs<T, width>(
                                [&](float before, float y, float value, float factor) {
                                    return before + gradient(y, value, factor);
                                },
                                load_pack<width>(d_x), d_y, x, scale));
        } else {
            store_pack(d_x, map_packs<T, width>(gradient, d_y, x, scale));
        }
    }
}

/// Thread 0 fetches the next row's statistics for all, before a barrier that is needed anyway.
template <bool kIsCentered, class T>
SIMT_DEVICE void fetch_statistics(const BackwardArguments<T>& a, std::int64_t row,
                                  const simt::Shared<float>& to) {
    if (simt::thread_index().x != 0 || row >= a.rows) return;
    simt::store(to, kIsCentered ? simt::load(a.statistics + row) : 0.0F);
    simt::store(to + 1, simt::load(a.statistics + (kIsCentered ? a.rows + row : row)));
}

template <bool kIsCentered, bool kIsCached, int width, class T>
SIMT_KERNEL void norm_backward_kernel(BackwardArguments<T> a) {
    SIMT_SHARED_ARRAY(float, partial, 32);
    SIMT_SHARED_ARRAY(float, statistics, 4);
    const PackRange own = own_packs<width>(a.columns);
    const auto row_bytes = static_cast<std::int64_t>(sizeof(T)) * a.columns;
    const std::int64_t sums_bytes = static_cast<std::int64_t>(sizeof(float)) * a.sums_columns;
    const Global<float> block_sums =
        a.partials + static_cast<std::int64_t>(simt::block_index().x) * a.sums_columns;
    const auto sums = cached_or<kIsCached, float>(block_sums, 0, a.sums_columns);
    const auto weight = cached_or<kIsCached, T>(a.weight, sums_bytes, a.columns);
    if constexpr (kIsCached) copy_row<width>(own, a.weight, weight);
    for (int i = own.first; i < own.end; i += own.step) {
        for (int first = 0; first < a.sums_columns; first += a.columns)
            store_floats(sums + first, i, own.end, Floats<width>{});
    }
    std::int64_t row = simt::block_index().x;
    fetch_statistics<kIsCentered>(a, row, statistics);
    simt::sync_threads();
    const auto count = static_cast<float>(a.columns);
    for (int slot = 0; row < a.rows; row += simt::grid_size().x, slot = 2 - slot) {
        const std::int64_t begin = row * a.columns;
        const auto d_y =
            cached_or<kIsCached, T>(a.d_out + begin, sums_bytes + row_bytes, a.columns);
        const auto x = cached_or<kIsCached, T>(a.x + begin, sums_bytes + 2 * row_bytes, a.columns);
        const RowStatistics stats{simt::load(statistics + slot),
                                  simt::load(statistics + (slot + 1))};
        const RowSums own_sums =
            read_gradient<kIsCached, width>(a, begin, own, stats, weight, sums, d_y, x);
        fetch_statistics<kIsCentered>(a, row + simt::grid_size().x, statistics + (2 - slot));
        const float products = block_sum(own_sums.products, partial);
        float offset = 0.0F;
        if constexpr (kIsCentered)
            offset = stats.inverse * block_sum(own_sums.gradients, partial) / count;
        const float slope = stats.inverse * stats.inverse * products / count;
        write_gradient<width>(a, begin, own, stats, offset, slope, weight, d_y, x);
    }
    if constexpr (kIsCached) {
        for (int i = own.first; i < own.end; i += own.step) {
            for (int first = 0; first < a.sums_columns; first += a.columns)
                store_floats(block_sums + first, i, own.end,
                             load_floats<width>(sums + first, i, own.end));
        }
    }
}

/// Shared memory of a block that every GPU from compute capability 8.0 on allows.
constexpr std::int64_t kMostSharedBytes = 96 * 1024;

struct RowLaunch {
    int threads = 0;
    int blocks = 0;
    bool is_cached = false;
    std::size_t shared_bytes = 0;
};

/// A thread for each pack of a row where a block can have so many, and as many blocks as run at
/// once: each stays for many rows, to read the parameters rarely.
RowLaunch plan_rows(const Context& context, std::int64_t rows, std::int64_t packs,
                    std::int64_t shared_bytes) {
    constexpr int most_warps = 16;
    constexpr int busy_threads = 1024;  // of a multiprocessor
    const device::DeviceInfo& gpu = context.device.info();
    RowLaunch plan;
    plan.threads = simt::warp_lanes * blocks_for(packs, simt::warp_lanes, most_warps);
    plan.is_cached = shared_bytes <= kMostSharedBytes;
    if (plan.is_cached) plan.shared_bytes = static_cast<std::size_t>(shared_bytes);
    std::int64_t at_once = std::min(busy_threads / plan.threads, 16);
    if (plan.is_cached) {
        constexpr std::int64_t bytes_of_others = 2048;  // static, and the system's
        at_once = std::clamp<std::int64_t>(
            shared_bytes_of_multiprocessor(gpu) / (shared_bytes + bytes_of_others), 1, at_once);
    }
    plan.blocks = static_cast<int>(std::min(rows, at_once * gpu.multiprocessors));
    return plan;
}

/// Every block leaves its sums, which are to be few beside the rows: no more blocks than keep a
/// multiprocessor busy, unless there are many rows for each.
RowLaunch plan_backward_rows(const Context& context, std::int64_t rows, std::int64_t packs,
                             std::int64_t shared_bytes) {
    constexpr std::int64_t many_rows = 256;
    constexpr int busy_threads = 512;
    RowLaunch plan = plan_rows(context, rows, packs, shared_bytes);
    const int busy_blocks =
        context.device.info().multiprocessors * std::max(2, busy_threads / plan.threads);
    const std::int64_t enough = std::max<std::int64_t>(rows / many_rows, busy_blocks);
    plan.blocks = static_cast<int>(std::min<std::int64_t>(plan.blocks, enough));
    return plan;
}

/// visit(is_centered, width), both as types.
template <class T, class Visitor>
void visit_norm(model::Normalization kind, bool has_packs, const Visitor& visit) {
    const auto with_width = [&](auto is_centered) {
        if (has_packs) return visit(is_centered, std::integral_constant<int, kPackWidth<T>>{});
        visit(is_centered, std::integral_constant<int, 1>{});
    };
    if (kind == model::Normalization::rmsnorm) return with_width(std::false_type{});
    with_width(std::true_type{});
}

}  // namespace

void add_norm_forward(Context& context, const NormParameters& parameters, const TensorView& x,
                      const TensorView& branch, const TensorView& sum, const TensorView& out,
                      const TensorView& statistics) {
    if (x.size() == 0) return;
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const bool has_bias = !parameters.bias.empty();
        const ForwardArguments<T> arguments{.x = data<T>(x),
                                            .branch = data<T>(branch),
                                            .sum = data<T>(sum),
                                            .out = data<T>(out),
                                            .statistics = data<float>(statistics),
                                            .weight = data<T>(parameters.weight),
                                            .bias = data<T>(parameters.bias),
                                            .rows = x.dim(0),
                                            .columns = static_cast<int>(x.dim(1)),
                                            .has_branch = !branch.empty(),
                                            .has_bias = has_bias,
                                            .eps = static_cast<float>(parameters.eps),
                                            .weight_offset = parameters.adds_one ? 1.0F : 0.0F};
        const bool has_packs = are_vectorizable<T>(
            x.dim(1), {x, branch, sum, out, parameters.weight, parameters.bias});
        visit_norm<T>(parameters.kind, has_packs, [&](auto is_centered, auto width) {
            const auto row_bytes = static_cast<std::int64_t>(sizeof(T)) * x.dim(1);
            const RowLaunch plan =
                plan_rows(context, x.dim(0), x.dim(1) / width, (has_bias ? 3 : 2) * row_bytes);
            simt::launch({.name = "norm_forward",
                          .grid = {plan.blocks},
                          .block = {plan.threads},
                          .shared_bytes = plan.shared_bytes,
                          .stream = stream_of(context)},
                         plan.is_cached
                             ? norm_forward_kernel<is_centered.value, true, width.value, T>
                             : norm_forward_kernel<is_centered.value, false, width.value, T>,
                         arguments);
        });
    });
}

void norm_backward(Context& context, const NormParameters& parameters, const TensorView& d_out,
                   const TensorView& x, const TensorView& statistics, bool accumulate,
                   const TensorView& d_x, const TensorView& d_weight, const TensorView& d_bias) {
    if (x.size() == 0) return;
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const std::int64_t columns = x.dim(1);
        const std::int64_t sums_columns = d_bias.empty() ? columns : 2 * columns;
        const bool has_packs = are_vectorizable<T>(columns, {d_out, x, parameters.weight, d_x});
        visit_norm<T>(parameters.kind, has_packs, [&](auto is_centered, auto width) {
            const auto shared_bytes =
                static_cast<std::int64_t>(3 * sizeof(T)) * columns + 4 * sums_columns;
            const RowLaunch plan =
                plan_backward_rows(context, x.dim(0), columns / width, shared_bytes);
            const PartialSums partials = partial_sums(context, sums_columns, plan.blocks);
            const BackwardArguments<T> arguments{
                .d_out = data<T>(d_out),
                .x = data<T>(x),
                .statistics = data<float>(statistics),
                .weight = data<T>(parameters.weight),
                .d_x = data<T>(d_x),
                .partials = partials.sums,
                .rows = x.dim(0),
                .columns = static_cast<int>(columns),
                .sums_columns = static_cast<int>(sums_columns),
                .accumulate = accumulate,
                .weight_offset = parameters.adds_one ? 1.0F : 0.0F};
            simt::launch({.name = "norm_backward",
                          .grid = {partials.blocks},
                          .block = {plan.threads},
                          .shared_bytes = plan.shared_bytes,
                          .stream = stream_of(context)},
                         plan.is_cached
                             ? norm_backward_kernel<is_centered.value, true, width.value, T>
                             : norm_backward_kernel<is_centered.value, false, width.value, T>,
                         arguments);
            add_partial_sums(context, partials, 0, columns, width, data<T>(d_weight));
            if (!d_bias.empty())
                add_partial_sums(context, partials, columns, columns, width, data<T>(d_bias));
        });
    });
}

}  // namespace isoflop::ops::cuda
