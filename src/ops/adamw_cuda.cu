// AdamW over many segments in one launch: the table of segments is a parameter of the kernel. Work
// is cut into groups of four elements, whose places in the whole tensor are multiples of four, so
// that all tensors are accessed four at a time for all element types; where a segment begins or
// ends within a group, its elements there go one by one.
//
// Weights of 16 bits are rounded from the fp32 master weights, to nearest or stochastically: up
// with a probability that makes the mean the master weight, so that small updates are not lost
// where the rounded weights are used for long.
#include "isoflop/ops/adamw.hpp"

#include <algorithm>
#include <cmath>

#include "isoflop/ops/cuda/elements.hpp"
#include "ops/cuda_grid.hpp"
#include "ops/cuda_philox.hpp"

namespace isoflop::ops::cuda {
namespace {

constexpr int kGroup = 4;
/// Groups that a block takes of one segment at a time: finding the segment costs little beside it.
constexpr std::int64_t kGroupsPerTile = 4 * kBlockThreads;

/// As many as fit beside the other parameters of a kernel into 4 KB.
constexpr int kMostSegments = 128;
struct SegmentTable {
    std::int64_t begin[kMostSegments];  ///< elements
    std::int64_t end[kMostSegments];
    std::int64_t first_tile[kMostSegments + 1];  ///< the last entry in use is the number of tiles
    bool weight_decay[kMostSegments];
    int count;
};

/// The scalars of an update, computed in double and rounded once.
struct Coefficients {
    float beta1, one_minus_beta1, beta2, one_minus_beta2;
    float step_size;                    ///< lr / (1 - beta1^t)
    float inverse_root_correction2;     ///< 1 / sqrt(1 - beta2^t)
    float eps, gradient_scale, shrink;  ///< shrink = lr * weight_decay
};

[[nodiscard]] Coefficients coefficients_of(const AdamWOptions& options) {
    const auto correction = [&](double beta) {
        return 1 - std::pow(beta, static_cast<double>(options.step));
    };
    const auto rounded = [](double value) { return static_cast<float>(value); };
    return {.beta1 = rounded(options.beta1),
            .one_minus_beta1 = rounded(1 - options.beta1),
            .beta2 = rounded(options.beta2),
            .one_minus_beta2 = rounded(1 - options.beta2),
            .step_size = rounded(options.learning_rate / correction(options.beta1)),
            .inverse_root_correction2 = rounded(1 / std::sqrt(correction(options.beta2))),
            .eps = rounded(options.eps),
            .gradient_scale = rounded(options.gradient_scale),
            .shrink = rounded(options.learning_rate * options.weight_decay)};
}

struct Rounding {
    bool stochastic;
    PhiloxKeyWords key;
    std::uint64_t step, first_element;
};

template <class T>
struct Tensors {
    simt::Global<T> weights;
    simt::Global<const T> gradients;
    simt::Global<float> first_moment, second_moment;
    simt::Global<float> master;  ///< the weights themselves where they are fp32
    bool aligned;                ///< groups are whole accesses
};

// ---- Stochastic rounding

/// The random words of elements first to first + 3 of the state: word i mod 4 of counter i / 4.
SIMT_DEVICE PhiloxWords rounding_words(const Rounding& rounding, std::uint64_t first) {
    const auto words_of = [&](std::uint64_t counter) {
        return philox_words(
            {{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32U),
              static_cast<std::uint32_t>(rounding.step),
              static_cast<std::uint32_t>(rounding.step >> 32U)}},
            rounding.key);
    };
    PhiloxWords words = words_of(first / 4);
    const auto shift = static_cast<int>(first % 4);
    if (shift == 0) return words;
    const PhiloxWords next = words_of(first / 4 + 1);
    for (int step = 0; step < 3; ++step) {
        if (step >= shift) break;
        const std::uint32_t entering = step == 0   ? next.words[0]
                                       : step == 1 ? next.words[1]
                                                   : next.words[2];
        words = {{words.words[1], words.words[2], words.words[3], entering}};
    }
    return words;
}

/// To a neighbour among the numbers with `kDropped` bits less: adding a random number below the
/// last bit that is kept carries into it with the right probability. NaN and infinity stay.
template <int kDropped>
SIMT_DEVICE float round_significand(float value, std::uint32_t random) {
    constexpr std::uint32_t kBelow = (1U << static_cast<unsigned>(kDropped)) - 1U;
    const auto bits = simt::to_bits(value);
    if ((bits & 0x7F80'0000U) == 0x7F80'0000U) return value;
    return simt::from_bits((bits + (random & kBelow)) & ~kBelow);
}

template <class T>
SIMT_DEVICE T round_stochastically(float value, std::uint32_t random) {
    if constexpr (std::is_same_v<T, float>) {
        return value;
    } else if constexpr (std::is_same_v<T, simt::Bfloat16>) {
        return simt::round_to<T>(round_significand<16>(value, random));
    } else {
        // Below 2^-14, numbers of 16 bits are the multiples of 2^-24.
        const float magnitude = std::fabs(value);
        if (!(magnitude < 0x1p-14F)) {
            return simt::round_to<T>(round_significand<13>(value, random));
        }
        const float multiple = magnitude * 0x1p24F;
        const float below = std::floor(multiple);
        const float uniform = static_cast<float>(random >> 8U) * 0x1p-24F;
        const float rounded = (multiple - below > uniform ? below + 1 : below) * 0x1p-24F;
        return simt::round_to<T>(value < 0 ? -rounded : rounded);
    }
}

// ---- Updates

SIMT_DEVICE void update(const Coefficients& c, float shrink, float gradient, float& weight,
                        float& moment1, float& moment2) {
    gradient *= c.gradient_scale;
    moment1 = c.beta1 * moment1 + c.one_minus_beta1 * gradient;
    moment2 = c.beta2 * moment2 + c.one_minus_beta2 * (gradient * gradient);
    const float denominator = std::sqrt(moment2) * c.inverse_root_correction2 + c.eps;
    weight -= c.step_size * moment1 / denominator + shrink * weight;
}

template <class T>
SIMT_DEVICE T rounded_weight(const Rounding& rounding, float weight, std::uint32_t random) {
    return rounding.stochastic ? round_stochastically<T>(weight, random)
                               : simt::round_to<T>(weight);
}

/// Elements first to first + 3.
template <class T>
SIMT_DEVICE void update_group(const Tensors<T>& tensors, const Coefficients& coefficients,
                              const Rounding& rounding, float shrink, std::int64_t first) {
    const Pack<T, kGroup> gradient = load_pack<kGroup>(tensors.gradients + first);
    Pack<float, kGroup> weight = load_pack<kGroup>(tensors.master + first);
    Pack<float, kGroup> moment1 = load_pack<kGroup>(tensors.first_moment + first);
    Pack<float, kGroup> moment2 = load_pack<kGroup>(tensors.second_moment + first);
    for (int i = 0; i < kGroup; ++i) {
        update(coefficients, shrink, simt::to_float(gradient.values[i]), weight.values[i],
               moment1.values[i], moment2.values[i]);
    }
    store_pack(tensors.first_moment + first, moment1);
    store_pack(tensors.second_moment + first, moment2);
    store_pack(tensors.master + first, weight);
    if constexpr (!std::is_same_v<T, float>) {
        PhiloxWords random{};
        if (rounding.stochastic) {
            random = rounding_words(rounding,
                                    rounding.first_element + static_cast<std::uint64_t>(first));
        }
        Pack<T, kGroup> rounded;
        for (int i = 0; i < kGroup; ++i) {
            rounded.values[i] = rounded_weight<T>(rounding, weight.values[i], random.words[i]);
        }
        store_pack(tensors.weights + first, rounded);
    }
}

template <class T>
SIMT_DEVICE void update_element(const Tensors<T>& tensors, const Coefficients& coefficients,
                                const Rounding& rounding, float shrink, std::int64_t i) {
    float weight = simt::load(tensors.master + i);
    float moment1 = simt::load(tensors.first_moment + i);
    float moment2 = simt::load(tensors.second_moment + i);
    update(coefficients, shrink, simt::to_float(simt::load(tensors.gradients + i)), weight, moment1,
           moment2);
    simt::store(tensors.first_moment + i, moment1);
    simt::store(tensors.second_moment + i, moment2);
    simt::store(tensors.master + i, weight);
    if constexpr (!std::is_same_v<T, float>) {
        PhiloxWords random{};
        if (rounding.stochastic) {
            random =
                rounding_words(rounding, rounding.first_element + static_cast<std::uint64_t>(i));
        }
        simt::store(tensors.weights + i, rounded_weight<T>(rounding, weight, random.words[0]));
    }
}

/// The segment that a tile belongs to: the last one that begins at it or before.
SIMT_DEVICE int segment_of(const SegmentTable& table, std::int64_t tile) {
    int low = 0;
    int high = table.count;
    while (high - low > 1) {
        const int middle = (low + high) / 2;
        if (table.first_tile[middle] <= tile) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

template <class T>
SIMT_KERNEL void adamw_kernel(Tensors<T> tensors, Coefficients coefficients, Rounding rounding,
                              SegmentTable table) {
    const std::int64_t tiles = table.first_tile[table.count];
    for (std::int64_t tile = simt::block_index().x; tile < tiles; tile += simt::grid_size().x) {
        const int segment = segment_of(table, tile);
        const std::int64_t begin = table.begin[segment];
        const std::int64_t end = table.end[segment];
        const float shrink = table.weight_decay[segment] ? coefficients.shrink : 0.0F;
        const std::int64_t first_group =
            begin / kGroup + (tile - table.first_tile[segment]) * kGroupsPerTile;
        for (std::int64_t i = simt::thread_index().x; i < kGroupsPerTile; i += kBlockThreads) {
            const std::int64_t first = (first_group + i) * kGroup;
            if (first >= end) break;
            if (tensors.aligned && first >= begin && first + kGroup <= end) {
                update_group(tensors, coefficients, rounding, shrink, first);
                continue;
            }
            const std::int64_t group_end = first + kGroup < end ? first + kGroup : end;
            for (std::int64_t k = first > begin ? first : begin; k < group_end; ++k) {
                update_element(tensors, coefficients, rounding, shrink, k);
            }
        }
    }
}

/// Up to kMostSegments of the segments, without empty ones.
[[nodiscard]] SegmentTable table_of(std::span<const AdamWSegment> segments) {
    SegmentTable table{};
    for (const AdamWSegment& segment : segments) {
        if (segment.count == 0) continue;
        const auto i = static_cast<std::size_t>(table.count);
        const std::int64_t end = segment.offset + segment.count;
        const std::int64_t groups = (end + kGroup - 1) / kGroup - segment.offset / kGroup;
        table.begin[i] = segment.offset;
        table.end[i] = end;
        table.weight_decay[i] = segment.weight_decay;
        table.first_tile[i + 1] =
            table.first_tile[i] + (groups + kGroupsPerTile - 1) / kGroupsPerTile;
        ++table.count;
    }
    return table;
}

template <class T>
[[nodiscard]] Tensors<T> tensors_of(const AdamWState& state) {
    T* const weights = data<T>(state.weights);
    const T* const gradients = data<T>(state.gradients);
    float* const moment1 = data<float>(state.first_moment);
    float* const moment2 = data<float>(state.second_moment);
    float* master = data<float>(state.master_weights);
    if constexpr (std::is_same_v<T, float>) master = weights;
    const auto fits = [](const auto* pointer) {
        return reinterpret_cast<std::uintptr_t>(pointer) % (kGroup * sizeof(*pointer)) == 0;
    };
    const bool aligned =
        fits(weights) && fits(gradients) && fits(moment1) && fits(moment2) && fits(master);
    return {weights, gradients, moment1, moment2, master, aligned};
}

}  // namespace

void adamw(Context& context, const AdamWOptions& options, std::span<const AdamWSegment> segments,
           const AdamWState& state) {
    const Coefficients coefficients = coefficients_of(options);
    const Rounding rounding{.stochastic = options.stochastic_rounding,
                            .key = key_words(philox_key(options.rounding_seed)),
                            .step = static_cast<std::uint64_t>(options.step),
                            .first_element = options.first_element};
    visit_storage(state.weights.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const Tensors<T> tensors = tensors_of<T>(state);
        while (!segments.empty()) {
            const std::size_t count = std::min<std::size_t>(segments.size(), kMostSegments);
            const SegmentTable table = table_of(segments.first(count));
            segments = segments.subspan(count);
            if (table.count == 0) continue;
            simt::launch({.name = "adamw",
                          .grid = {blocks_for(table.first_tile[table.count], 1, 4096)},
                          .block = {kBlockThreads},
                          .stream = stream_of(context)},
                         adamw_kernel<T>, tensors, coefficients, rounding, table);
        }
    });
}

}  // namespace isoflop::ops::cuda
