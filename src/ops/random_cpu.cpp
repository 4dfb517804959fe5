// Initial weights are made before the first step: a billion of them should take seconds. So whole
// blocks of counters go through each stage together, in loops that become vector code.
#include "isoflop/ops/random.hpp"

#include <algorithm>

#include "isoflop/base/philox.hpp"
#include "ops/vector_math.hpp"
#include "ops/vectorize.hpp"

namespace isoflop::ops::cpu {
namespace {

/// Counters in a block; four deviates each.
constexpr std::int64_t kBlock = 64;
constexpr std::int64_t kBlockValues = 4 * kBlock;

/// The deviates of a block of counters, in order of index.
template <class T>
[[gnu::always_inline]] inline void normal_block(T deviation, PhiloxKey key, std::uint64_t stream,
                                                std::uint64_t first_counter, T* out) {
    std::uint32_t words[4][kBlock];
    for_each_independent(kBlock, [&](std::int64_t i) {
        const std::uint64_t index = first_counter + static_cast<std::uint64_t>(i);
        const PhiloxCounter random =
            philox({static_cast<std::uint32_t>(index), static_cast<std::uint32_t>(index >> 32U),
                    static_cast<std::uint32_t>(stream), static_cast<std::uint32_t>(stream >> 32U)},
                   key);
        for (std::size_t word = 0; word < 4; ++word) words[word][i] = random[word];
    });
    for (std::int64_t pair = 0; pair < 2; ++pair) {
        for_each_independent(kBlock, [&](std::int64_t i) {
            const T radius =
                deviation * std::sqrt(T(-2) * logarithm(positive_unit<T>(words[2 * pair][i])));
            const SineCosine<T> turn = sine_cosine_of_turn<T>(words[2 * pair + 1][i]);
            out[4 * i + 2 * pair] = radius * turn.cosine;
            out[4 * i + 2 * pair + 1] = radius * turn.sine;
        });
    }
}

}  // namespace

void fill_normal(Context& context, double deviation, std::uint64_t seed, std::uint64_t stream,
                 std::int64_t first, const TensorView& x) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        T* const values = x.as<T>().data();
        const PhiloxKey key = philox_key(seed);
        const auto body = [&](std::int64_t begin, std::int64_t end) {
            T block[kBlockValues];
            for (std::int64_t at = begin; at < end;) {
                const std::int64_t skipped = (first + at) % 4;
                const std::int64_t count = std::min(kBlockValues - skipped, end - at);
                normal_block(static_cast<T>(deviation), key, stream,
                             static_cast<std::uint64_t>((first + at) / 4), block);
                std::copy_n(block + skipped, count, values + at);
                at += count;
            }
        };
        vectorized_ranges(context, x.size(), kChunkElements, body);
    });
}

}  // namespace isoflop::ops::cpu
