// A group of lanes, a power of two of one warp, normalises one head after another. It keeps the
// head in shared memory; a lane has the same columns in every pass, so that needs no barrier. The
// groups of a block share the weights.
#include "isoflop/ops/qk_norm.hpp"

#include <bit>
#include <cmath>

#include "ops/cuda_partial_sums.hpp"

namespace isoflop::ops::cuda {
namespace {

using simt::Global;

struct HeadArguments {
    std::int64_t heads_in_all;  ///< rows * heads
    std::int64_t row_width;
    int heads;
    int query_heads;
    int head_dim;
    int group_lanes;
    float weight_offset;  ///< added to every weight
};

/// One head of one row for a group of lanes.
struct Head {
    bool exists;
    bool is_query;
    std::int64_t in_packed;  ///< its first element there
    std::int64_t in_before;
};

SIMT_DEVICE Head head_at(const HeadArguments& a, std::int64_t index) {
    const std::int64_t row = index / a.heads;
    const auto head = static_cast<int>(index - row * a.heads);
    return {.exists = index < a.heads_in_all,
            .is_query = head < a.query_heads,
            .in_packed = row * a.row_width + static_cast<std::int64_t>(head) * a.head_dim,
            .in_before = index * a.head_dim};
}

SIMT_DEVICE int group_index(const HeadArguments& a) {
    return simt::thread_index().x / a.group_lanes;
}
SIMT_DEVICE int lane_of_group(const HeadArguments& a) {
    return simt::thread_index().x % a.group_lanes;
}
SIMT_DEVICE int groups_of_block(const HeadArguments& a) {
    return simt::block_size().x / a.group_lanes;
}

/// Known to all lanes of the group. All lanes of the warp must call it.
SIMT_DEVICE float group_sum(float value, int group_lanes) {
    for (int bits = group_lanes / 2; bits > 0; bits /= 2)
        value += simt::shuffle_xor(value, bits, group_lanes);
    return value;
}

/// The weights of queries, then of keys, for all threads after the next barrier.
template <int width, class T, class To>
SIMT_DEVICE void read_weights(const HeadArguments& a, const Global<const T>& query_weight,
                              const Global<const T>& key_weight, const To& weights) {
    for (int i = simt::thread_index().x * width; i < a.head_dim;
         i += simt::block_size().x * width) {
        store_pack(weights + i, load_pack<width>(query_weight + i));
        store_pack(weights + a.head_dim + i, load_pack<width>(key_weight + i));
    }
}

template <class T>
struct ForwardArguments {
    Global<T> packed;
    Global<T> before;
    Global<float> statistics;
    Global<const T> query_weight;
    Global<const T> key_weight;
    float eps;
};

template <class T, int width>
SIMT_KERNEL void qk_norm_forward_kernel(HeadArguments a, ForwardArguments<T> tensors) {
    const std::int64_t row_bytes = static_cast<std::int64_t>(sizeof(T)) * a.head_dim;
    const auto weights = simt::dynamic_shared<T>(0, 2 * a.head_dim);
    const auto kept = simt::dynamic_shared<T>((2 + group_index(a)) * row_bytes, a.head_dim);
    read_weights<width>(a, tensors.query_weight, tensors.key_weight, weights);
    simt::sync_threads();
    const int first = lane_of_group(a) * width;
    const int step = a.group_lanes * width;
    const int groups = groups_of_block(a);
    // The whole block goes on while any of its groups has a head: lanes sum together.
    for (std::int64_t base = static_cast<std::int64_t>(simt::block_index().x) * groups;
         base < a.heads_in_all; base += static_cast<std::int64_t>(simt::grid_size().x) * groups) {
        const std::int64_t index = base + group_index(a);
        const Head head = head_at(a, index);
        float squares = 0.0F;
        for (int i = head.exists ? first : a.head_dim; i < a.head_dim; i += step) {
            const Pack<T, width> x = load_pack<width>(tensors.packed + head.in_packed + i);
            store_pack(tensors.before + head.in_before + i, x);
            store_pack(kept + i, x);
            for (int k = 0; k < width; ++k) {
                const float value = simt::to_float(x.values[k]);
                squares += value * value;
            }
        }
        squares = group_sum(squares, a.group_lanes);
        const float inverse =
            1.0F / std::sqrt(squares / static_cast<float>(a.head_dim) + tensors.eps);
        if (head.exists && first == 0) simt::store(tensors.statistics + index, inverse);
        const auto weight = weights + (head.is_query ? 0 : a.head_dim);
        for (int i = head.exists ? first : a.head_dim; i < a.head_dim; i += step) {
            store_pack(tensors.packed + head.in_packed + i,
                       map_packs<T, width>(
                           [inverse, offset = a.weight_offset](float x, float scale) {
                               return x * inverse * (scale + offset);
                           },
                           load_pack<width>(kept + i), load_pack<width>(weight + i)));
        }
    }
}

template <class T>
struct BackwardArguments {
    Global<T> d_packed;
    Global<const T> before;
    Global<const float> statistics;
    Global<const T> query_weight;
    Global<const T> key_weight;
    Global<float> partials;  ///< [blocks, 2 * head_dim]: queries, keys
};

/// Reads the head and adds to the group's sums of its weight. Returns this lane's part of the sum
/// of d_y * weight * normalised x.
template <int width, class T, class Kept, class Weight, class Sums>
SIMT_DEVICE float read_gradient(const HeadArguments& a, const BackwardArguments<T>& tensors,
                                const Head& head, float inverse, const Weight& weight,
                                const Sums& sums, const Kept& kept_d_y, const Kept& kept_x) {
    float products = 0.0F;
    const int first = lane_of_group(a) * width;
    for (int i = head.exists ? first : a.head_dim; i < a.head_dim; i += a.group_lanes * width) {
        const Pack<T, width> d_y = load_pack<width>(tensors.d_packed + head.in_packed + i);
        const Pack<T, width> x = load_pack<width>(tensors.before + head.in_before + i);
        const Pack<T, width> scale = load_pack<width>(weight + i);
        store_pack(kept_d_y + i, d_y);
        store_pack(kept_x + i, x);
        Floats<width> d_weight = load_floats<width>(sums, i / width, a.head_dim / width);
        for (int k = 0; k < width; ++k) {
            const float gradient = simt::to_float(d_y.values[k]);
            const float normalised = simt::to_float(x.values[k]) * inverse;
            products += gradient * (simt::to_float(scale.values[k]) + a.weight_offset) * normalised;
            d_weight.values[k] += gradient * normalised;
        }
        store_floats(sums, i / width, a.head_dim / width, d_weight);
    }
    return products;
}

/// Adds the sums of all groups in their order.
template <class Sums>
SIMT_DEVICE void combine_groups(const HeadArguments& a, const Sums& sums,
                                const Global<float>& block_sums) {
    simt::sync_threads();
    const int columns = 2 * a.head_dim;
    for (int i = simt::thread_index().x; i < columns; i += simt::block_size().x) {
        float sum = 0.0F;
        for (int group = 0; group < groups_of_block(a); ++group)
            sum += simt::load(sums + static_cast<std::int64_t>(group) * columns + i);
        simt::store(block_sums + i, sum);
    }
}

template <class T, int width>
SIMT_KERNEL void qk_norm_backward_kernel(HeadArguments a, BackwardArguments<T> tensors) {
    const std::int64_t row_bytes = static_cast<std::int64_t>(sizeof(T)) * a.head_dim;
    const int groups = groups_of_block(a);
    const int group = group_index(a);
    const std::int64_t group_columns = 2 * a.head_dim;
    const auto all_sums = simt::dynamic_shared<float>(0, groups * group_columns);
    const std::int64_t sums_bytes =
        static_cast<std::int64_t>(sizeof(float)) * groups * group_columns;
    const auto weights = simt::dynamic_shared<T>(sums_bytes, 2 * a.head_dim);
    const auto d_y = simt::dynamic_shared<T>(sums_bytes + (2 + 2 * group) * row_bytes, a.head_dim);
    const auto x = simt::dynamic_shared<T>(sums_bytes + (3 + 2 * group) * row_bytes, a.head_dim);
    read_weights<width>(a, tensors.query_weight, tensors.key_weight, weights);
    const auto sums = all_sums + group * group_columns;
    for (int i = lane_of_group(a); i < a.head_dim / width; i += a.group_lanes) {
        store_floats(sums, i, a.head_dim / width, Floats<width>{});
        store_floats(sums + a.head_dim, i, a.head_dim / width, Floats<width>{});
    }
    simt::sync_threads();
    const int first = lane_of_group(a) * width;
    for (std::int64_t base = static_cast<std::int64_t>(simt::block_index().x) * groups;
         base < a.heads_in_all; base += static_cast<std::int64_t>(simt::grid_size().x) * groups) {
        const Head head = head_at(a, base + group);
        float inverse = 0.0F;
        if (head.exists && first == 0) inverse = simt::load(tensors.statistics + base + group);
        inverse = simt::shuffle(inverse, 0, a.group_lanes);
        const int weight_begin = head.is_query ? 0 : a.head_dim;
        const auto weight = weights + weight_begin;
        const float products = group_sum(
            read_gradient<width>(a, tensors, head, inverse, weight, sums + weight_begin, d_y, x),
            a.group_lanes);
        const float slope = inverse * inverse * products / static_cast<float>(a.head_dim);
        const auto gradient = [=, offset = a.weight_offset](float d_out, float value, float scale) {
            return inverse * (d_out * (scale + offset)) - value * slope;
        };
        for (int i = head.exists ? first : a.head_dim; i < a.head_dim; i += a.group_lanes * width) {
            store_pack(tensors.d_packed + head.in_packed + i,
                       map_packs<T, width>(gradient, load_pack<width>(d_y + i),
                                           load_pack<width>(x + i), load_pack<width>(weight + i)));
        }
    }
    combine_groups(a, all_sums, tensors.partials + simt::block_index().x * group_columns);
}

struct HeadLaunch {
    HeadArguments heads{};
    int threads = 0;
    int blocks = 0;
    std::size_t shared_bytes = 0;
};

/// `block_bytes` and `group_bytes` of shared memory for each element of a head.
HeadLaunch plan_heads(const Context& context, const QkNormShape& shape, std::int64_t rows,
                      std::int64_t row_width, int width, std::int64_t block_bytes,
                      std::int64_t group_bytes) {
    constexpr std::int64_t wanted_bytes = 48 * 1024;
    constexpr std::int64_t most_bytes = 96 * 1024;
    const std::int64_t packs = shape.head_dim / width;
    const auto lanes = static_cast<int>(std::min<std::uint64_t>(
        simt::warp_lanes, std::bit_ceil(static_cast<std::uint64_t>(packs))));
    const auto bytes = [&](int threads) {
        return (block_bytes + threads / lanes * group_bytes) * shape.head_dim;
    };
    HeadLaunch plan;
    plan.threads = kBlockThreads;
    while (plan.threads > simt::warp_lanes && bytes(plan.threads) > wanted_bytes) plan.threads /= 2;
    if (bytes(plan.threads) > most_bytes)
        throw std::invalid_argument("qk_norm: heads are too long for a GPU's shared memory");
    plan.shared_bytes = static_cast<std::size_t>(bytes(plan.threads));
    const std::int64_t heads = shape.query_heads + shape.key_heads;
    plan.heads = {.heads_in_all = rows * heads,
                  .row_width = row_width,
                  .heads = static_cast<int>(heads),
                  .query_heads = static_cast<int>(shape.query_heads),
                  .head_dim = static_cast<int>(shape.head_dim),
                  .group_lanes = lanes,
                  .weight_offset = shape.adds_one ? 1.0F : 0.0F};
    // Blocks that run at once, each for many heads: weights and their gradients are few beside.
    plan.blocks =
        blocks_for(rows * heads, plan.threads / lanes, 4 * context.device.info().multiprocessors);
    return plan;
}

template <class T>
bool has_head_packs(const QkNormShape& shape, const TensorView& packed,
                    std::initializer_list<TensorView> others) {
    return are_vectorizable<T>(shape.head_dim, others) &&
           are_vectorizable<T>(shape.head_dim, {packed}) &&
           are_vectorizable<T>(packed.dim(1), {packed});
}

}  // namespace

void qk_norm_forward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                     const TensorView& key_weight, const TensorView& packed,
                     const TensorView& before, const TensorView& statistics) {
    if (before.size() == 0) return;
    visit_storage(packed.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const bool has_packs = has_head_packs<T>(shape, packed, {query_weight, key_weight, before});
        const HeadLaunch plan = plan_heads(context, shape, packed.dim(0), packed.dim(1),
                                           has_packs ? kPackWidth<T> : 1, 2 * sizeof(T), sizeof(T));
        const ForwardArguments<T> tensors{.packed = data<T>(packed),
                                          .before = data<T>(before),
                                          .statistics = data<float>(statistics),
                                          .query_weight = data<T>(query_weight),
                                          .key_weight = data<T>(key_weight),
                                          .eps = static_cast<float>(shape.eps)};
        simt::launch(
            {.name = "qk_norm_forward",
             .grid = {plan.blocks},
             .block = {plan.threads},
             .shared_bytes = plan.shared_bytes,
             .stream = stream_of(context)},
            has_packs ? qk_norm_forward_kernel<T, kPackWidth<T>> : qk_norm_forward_kernel<T, 1>,
            plan.heads, tensors);
    });
}

void qk_norm_backward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                      const TensorView& key_weight, const TensorView& before,
                      const TensorView& statistics, const TensorView& d_packed,
                      const TensorView& d_query_weight, const TensorView& d_key_weight) {
    if (before.size() == 0) return;
    visit_storage(d_packed.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const bool has_packs =
            has_head_packs<T>(shape, d_packed, {query_weight, key_weight, before});
        const int width = has_packs ? kPackWidth<T> : 1;
        const std::int64_t head_dim = shape.head_dim;
        const HeadLaunch plan = plan_heads(context, shape, d_packed.dim(0), d_packed.dim(1), width,
                                           2 * sizeof(T), 2 * sizeof(T) + 2 * sizeof(float));
        const PartialSums partials = partial_sums(context, 2 * head_dim, plan.blocks);
        const BackwardArguments<T> tensors{.d_packed = data<T>(d_packed),
                                           .before = data<T>(before),
                                           .statistics = data<float>(statistics),
                                           .query_weight = data<T>(query_weight),
                                           .key_weight = data<T>(key_weight),
                                           .partials = partials.sums};
        simt::launch(
            {.name = "qk_norm_backward",
             .grid = {partials.blocks},
             .block = {plan.threads},
             .shared_bytes = plan.shared_bytes,
             .stream = stream_of(context)},
            has_packs ? qk_norm_backward_kernel<T, kPackWidth<T>> : qk_norm_backward_kernel<T, 1>,
            plan.heads, tensors);
        add_partial_sums(context, partials, 0, head_dim, width, data<T>(d_query_weight));
        add_partial_sums(context, partials, head_dim, head_dim, width, data<T>(d_key_weight));
    });
}

}  // namespace isoflop::ops::cuda
