// Normal deviates as random_cpu.cpp makes them, from the same counters: one counter and its four
// deviates per thread and round. Sine and cosine are those of less than an eighth of a turn to
// either side, so that the angle is not rounded twice.
#include "isoflop/ops/random.hpp"

#include <cmath>

#include "isoflop/ops/cuda/elements.hpp"
#include "ops/cuda_grid.hpp"
#include "ops/cuda_philox.hpp"

namespace isoflop::ops::cuda {
namespace {

constexpr int kDeviates = 4;

/// In (0, 1], from 32 random bits.
SIMT_DEVICE float positive_unit(std::uint32_t bits) {
    const auto centred = static_cast<float>(static_cast<std::int32_t>(bits ^ 0x80000000U));
    const float shifted = 0.5F + centred * 0x1.0p-32F;
    return shifted < 0x1.0p-33F ? 0x1.0p-33F : shifted;
}

struct SineCosine {
    float sine, cosine;
};

/// Of 2 pi bits / 2^32.
SIMT_DEVICE SineCosine sine_cosine_of_turn(std::uint32_t bits) {
    const std::uint32_t quadrant = (bits + 0x20000000U) >> 30U;
    const float half_turns =
        static_cast<float>(static_cast<std::int32_t>(bits - (quadrant << 30U))) * 0x1.0p-31F;
    const float sine = simt::sin_pi(half_turns);
    const float cosine = simt::cos_pi(half_turns);
    const bool odd = (quadrant & 1U) != 0;
    const float a = odd ? cosine : sine;
    const float b = odd ? sine : cosine;
    return {(quadrant & 2U) != 0 ? -a : a, ((quadrant + 1U) & 2U) != 0 ? -b : b};
}

struct Stream {
    PhiloxKeyWords key;
    std::uint64_t number;
    float deviation;
};

SIMT_DEVICE Pack<float, kDeviates> deviates(const Stream& stream, std::uint64_t counter) {
    const PhiloxWords random = philox_words(
        {{static_cast<std::uint32_t>(counter), static_cast<std::uint32_t>(counter >> 32U),
          static_cast<std::uint32_t>(stream.number),
          static_cast<std::uint32_t>(stream.number >> 32U)}},
        stream.key);
    Pack<float, kDeviates> values;
    for (int i = 0; i < kDeviates; i += 2) {
        const float logarithm = std::log(positive_unit(random.words[i]));
        const float radius = stream.deviation * std::sqrt(-2.0F * logarithm);
        const SineCosine turn = sine_cosine_of_turn(random.words[i + 1]);
        values.values[i] = radius * turn.cosine;
        values.values[i + 1] = radius * turn.sine;
    }
    return values;
}

/// `first`: index of x[0] in the stream. Counters begin at multiples of four there; the first and
/// the last may have deviates outside x.
template <class T>
SIMT_KERNEL void fill_normal_kernel(simt::Global<T> x, std::int64_t first, std::int64_t count,
                                    Stream stream, bool aligned) {
    const std::int64_t first_counter = first / kDeviates;
    const std::int64_t counters = (first + count + kDeviates - 1) / kDeviates - first_counter;
    for (std::int64_t i = grid_thread(); i < counters; i += grid_threads()) {
        const Pack<float, kDeviates> values =
            deviates(stream, static_cast<std::uint64_t>(first_counter + i));
        const std::int64_t place = (first_counter + i) * kDeviates - first;
        if (aligned && place >= 0 && place + kDeviates <= count) {
            store_pack(x + place,
                       map_packs<T, kDeviates>([](float value) { return value; }, values));
            continue;
        }
        for (int k = 0; k < kDeviates; ++k) {
            if (place + k < 0 || place + k >= count) continue;
            simt::store(x + (place + k), simt::round_to<T>(values.values[k]));
        }
    }
}

}  // namespace

void fill_normal(Context& context, double deviation, std::uint64_t seed, std::uint64_t stream,
                 std::int64_t first, const TensorView& x) {
    if (x.size() == 0) return;
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        T* const values = data<T>(x);
        const auto elements = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(values) /
                                                        sizeof(T) % kDeviates);
        simt::launch({.name = "fill_normal",
                      .grid = {blocks_for(x.size(), kDeviates * kBlockThreads)},
                      .block = {kBlockThreads},
                      .stream = stream_of(context)},
                     fill_normal_kernel<T>, values, first, x.size(),
                     Stream{.key = key_words(philox_key(seed)),
                            .number = stream,
                            .deviation = static_cast<float>(deviation)},
                     elements == first % kDeviates);
    });
}

}  // namespace isoflop::ops::cuda
