// Products as cuBLASLt is asked for them, and what happens where it refuses.
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <numeric>

#include "device/recording/recording_test.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::test {
namespace {

using device::DeviceBuffer;
using device::DeviceGemm;
using device::Epilogue;
using device::Transpose;
using device::cuda::kCublasInvalidValue;
using device::cuda::kCublasNotSupported;
using device::cuda::kEpilogueBias;
using device::cuda::kEpilogueDefault;
using device::cuda::kEpilogueGeluAux;
using device::cuda::kEpilogueGeluAuxBias;
using device::cuda::kEpilogueGeluGradient;
using testing::Each;
using testing::ElementsAre;

constexpr std::int64_t kM = 5, kN = 8, kK = 3;

float gelu(float of) {
    const auto x = static_cast<double>(of);
    return static_cast<float>(0.5 * x *
                              (1 + std::tanh(0.7978845608028654 * (x + 0.044715 * x * x * x))));
}

/// c = a b^T with a of counted numbers and b of ones in the first column: rows of c are equal.
class Products : public RecordingTest {
protected:
    void SetUp() override {
        std::vector<float> a(kM * kK);
        std::iota(a.begin(), a.end(), 1.0F);
        std::vector<float> b(kN * kK);
        for (std::size_t n = 0; n < kN; ++n) b[n * kK] = static_cast<float>(n);
        a_ = upload(a);
        b_ = upload(b);
        c_ = upload(std::vector<float>((kM + 1) * kN, -7));
        second_ = upload(std::vector<float>(kM * kN, 0.5F));
        // With room before and after, so that it can begin anywhere.
        std::vector<float> bias(kN + 8);
        std::iota(bias.begin(), bias.end(), 100.0F);
        bias_ = upload(bias);
    }
    [[nodiscard]] DeviceGemm product() const {
        return {.shape = {.transpose_b = Transpose::yes,
                          .m = kM,
                          .n = kN,
                          .k = kK,
                          .lda = kK,
                          .ldb = kK,
                          .ldc = kN},
                .dtype = DType::float32,
                .a = a_.data(),
                .b = b_.data(),
                .c = c_.data()};
    }
    [[nodiscard]] const void* bias_from(std::size_t element) const {
        return bias_.data() + element * sizeof(float);
    }
    /// Of row and column.
    static float sum(std::size_t m, std::size_t n) {
        return static_cast<float>(n) * static_cast<float>(m * kK + 1);
    }
    void expect_sums_and_bias(std::size_t first) {
        const std::vector<float> c = download(c_);
        for (std::size_t m = 0; m < kM; ++m) {
            for (std::size_t n = 0; n < kN; ++n)
                ASSERT_EQ(c[m * kN + n], sum(m, n) + 100 + static_cast<float>(first + n))
                    << "row " << m << ", column " << n;
        }
        EXPECT_THAT(std::vector<float>(c.begin() + kM * kN, c.end()), Each(-7));
    }

    DeviceBuffer a_, b_, c_, second_, bias_;
};

TEST_F(Products, AddUpInFp32HoweverTheyAreAskedFor) {
    for (const bool deterministic : {true, false}) {
        options_.deterministic = deterministic;
        lt_.reductions = 0;
        device::cuda::CudaDevice other(options_, {});
        const DeviceBuffer a(other, kM * kK * sizeof(float));
        const DeviceBuffer b(other, kN * kK * sizeof(float));
        const DeviceBuffer c(other, kM * kN * sizeof(float));
        DeviceGemm product = this->product();
        product.a = a.data();
        product.b = b.data();
        product.c = c.data();
        other.gemm(pool_, product);
        EXPECT_EQ(lt_.reductions, device::cuda::kReductionInComputeType);
    }
}

TEST_F(Products, TakeAnAlignedBiasInOneCall) {
    DeviceGemm product = this->product();
    product.bias = bias_from(4);
    device().gemm(pool_, product);
    expect_sums_and_bias(4);
    EXPECT_THAT(lt_.epilogues, ElementsAre(kEpilogueBias));
}

TEST_F(Products, NeverGiveAnOddBiasToTheLibrary) {
    for (const std::size_t first : {1, 2, 3, 5}) {
        DeviceGemm product = this->product();
        product.bias = bias_from(first);
        device().gemm(pool_, product);
        expect_sums_and_bias(first);
    }
    EXPECT_THAT(lt_.epilogues, Each(kEpilogueDefault));
}

TEST_F(Products, AddABiasThatTheLibraryRefuses) {
    lt_.epilogues_without_algorithm = {kEpilogueBias};
    DeviceGemm product = this->product();
    product.bias = bias_from(0);
    device().gemm(pool_, product);
    expect_sums_and_bias(0);
    EXPECT_THAT(lt_.epilogues, ElementsAre(kEpilogueDefault));
}

TEST_F(Products, AddABiasThatTheLibraryRefusesWhenCalled) {
    lt_.refusals = {{kEpilogueBias, kCublasInvalidValue}};
    DeviceGemm product = this->product();
    product.bias = bias_from(0);
    for (int i = 0; i < 2; ++i) {
        device().gemm(pool_, product);
        expect_sums_and_bias(0);
    }
    EXPECT_THAT(lt_.epilogues, ElementsAre(kEpilogueBias, kEpilogueDefault, kEpilogueDefault))
        << "asked again after a refusal";
}

TEST_F(Products, ComputeGeluWithTheBias) {
    DeviceGemm product = this->product();
    product.bias = bias_from(0);
    product.alpha = 1.0F / 64;
    product.epilogue = Epilogue::gelu;
    product.gelu_input = second_.data();
    ASSERT_TRUE(device().try_gemm(pool_, product));
    const std::vector<float> before = download(second_);
    const std::vector<float> after = download(c_);
    EXPECT_EQ(before[kN + 1], sum(1, 1) / 64 + 101);
    for (std::size_t i = 0; i < before.size(); ++i) ASSERT_FLOAT_EQ(after[i], gelu(before[i]));
    EXPECT_THAT(lt_.epilogues, ElementsAre(kEpilogueGeluAuxBias));
}

TEST_F(Products, LeaveAnEpilogueThatIsRefusedToTheCaller) {
    for (const bool when_called : {false, true}) {
        SCOPED_TRACE(when_called);
        const int epilogue = when_called ? kEpilogueGeluGradient : kEpilogueGeluAux;
        if (when_called) {
            lt_.refusals = {{epilogue, kCublasNotSupported}};
        } else {
            lt_.epilogues_without_algorithm = {epilogue};
        }
        DeviceGemm product = this->product();
        product.epilogue = when_called ? Epilogue::gelu_gradient : Epilogue::gelu;
        product.gelu_input = second_.data();
        lt_.epilogues.clear();
        EXPECT_FALSE(device().try_gemm(pool_, product));
        EXPECT_FALSE(device().try_gemm(pool_, product));
        EXPECT_EQ(lt_.epilogues.size(), when_called ? 1U : 0U);
        EXPECT_THROW(device().gemm(pool_, product), std::logic_error);
        EXPECT_THAT(download(c_), Each(-7));
        EXPECT_THAT(download(second_), Each(0.5F));
    }
}

TEST_F(Products, ThatFailOtherwiseEndTheRun) {
    constexpr int kExecutionFailed = 13;
    lt_.refusals = {{kEpilogueDefault, kCublasNotSupported}, {kEpilogueBias, kExecutionFailed}};
    DeviceGemm product = this->product();
    EXPECT_THROW(device().gemm(pool_, product), Error) << "nothing to fall back to";
    product.bias = bias_from(0);
    EXPECT_THROW(device().gemm(pool_, product), Error) << "a failure, not a refusal";
}

TEST_F(Products, WithASecondMatrixThatDoesNotSuitAreNotAskedFor) {
    DeviceGemm product = this->product();
    product.epilogue = Epilogue::gelu;
    product.gelu_input = second_.data() + sizeof(float);
    EXPECT_FALSE(device().try_gemm(pool_, product));
    product.gelu_input = second_.data();
    product.bias = bias_from(1);
    EXPECT_FALSE(device().try_gemm(pool_, product));
    product.bias = nullptr;
    product.shape.n = product.shape.ldc = kN - 1;
    EXPECT_FALSE(device().try_gemm(pool_, product));
    EXPECT_THAT(lt_.epilogues, testing::IsEmpty());
}

TEST_F(Products, OfNoTermsAreTheBias) {
    DeviceGemm product = this->product();
    product.shape.k = 0;
    product.bias = bias_from(0);
    device().gemm(pool_, product);
    EXPECT_EQ(download(c_)[2 * kN + 3], 103);
}

TEST_F(Products, AreRecordedWithTheirOddBias) {
    DeviceGemm product = this->product();
    product.bias = bias_from(3);
    device().gemm(pool_, product);
    ASSERT_TRUE(device().begin_capture());
    device().gemm(pool_, product);
    const auto graph = device().end_capture();
    device().fill_zero(c_.data(), kM * kN * sizeof(float));
    graph->launch();
    expect_sums_and_bias(3);
}

class MeasuredProducts : public Products {
protected:
    MeasuredProducts() {
        options_.gemm_cache =
            testing::TempDir() + "isoflop_recording_products" + std::to_string(getpid());
        std::filesystem::remove(options_.gemm_cache);
    }
    ~MeasuredProducts() override { std::filesystem::remove(options_.gemm_cache); }
};

TEST_F(MeasuredProducts, AreRightAndNotMeasuredAgain) {
    DeviceGemm product = this->product();
    product.bias = bias_from(0);
    for (int i = 0; i < 2; ++i) {
        lt_.epilogues.clear();
        device().gemm(pool_, product);
        expect_sums_and_bias(0);
        EXPECT_EQ(lt_.epilogues.size() > 1, i == 0);
    }
}

}  // namespace
}  // namespace isoflop::test
