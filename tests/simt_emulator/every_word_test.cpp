// The kernels that nvcc compiles too.
#include "simt_emulator/every_word.hpp"

#include "simt_emulator/test_support.hpp"

namespace isoflop::emulator {
namespace {

using simt::Bfloat16;
using simt::Float16;

template <class T>
class EveryWord : public testing::Test {};
using SixteenBitTypes = testing::Types<Bfloat16, Float16>;
TYPED_TEST_SUITE(EveryWord, SixteenBitTypes);

/// Small whole numbers: exact in every type.
template <class T>
GlobalArray<T> whole_numbers(std::size_t size, int factor) {
    GlobalArray<T> values(size);
    for (std::size_t i = 0; i < size; ++i) {
        values[i] = simt::round_to<T>(static_cast<float>(factor * static_cast<int>(i) % 13 - 6));
    }
    return values;
}

TYPED_TEST(EveryWord, TileProductsAreExact) {
    const auto a = whole_numbers<TypeParam>(2 * 256, 5);
    const auto b = whole_numbers<TypeParam>(128, 3);
    for (const Options& options : all_orders()) {
        Session session(options);
        GlobalArray<float> out(2 * 128);
        simt::launch({.name = "tile_products", .block = {64}, .shared_bytes = 1536},
                     simt_test::tile_products<TypeParam>, out, a, b);
        for (std::size_t row = 0; row < 32; ++row) {
            for (std::size_t column = 0; column < 8; ++column) {
                float sum = 0.0F;
                for (std::size_t k = 0; k < 16; ++k) {
                    sum += simt::to_float(a[16 * row + k]) * simt::to_float(b[16 * column + k]);
                }
                EXPECT_EQ(out[8 * row + column], sum);
            }
        }
        EXPECT_EQ(session.counters().matrix_products, 2U);
    }
}

TYPED_TEST(EveryWord, RunsTheSameInEveryOrder) {
    std::vector<std::vector<float>> results;
    for (const Options& options : all_orders()) {
        Session session(options);
        GlobalArray<float> out(129);
        GlobalArray<int> counters(3);
        const GlobalArray<float> in(512, 1.5F);
        simt::launch({.name = "every_other_word", .grid = {2}, .block = {64}},
                     simt_test::every_other_word<TypeParam>, out, counters, in);
        EXPECT_EQ(counters.values(), (std::vector<int>{128, 127, 1}));
        results.push_back(out.values());
    }
    for (const auto& result : results) EXPECT_EQ(result, results[0]);
}

}  // namespace
}  // namespace isoflop::emulator
