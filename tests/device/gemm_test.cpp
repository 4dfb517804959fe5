// Every implementation and instruction set against the definition.
#include "isoflop/device/gemm.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <string>

#include "gemm_reference.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/device/instruction_set.hpp"

namespace isoflop::device {
namespace {

using testing::Operands;
using testing::random_values;
using testing::reference;

constexpr auto kNo = Transpose::no;
constexpr auto kYes = Transpose::yes;
constexpr Transpose kBoth[] = {kNo, kYes};

std::vector<InstructionSet> instruction_sets() {
    std::vector<InstructionSet> all;
    for (const InstructionSet set :
         {InstructionSet::generic, InstructionSet::avx2, InstructionSet::avx512}) {
        if (set <= best_instruction_set()) all.push_back(set);
    }
    return all;
}

class Gemm : public ::testing::TestWithParam<InstructionSet> {
protected:
    void SetUp() override { force_instruction_set(GetParam()); }
    void TearDown() override { force_instruction_set(best_instruction_set()); }
};

/// Rounding of a sum of k products is about sqrt(k) ulps of the sum of magnitudes; 1e-6 is 17
/// half-ulps.
void expect_close(const Operands<float>& operands, const std::vector<float>& result, float alpha,
                  float beta, const std::string& what) {
    const GemmShape& shape = operands.shape;
    const std::vector<double> expected = reference(operands, alpha, beta);
    const std::vector<double> scale = reference(operands, alpha, beta, true);
    const double tolerance =
        1e-6 * std::sqrt(static_cast<double>(std::max<std::int64_t>(shape.k, 1)));
    for (std::int64_t i = 0; i < shape.m; ++i) {
        for (std::int64_t j = 0; j < shape.ldc; ++j) {
            const auto at = static_cast<std::size_t>(i * shape.ldc + j);
            if (j >= shape.n) {  // padding belongs to somebody else
                ASSERT_EQ(result[at], operands.c[at]) << what << " wrote past a row";
            } else {
                ASSERT_NEAR(result[at], expected[at], tolerance * scale[at] + 1e-30)
                    << what << " at " << i << ", " << j;
            }
        }
    }
}

void check_product(const Operands<float>& operands, float alpha, float beta) {
    const GemmShape& shape = operands.shape;
    const std::string what =
        fmt::format("{}{} {} x {} x {}, alpha {}, beta {}", shape.transpose_a == kYes ? 'T' : 'N',
                    shape.transpose_b == kYes ? 'T' : 'N', shape.m, shape.n, shape.k, alpha, beta);
    static ThreadPool pool(2);
    std::vector<float> result = operands.c;
    gemm(pool, shape, alpha, operands.a.data(), operands.b.data(), beta, result.data());
    expect_close(operands, result, alpha, beta, what);

    std::vector<float> serial = operands.c;
    gemm_serial(shape, alpha, operands.a.data(), operands.b.data(), beta, serial.data());
    expect_close(operands, serial, alpha, beta, "serial " + what);
}

TEST_P(Gemm, AgreesWithTheDefinitionAtOddShapes) {
    constexpr std::int64_t kSizes[] = {1,  2,  3,  5,  7,  8,  13,  16,  17,
                                       31, 32, 33, 63, 64, 65, 100, 129, 257};
    constexpr std::int64_t kCount = std::size(kSizes);
    // A Latin square: each size meets each other size, in every place, without trying all triples.
    for (std::int64_t i = 0; i < kCount; ++i) {
        for (std::int64_t j = 0; j < kCount; ++j) {
            const std::int64_t m = kSizes[i];
            const std::int64_t n = kSizes[j];
            const std::int64_t k = kSizes[(i + j) % kCount];
            const Transpose transpose_a = kBoth[i % 2];
            const Transpose transpose_b = kBoth[(i / 2 + j) % 2];
            check_product({transpose_a, transpose_b, m, n, k, (i + j) % 3 == 0 ? 5 : 0}, 1, 0);
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(Gemm, AllTransposesAlphasAndBetas) {
    for (const Transpose transpose_a : kBoth) {
        for (const Transpose transpose_b : kBoth) {
            for (const std::int64_t padding : {0, 3}) {
                for (const float alpha : {1.0F, 0.5F, -2.0F}) {
                    for (const float beta : {0.0F, 1.0F, -0.75F}) {
                        check_product({transpose_a, transpose_b, 37, 70, 29, padding}, alpha, beta);
                        check_product({transpose_a, transpose_b, 6, 45, 100, padding}, alpha, beta);
                    }
                }
                if (HasFatalFailure()) return;
            }
        }
    }
}

TEST_P(Gemm, LargeProductsInSeveralBlocks) {
    for (const Transpose transpose_a : kBoth) {
        for (const Transpose transpose_b : kBoth) {
            check_product({transpose_a, transpose_b, 203, 150, 1100, 1}, 1, 1);  // depth in pieces
            check_product({transpose_a, transpose_b, 101, 1700, 130}, 1,
                          -0.5F);  // columns in blocks
            check_product({transpose_a, transpose_b, 128, 128, 512}, 1,
                          0);  // row strides that collide
            if (HasFatalFailure()) return;
        }
    }
}

TEST_P(Gemm, DoesNotReadCWhenBetaIsZero) {
    ThreadPool pool(2);
    for (const std::int64_t size : {5, 40, 130}) {
        Operands<float> operands(kNo, kYes, size, size, size);
        std::vector<float> result(operands.c.size(), std::numeric_limits<float>::quiet_NaN());
        gemm(pool, operands.shape, 1.0F, operands.a.data(), operands.b.data(), 0.0F, result.data());
        expect_close(operands, result, 1, 0, "NaN in C");
    }
}

TEST_P(Gemm, WithoutProductsOnlyScalesC) {
    ThreadPool pool(2);
    Operands<float> operands(kNo, kNo, 9, 11, 0, 2);
    const std::vector<float> before = operands.c;
    gemm(pool, operands.shape, 1.0F, operands.a.data(), operands.b.data(), 0.5F, operands.c.data());
    for (std::int64_t i = 0; i < 9; ++i) {
        for (std::int64_t j = 0; j < 13; ++j) {
            const auto at = static_cast<std::size_t>(i * 13 + j);
            EXPECT_EQ(operands.c[at], j < 11 ? 0.5F * before[at] : before[at]);
        }
    }
    // alpha = 0 does not even look at the operands.
    Operands<float> zero(kNo, kNo, 4, 4, 4);
    zero.a.assign(zero.a.size(), std::numeric_limits<float>::quiet_NaN());
    gemm(pool, zero.shape, 0.0F, zero.a.data(), zero.b.data(), 0.0F, zero.c.data());
    EXPECT_THAT(zero.c, ::testing::Each(0.0F));
}

TEST_P(Gemm, EmptyResultsAreLeftAlone) {
    ThreadPool pool(2);
    gemm(pool, {.m = 0, .n = 4, .k = 4, .lda = 4, .ldb = 4, .ldc = 4}, 1.0F, nullptr, nullptr, 0.0F,
         nullptr);
    gemm(pool, {.m = 4, .n = 0, .k = 4, .lda = 4, .ldb = 0, .ldc = 0}, 1.0F, nullptr, nullptr, 0.0F,
         nullptr);
    gemm_serial({.m = 0, .n = 0, .k = 0, .lda = 0, .ldb = 0, .ldc = 0}, 1.0F, nullptr, nullptr,
                0.0F, nullptr);
}

TEST_P(Gemm, BitsDoNotDependOnTheNumberOfThreads) {
    ThreadPool one(1);
    ThreadPool two(2);
    ThreadPool three(3);
    for (const Transpose transpose_a : kBoth) {
        for (const Transpose transpose_b : kBoth) {
            const Operands<float> operands(transpose_a, transpose_b, 300, 500, 700);
            std::vector<std::vector<float>> results;
            for (ThreadPool* pool : {&one, &two, &three}) {
                results.push_back(operands.c);
                gemm(*pool, operands.shape, 1.0F, operands.a.data(), operands.b.data(), 1.0F,
                     results.back().data());
            }
            const std::size_t bytes = results[0].size() * sizeof(float);
            EXPECT_EQ(std::memcmp(results[0].data(), results[1].data(), bytes), 0);
            EXPECT_EQ(std::memcmp(results[0].data(), results[2].data(), bytes), 0);
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Implementations, Gemm, ::testing::ValuesIn(instruction_sets()),
                         [](const auto& parameter) {
                             return "own_" + std::string(name(parameter.param));
                         });

// An element is one chain of multiply-adds, for every tile: a product of parts has the bits of the
// whole.
TEST(GemmOwn, PartsHaveTheBitsOfTheWhole) {
    const Operands<float> whole(kNo, kNo, 200, 300, 400);
    std::vector<float> expected = whole.c;
    gemm_serial(whole.shape, 1.0F, whole.a.data(), whole.b.data(), 0.0F, expected.data());
    GemmShape part = whole.shape;
    part.m = 9;
    part.n = 21;
    std::vector<float> result = whole.c;
    const std::int64_t row = 50;
    const std::int64_t column = 77;
    gemm_serial(part, 1.0F, whole.a.data() + row * part.lda, whole.b.data() + column, 0.0F,
                result.data() + row * part.ldc + column);
    for (std::int64_t i = row; i < row + part.m; ++i) {
        for (std::int64_t j = column; j < column + part.n; ++j) {
            const auto at = static_cast<std::size_t>(i * part.ldc + j);
            EXPECT_EQ(result[at], expected[at]);
        }
    }
}

TEST(GemmOwn, MayBeCalledFromSeveralThreadsOfAPool) {
    ThreadPool pool(3);
    const Operands<float> operands(kYes, kYes, 150, 150, 150);
    std::vector<float> expected = operands.c;
    gemm_serial(operands.shape, 1.0F, operands.a.data(), operands.b.data(), 0.0F, expected.data());
    pool.parallel_for(12, [&](std::int64_t) {
        std::vector<float> result = operands.c;
        gemm(pool, operands.shape, 1.0F, operands.a.data(), operands.b.data(), 0.0F, result.data());
        EXPECT_EQ(result, expected);
    });
}

TEST(GemmDouble, AgreesWithTheDefinition) {
    ThreadPool pool(2);
    for (const Transpose transpose_a : kBoth) {
        for (const Transpose transpose_b : kBoth) {
            for (const double beta : {0.0, 1.0, -0.5}) {
                const Operands<double> operands(transpose_a, transpose_b, 35, 43, 61, 2);
                const std::vector<double> expected = reference(operands, 1.5, beta);
                std::vector<double> parallel = operands.c;
                gemm(pool, operands.shape, 1.5, operands.a.data(), operands.b.data(), beta,
                     parallel.data());
                std::vector<double> serial = operands.c;
                gemm_serial(operands.shape, 1.5, operands.a.data(), operands.b.data(), beta,
                            serial.data());
                for (std::int64_t i = 0; i < operands.shape.m; ++i) {
                    for (std::int64_t j = 0; j < operands.shape.n; ++j) {
                        const auto at = static_cast<std::size_t>(i * operands.shape.ldc + j);
                        ASSERT_NEAR(parallel[at], expected[at], 1e-14);
                        ASSERT_EQ(parallel[at], serial[at]);
                    }
                }
            }
        }
    }
}

TEST(GemmShapes, StridesShorterThanRowsAreRefused) {
    ThreadPool pool(1);
    float value = 0;
    EXPECT_THROW(gemm(pool, {.m = 2, .n = 2, .k = 3, .lda = 2, .ldb = 2, .ldc = 2}, 1.0F, &value,
                      &value, 0.0F, &value),
                 std::logic_error);
    EXPECT_THROW(gemm(pool, {.m = -1, .n = 2, .k = 3, .lda = 3, .ldb = 2, .ldc = 2}, 1.0F, &value,
                      &value, 0.0F, &value),
                 std::logic_error);
}

TEST(CpuProducts, WithABiasAndBetaAreRefused) {
    ThreadPool pool(1);
    const float one = 1;
    float c = 5;
    DeviceGemm product;
    product.shape = {.m = 1, .n = 1, .k = 1, .lda = 1, .ldb = 1, .ldc = 1};
    product.dtype = DType::float32;
    product.a = &one;
    product.b = &one;
    product.c = &c;
    product.bias = &one;
    host_device().gemm(pool, product);
    EXPECT_EQ(c, 2);
    product.beta = 1;
    EXPECT_THROW(host_device().gemm(pool, product), std::logic_error);
    EXPECT_EQ(c, 2);
}

TEST(GemmDescription, NamesTheInstructionSet) {
    EXPECT_THAT(describe_gemm(), ::testing::StartsWith("own ("));
}

}  // namespace
}  // namespace isoflop::device
