// The wrapped PTX instructions against plain loops over matrices.
#include <cmath>
#include <limits>
#include <random>

#include "simt_emulator/test_support.hpp"

namespace isoflop::emulator {
namespace {

using simt::Bfloat16;
using simt::Float16;
using simt::Global;

/// D = A B + C, A 16x16 and B 16x8 row by row, with the fragments filled by hand.
template <class T>
SIMT_KERNEL void multiply_16(Global<float> d, Global<const T> a, Global<const T> b) {
    const int group = simt::lane_index() / 4;
    const int pair = 2 * (simt::lane_index() % 4);
    const auto a_pair = [&](int row, int k) {
        return simt::load(simt::pointer_cast<const std::uint32_t>(a + (16 * row + k)));
    };
    const auto b_pair = [&](int k, int column) {
        const std::uint32_t low = simt::load(b + (8 * k + column)).bits;
        const std::uint32_t high = simt::load(b + (8 * (k + 1) + column)).bits;
        return low | high << 16U;
    };
    const std::uint32_t a_fragment[4] = {a_pair(group, pair), a_pair(group + 8, pair),
                                         a_pair(group, pair + 8), a_pair(group + 8, pair + 8)};
    const std::uint32_t b_fragment[2] = {b_pair(pair, group), b_pair(pair + 8, group)};
    float sums[4];
    for (int i = 0; i < 4; ++i) {
        sums[i] = simt::load(d + (8 * (group + 8 * (i / 2)) + pair + i % 2));
    }
    simt::mma_m16n8k16<T>(sums, a_fragment, b_fragment);
    for (int i = 0; i < 4; ++i) {
        simt::store(d + (8 * (group + 8 * (i / 2)) + pair + i % 2), sums[i]);
    }
}

template <class T>
std::vector<T> random_matrix(std::size_t size, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    std::vector<T> values(size);
    for (T& value : values) value = simt::round_to<T>(normal(random));
    return values;
}

/// 1e-6 of the largest sum of magnitudes: one rounding of the emulated unit, some of the reference.
template <class T>
void expect_product(const GlobalArray<float>& d, const std::vector<float>& c,
                    const std::vector<T>& a, const std::vector<T>& b, std::size_t depth) {
    for (std::size_t row = 0; row < 16; ++row) {
        for (std::size_t column = 0; column < 8; ++column) {
            double sum = c[8 * row + column];
            for (std::size_t k = 0; k < depth; ++k) {
                sum += static_cast<double>(simt::to_float(a[depth * row + k])) *
                       static_cast<double>(simt::to_float(b[8 * k + column]));
            }
            EXPECT_NEAR(d[8 * row + column], sum, 1e-5);
        }
    }
}

template <class T>
class Mma16 : public testing::Test {};
using SixteenBitTypes = testing::Types<Bfloat16, Float16>;
TYPED_TEST_SUITE(Mma16, SixteenBitTypes);

TYPED_TEST(Mma16, IsAMatrixProduct) {
    const auto a = random_matrix<TypeParam>(16 * 16, 1);
    const auto b = random_matrix<TypeParam>(16 * 8, 2);
    const auto c = random_matrix<float>(16 * 8, 3);
    for (const Options& options : all_orders()) {
        Session session(options);
        GlobalArray<float> d(c);
        const GlobalArray<TypeParam> a_array(a);
        const GlobalArray<TypeParam> b_array(b);
        simt::launch({.name = "mma", .block = {32}}, multiply_16<TypeParam>, d, a_array, b_array);
        expect_product(d, c, a, b, 16);
        EXPECT_EQ(session.counters().matrix_products, 1U);
    }
}

SIMT_KERNEL void multiply_tf32(Global<float> d, Global<const float> a, Global<const float> b) {
    const int group = simt::lane_index() / 4;
    const int t = simt::lane_index() % 4;
    const auto tf32 = [](Global<const float> p) { return simt::round_to_tf32(simt::load(p)); };
    const std::uint32_t a_fragment[4] = {tf32(a + (8 * group + t)), tf32(a + (8 * (group + 8) + t)),
                                         tf32(a + (8 * group + t + 4)),
                                         tf32(a + (8 * (group + 8) + t + 4))};
    const std::uint32_t b_fragment[2] = {tf32(b + (8 * t + group)),
                                         tf32(b + (8 * (t + 4) + group))};
    float sums[4] = {};
    simt::mma_m16n8k8_tf32(sums, a_fragment, b_fragment);
    for (int i = 0; i < 4; ++i) {
        simt::store(d + (8 * (group + 8 * (i / 2)) + 2 * t + i % 2), sums[i]);
    }
}

TEST(MmaTf32, IsAProductOfRoundedMatrices) {
    auto a = random_matrix<float>(16 * 8, 4);
    auto b = random_matrix<float>(8 * 8, 5);
    GlobalArray<float> d(16 * 8);
    const GlobalArray<float> a_array(a);
    const GlobalArray<float> b_array(b);
    simt::launch({.name = "mma", .block = {32}}, multiply_tf32, d, a_array, b_array);
    for (float& x : a)
        x = std::ldexp(std::round(std::ldexp(x, 10 - std::ilogb(x))), std::ilogb(x) - 10);
    for (float& x : b)
        x = std::ldexp(std::round(std::ldexp(x, 10 - std::ilogb(x))), std::ilogb(x) - 10);
    expect_product(d, std::vector<float>(16 * 8), a, b, 8);
}

SIMT_KERNEL void multiply_partly(int lanes) {
    float d[4] = {};
    const std::uint32_t a[4] = {};
    const std::uint32_t b[2] = {};
    if (simt::lane_index() < lanes) simt::mma_m16n8k16<Bfloat16>(d, a, b);
}

TEST(Mma, NeedsAllLanes) {
    expect_fault(FaultKind::absent_lanes, {"mma_m16n8k16"},
                 [&] { simt::launch({.name = "mma", .block = {32}}, multiply_partly, 31); });
    expect_no_fault([&] { simt::launch({.name = "mma", .block = {32}}, multiply_partly, 32); });
}

/// Element (row, column) of matrix m is 100 m + 10 row + column.
template <int matrices, bool transposed>
SIMT_KERNEL void load_matrices(Global<std::uint32_t> out, int shift) {
    SIMT_SHARED_ARRAY(std::uint16_t, tile, 4 * 64 + 8);
    const int lane = simt::lane_index();
    for (int i = lane; i < 4 * 64 + 8; i += 32) {
        simt::store(tile + i,
                    static_cast<std::uint16_t>(100 * (i / 64) + 10 * (i / 8 % 8) + i % 8));
    }
    simt::sync_warp();
    // The addresses of lanes that give none need not be valid.
    const auto row =
        lane < 8 * matrices ? tile + (8 * lane + shift) : simt::Shared<std::uint16_t>();
    std::uint32_t result[matrices];
    if (transposed) {
        simt::ldmatrix_transposed(result, row);
    } else {
        simt::ldmatrix(result, row);
    }
    for (int m = 0; m < matrices; ++m) simt::store(out + (32 * m + lane), result[m]);
}

template <int matrices, bool transposed>
void expect_loaded() {
    GlobalArray<std::uint32_t> out(32 * matrices);
    simt::launch({.name = "ldmatrix", .block = {32}}, load_matrices<matrices, transposed>, out, 0);
    for (std::size_t m = 0; m < matrices; ++m) {
        for (std::size_t lane = 0; lane < 32; ++lane) {
            const std::size_t slow = lane / 4;
            const std::size_t fast = 2 * (lane % 4);
            const std::size_t low = transposed ? 10 * fast + slow : 10 * slow + fast;
            const std::size_t high = low + (transposed ? 10 : 1);
            EXPECT_EQ(out[32 * m + lane], (100 * m + low) | (100 * m + high) << 16U);
        }
    }
}

TEST(Ldmatrix, DistributesRowsAndColumns) {
    expect_loaded<1, false>();
    expect_loaded<2, false>();
    expect_loaded<4, false>();
    expect_loaded<1, true>();
    expect_loaded<2, true>();
    expect_loaded<4, true>();
}

TEST(Ldmatrix, ChecksItsRows) {
    GlobalArray<std::uint32_t> out(128);
    const simt::Launch how{.name = "ldmatrix", .block = {32}};
    expect_fault(FaultKind::misaligned, {"2 bytes past a multiple"},
                 [&] { simt::launch(how, load_matrices<4, false>, out, 1); });
    expect_fault(FaultKind::out_of_bounds, {"lane 31", "of tile"},
                 [&] { simt::launch(how, load_matrices<4, false>, out, 16); });
}

SIMT_KERNEL void approximate(Global<float> values) {
    const auto p = values + 2 * simt::thread_index().x;
    const float x = simt::load(p);
    simt::store(p, simt::exp2_approximate(x));
    simt::store(p + 1, simt::rsqrt_approximate(x));
}

TEST(Approximations, AreWithinTheirBounds) {
    const std::vector<float> inputs = {0.0F,
                                       1.0F,
                                       0.3F,
                                       2.75F,
                                       100.0F,
                                       -3.5F,
                                       127.9F,
                                       -126.0F,
                                       200.0F,
                                       -200.0F,
                                       -std::numeric_limits<float>::infinity()};
    GlobalArray<float> values(2 * inputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) values[2 * i] = inputs[i];
    simt::launch({.name = "approximate", .block = {static_cast<int>(inputs.size())}}, approximate,
                 values);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
        const double power = std::exp2(static_cast<double>(inputs[i]));
        if (power >= 0x1p-126 && power < 0x1p128) {
            EXPECT_NEAR(values[2 * i], power, power * 0x1p-22);
        } else {
            EXPECT_EQ(values[2 * i], power > 1 ? std::numeric_limits<float>::infinity() : 0.0F);
        }
        if (inputs[i] > 0) {
            const double root = 1 / std::sqrt(static_cast<double>(inputs[i]));
            EXPECT_NEAR(values[2 * i + 1], root, root * 0x1p-22);
        }
    }
}

TEST(Approximations, SineAndCosineAreOfHalfTurns) {
    EXPECT_FLOAT_EQ(simt::sin_pi(0.5F), 1.0F);
    EXPECT_FLOAT_EQ(simt::sin_pi(0.25F), std::sqrt(0.5F));
    EXPECT_EQ(simt::opaque(-7), -7);
    EXPECT_FLOAT_EQ(simt::cos_pi(1.0F), -1.0F);
    EXPECT_FLOAT_EQ(simt::cos_pi(-0.25F), std::sqrt(0.5F));
}

TEST(Packing, BitsOfAFloatAreItsOwn) {
    EXPECT_EQ(simt::to_bits(-2.0F), 0xC000'0000U);
    EXPECT_EQ(simt::from_bits(0x3F80'0000U), 1.0F);
}

TEST(Packing, PutsTheFirstInTheLowHalf) {
    EXPECT_EQ(simt::pack_pair<Bfloat16>(1.0F, -2.0F), 0xC000'3F80U);
    EXPECT_EQ(simt::pack_pair<Float16>(1.0F, -2.0F), 0xC000'3C00U);
}

}  // namespace
}  // namespace isoflop::emulator
