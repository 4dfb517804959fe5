// Matrix products of the device against sums in double precision of the same rounded inputs.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>

#include "support/device_op.hpp"
#include "support/gpu_fixture.hpp"

namespace isoflop::device {
namespace {

using testing::HasSubstr;

/// What one result may be off by, relative to the sum of the magnitudes of its terms.
double tolerance(DType dtype) {
    switch (dtype) {
        case DType::bfloat16: return 1.0 / 128;
        case DType::float16: return 1.0 / 1024;
        default: return 1e-5;
    }
}

struct Case {
    DType dtype = DType::float32;
    Transpose transpose_a = Transpose::no;
    Transpose transpose_b = Transpose::no;
    std::int64_t m = 1, n = 1, k = 1;
    std::int64_t padding = 0;  ///< elements after each row
    std::int64_t offset = 0;   ///< elements before each matrix
    std::int64_t count = 1;
    bool shared_a = false;  ///< one A for all
    float alpha = 1, beta = 0;
    bool bias = false;
};

std::string describe(const Case& c) {
    return std::string(short_name(c.dtype)) + (c.transpose_a == Transpose::yes ? " T" : " N") +
           (c.transpose_b == Transpose::yes ? "T " : "N ") + std::to_string(c.m) + "x" +
           std::to_string(c.n) + "x" + std::to_string(c.k) + " padding " +
           std::to_string(c.padding) + " offset " + std::to_string(c.offset) + " count " +
           std::to_string(c.count) + " alpha " + std::to_string(c.alpha) + " beta " +
           std::to_string(c.beta) + (c.bias ? " bias" : "");
}

/// Matrices one after another in host memory.
struct Operand {
    Operand(const Case& c, std::int64_t rows, std::int64_t columns, std::int64_t count,
            std::mt19937& random)
        : element(static_cast<std::int64_t>(size_in_bytes(c.dtype))),
          stride(columns + c.padding),
          distance(rows * stride + c.padding),
          offset(c.offset),
          bytes(static_cast<std::size_t>((offset + count * distance) * element)) {
        std::uniform_real_distribution<float> value(-1, 1);
        for (std::size_t i = 0; i < bytes.size(); i += static_cast<std::size_t>(element))
            test::store_rounded(c.dtype, {value(random)}, bytes.data() + i);
    }
    [[nodiscard]] std::size_t place(std::int64_t matrix, std::int64_t row,
                                    std::int64_t column) const {
        return static_cast<std::size_t>((offset + matrix * distance + row * stride + column) *
                                        element);
    }
    std::int64_t element, stride, distance, offset;
    std::vector<std::byte> bytes;
};

class GpuProducts : public test::GpuTest {
protected:
    void expect_right(const Case& c) {
        SCOPED_TRACE(describe(c));
        std::mt19937 random(3);
        const bool ta = c.transpose_a == Transpose::yes;
        const bool tb = c.transpose_b == Transpose::yes;
        const Operand a(c, ta ? c.k : c.m, ta ? c.m : c.k, c.shared_a ? 1 : c.count, random);
        const Operand b(c, tb ? c.n : c.k, tb ? c.k : c.n, c.count, random);
        const Operand initial(c, c.m, c.n, c.count, random);
        const Operand bias(c, 1, c.n, 1, random);
        const DeviceBuffer device_a = upload(a.bytes);
        const DeviceBuffer device_b = upload(b.bytes);
        const DeviceBuffer device_c = upload(initial.bytes);
        const DeviceBuffer device_bias = upload(bias.bytes);
        DeviceGemm product;
        product.shape = {c.transpose_a, c.transpose_b, c.m,      c.n,
                         c.k,           a.stride,      b.stride, initial.stride};
        product.dtype = c.dtype;
        product.alpha = c.alpha;
        product.beta = c.beta;
        product.a = device_a.data() + a.place(0, 0, 0);
        product.b = device_b.data() + b.place(0, 0, 0);
        product.c = device_c.data() + initial.place(0, 0, 0);
        if (c.bias) product.bias = device_bias.data() + bias.place(0, 0, 0);
        product.count = c.count;
        product.stride_a = c.shared_a ? 0 : a.distance;
        product.stride_b = b.distance;
        product.stride_c = initial.distance;
        gpu_->gemm(pool_, product);
        Operand expected = initial;
        Operand result = initial;
        result.bytes = download<std::byte>(device_c);
        for (std::int64_t i = 0; i < c.count; ++i) {
            for (std::int64_t row = 0; row < c.m; ++row) {
                for (std::int64_t column = 0; column < c.n; ++column) {
                    double sum = 0;
                    double magnitude = 0;
                    const auto add = [&](double term) {
                        sum += term;
                        magnitude += std::abs(term);
                    };
                    for (std::int64_t k = 0; k < c.k; ++k) {
                        const std::size_t in_a = ta ? a.place(c.shared_a ? 0 : i, k, row)
                                                    : a.place(c.shared_a ? 0 : i, row, k);
                        const std::size_t in_b = tb ? b.place(i, column, k) : b.place(i, k, column);
                        add(static_cast<double>(c.alpha) *
                            test::load_stored(c.dtype, a.bytes.data() + in_a) *
                            test::load_stored(c.dtype, b.bytes.data() + in_b));
                    }
                    const std::size_t in_c = initial.place(i, row, column);
                    add(static_cast<double>(c.beta) *
                        test::load_stored(c.dtype, initial.bytes.data() + in_c));
                    if (c.bias)
                        add(test::load_stored(c.dtype,
                                              bias.bytes.data() + bias.place(0, 0, column)));
                    const double got = test::load_stored(c.dtype, result.bytes.data() + in_c);
                    ASSERT_NEAR(got, sum, tolerance(c.dtype) * magnitude)
                        << "matrix " << i << ", row " << row << ", column " << column;
                    std::copy_n(result.bytes.data() + in_c, initial.element,
                                expected.bytes.data() + in_c);
                }
            }
        }
        EXPECT_EQ(result.bytes, expected.bytes) << "something outside of C was written";
    }
};

constexpr DType kTypes[] = {DType::float32, DType::bfloat16, DType::float16};

TEST_F(GpuProducts, OfEveryTypeAndTranspose) {
    for (const DType dtype : kTypes) {
        for (const Transpose ta : {Transpose::no, Transpose::yes}) {
            for (const Transpose tb : {Transpose::no, Transpose::yes}) {
                expect_right({.dtype = dtype,
                              .transpose_a = ta,
                              .transpose_b = tb,
                              .m = 24,
                              .n = 40,
                              .k = 32});
                expect_right({.dtype = dtype,
                              .transpose_a = ta,
                              .transpose_b = tb,
                              .m = 7,
                              .n = 33,
                              .k = 19,
                              .padding = 3,
                              .offset = 1});
            }
        }
    }
}

TEST_F(GpuProducts, OfOddShapes) {
    for (const DType dtype : kTypes) {
        for (const std::int64_t m : {1, 31}) {
            for (const std::int64_t n : {1, 2, 65}) {
                for (const std::int64_t k : {1, 100, 257})
                    expect_right({.dtype = dtype, .m = m, .n = n, .k = k});
            }
        }
    }
}

TEST_F(GpuProducts, WithBiasOrAddedToC) {
    for (const DType dtype : kTypes) {
        expect_right({.dtype = dtype,
                      .transpose_b = Transpose::yes,
                      .m = 9,
                      .n = 24,
                      .k = 16,
                      .bias = true});
        expect_right({.dtype = dtype,
                      .transpose_b = Transpose::yes,
                      .m = 1,
                      .n = 13,
                      .k = 5,
                      .alpha = 0.5F,
                      .bias = true});
        expect_right({.dtype = dtype,
                      .transpose_a = Transpose::yes,
                      .m = 12,
                      .n = 20,
                      .k = 33,
                      .alpha = -2,
                      .beta = 1});
        expect_right({.dtype = dtype, .m = 5, .n = 6, .k = 7, .beta = 0.5F});
    }
}

TEST_F(GpuProducts, OfManyMatrices) {
    for (const DType dtype : kTypes) {
        expect_right({.dtype = dtype, .m = 8, .n = 16, .k = 8, .count = 5});
        expect_right({.dtype = dtype,
                      .transpose_b = Transpose::yes,
                      .m = 5,
                      .n = 5,
                      .k = 3,
                      .padding = 1,
                      .count = 7,
                      .shared_a = true,
                      .beta = 1});
    }
}

TEST_F(GpuProducts, OfNothing) {
    expect_right({.m = 0, .n = 3, .k = 2});
    expect_right({.m = 3, .n = 0, .k = 2});
    expect_right({.m = 3, .n = 5, .k = 0, .padding = 2, .count = 2});
    expect_right({.m = 3, .n = 5, .k = 0, .beta = 1});
    expect_right({.m = 3, .n = 5, .k = 2, .count = 0});
}

TEST_F(GpuProducts, OfWrongArgumentsAreRefused) {
    DeviceGemm product;
    product.shape = {.m = 2, .n = 2, .k = 4, .lda = 3, .ldb = 2, .ldc = 2};
    EXPECT_THROW(gpu_->gemm(pool_, product), std::logic_error);
    product.shape.lda = 4;
    product.beta = 1;
    product.bias = &product;
    EXPECT_THROW(gpu_->gemm(pool_, product), std::logic_error);
}

TEST_F(GpuProducts, AreRecordedInGraphs) {
    const DeviceBuffer a = upload(std::vector<float>{1, 2, 3, 4});
    const DeviceBuffer c = upload(std::vector<float>{1, 0, 0, 1});
    DeviceGemm product;
    product.shape = {.m = 2, .n = 2, .k = 2, .lda = 2, .ldb = 2, .ldc = 2};
    product.dtype = DType::float32;
    product.a = a.data();
    product.b = a.data();
    product.c = c.data();
    product.beta = 1;
    ASSERT_TRUE(gpu_->begin_capture());
    gpu_->gemm(pool_, product);
    const auto graph = gpu_->end_capture();
    for (int i = 0; i < 3; ++i) graph->launch();
    EXPECT_THAT(download<float>(c), testing::ElementsAre(1 + 3 * 7, 3 * 10, 3 * 15, 1 + 3 * 22));
}

/// A suite of its own, which the GPU bundle runs last: a library that reads such a bias as whole
/// packs ends the process's use of the GPU.
class GpuOddBiases : public GpuProducts {};

TEST_F(GpuOddBiases, AreAdded) {
    for (const DType dtype : kTypes) {
        for (const std::int64_t offset : {1, 3, 4}) {
            for (const std::int64_t m : {1, 2, 9, 64}) {
                expect_right({.dtype = dtype,
                              .transpose_b = Transpose::yes,
                              .m = m,
                              .n = 13,
                              .k = 5,
                              .padding = 2,
                              .offset = offset,
                              .alpha = 0.5F,
                              .bias = true});
            }
        }
    }
}

class GpuMeasuredProducts : public GpuProducts {
protected:
    GpuMeasuredProducts()
        : file_(std::filesystem::path(testing::TempDir()) /
                ("isoflop_gpu_products_cache" + std::to_string(getpid()))) {
        std::filesystem::remove(file_);
        options_.gemm_cache = file_.string();
    }
    ~GpuMeasuredProducts() override { std::filesystem::remove(file_); }
    const std::filesystem::path file_;
};

TEST_F(GpuMeasuredProducts, AreRightAndKept) {
    const Case wide{.dtype = DType::bfloat16, .m = 64, .n = 48, .k = 32, .beta = 1};
    expect_right(wide);
    std::ifstream in(file_);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    EXPECT_THAT(text, HasSubstr(gpu_->info().name));
    EXPECT_THAT(text, HasSubstr("bf16 NN 64x48x32"));
    gpu_ = open_gpu(options_);  // reads it
    expect_right(wide);
    std::ofstream(file_) << "something else";
    gpu_ = open_gpu(options_);
    expect_right(wide);
}

}  // namespace
}  // namespace isoflop::device
