// The emulated device itself: memory, copies, products.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <vector>

#include "isoflop/base/half_precision.hpp"
#include "support/emulated/emulated_device.hpp"

namespace isoflop::emulated {
namespace {

using device::DeviceBuffer;
using testing::ElementsAre;

TEST(EmulatedDevice, MemoryIsZeroAndCounted) {
    EmulatedDevice device;
    const std::uint64_t before = device.memory_use().used_bytes;
    {
        const DeviceBuffer buffer(device, 16);
        EXPECT_EQ(device.memory_use().used_bytes - before, 16U);
        std::vector<std::int32_t> values(4, -1);
        device.copy_out(values.data(), buffer.data(), 16);
        EXPECT_THAT(values, ElementsAre(0, 0, 0, 0));
    }
    EXPECT_EQ(device.memory_use().used_bytes, before);
}

TEST(EmulatedDevice, ProductIsRoundedOnceAndBatched) {
    EmulatedDevice device;
    const auto bits = [](float value) { return float_to_bfloat16(value); };
    // Two products of a row by a column: 1*3 + 2*4, and 5*3 + 6*4 with the same b.
    const std::vector<std::uint16_t> a{bits(1), bits(2), bits(5), bits(6)};
    const std::vector<std::uint16_t> b{bits(3), bits(4)};
    std::vector<std::uint16_t> c(2, bits(100));
    device::DeviceGemm product;
    product.shape = {.transpose_b = device::Transpose::yes,
                     .m = 1,
                     .n = 1,
                     .k = 2,
                     .lda = 2,
                     .ldb = 2,
                     .ldc = 1};
    product.a = a.data();
    product.b = b.data();
    product.c = c.data();
    product.beta = 1;
    product.count = 2;
    product.stride_a = 2;
    product.stride_c = 1;
    device::ThreadPool pool(1);
    device.gemm(pool, product);
    EXPECT_THAT(c, ElementsAre(bits(111), bits(139)));
}

/// A product that the device takes: C = A B of bfloat16, with memory for every optional operand.
struct Product {
    Product() {
        operation.shape = {.m = 8, .n = 8, .k = 8, .lda = 8, .ldb = 8, .ldc = 8};
        operation.a = memory.data();
        operation.b = memory.data() + kMatrix;
        operation.c = memory.data() + 2 * kMatrix;
    }
    std::string refusal() {
        EmulatedDevice device;
        device::ThreadPool pool(1);
        try {
            device.gemm(pool, operation);
        } catch (const std::logic_error& error) {
            return error.what();
        }
        return {};
    }
    [[nodiscard]] std::uint16_t* spare() { return memory.data() + 3 * kMatrix; }

    static constexpr std::size_t kMatrix = 64;
    alignas(16) std::array<std::uint16_t, 4 * kMatrix + 8> memory{};
    device::DeviceGemm operation;
};

TEST(EmulatedDevice, ProductsThatTheLibraryTakesAreTaken) {
    EXPECT_EQ(Product().refusal(), "");
    for (const device::Epilogue epilogue :
         {device::Epilogue::gelu, device::Epilogue::gelu_gradient}) {
        Product product;
        product.operation.epilogue = epilogue;
        product.operation.gelu_input = product.spare();
        EXPECT_EQ(product.refusal(), "");
    }
    Product with_bias;
    with_bias.operation.bias = with_bias.spare();
    EXPECT_EQ(with_bias.refusal(), "");
}

TEST(EmulatedDevice, ProductsThatTheLibraryRefusesAreRefused) {
    struct Planted {
        const char* what;
        std::function<void(Product&)> plant;
        const char* refusal;
    };
    const auto with_gelu = [](Product& product) {
        product.operation.epilogue = device::Epilogue::gelu;
        product.operation.gelu_input = product.spare();
    };
    const std::vector<Planted> all{
        {"short rows of A", [](Product& p) { p.operation.shape.lda = 7; }, "stride"},
        {"short rows of B", [](Product& p) { p.operation.shape.ldb = 7; }, "stride"},
        {"short rows of C", [](Product& p) { p.operation.shape.ldc = 7; }, "stride"},
        {"short rows of A transposed",
         [](Product& p) {
             p.operation.shape.transpose_a = device::Transpose::yes;
             p.operation.shape.m = 9;
         },
         "stride"},
        {"a bias beside beta",
         [](Product& p) {
             p.operation.bias = p.spare();
             p.operation.beta = 1;
         },
         "bias"},
        {"GELU beside beta",
         [&](Product& p) {
             with_gelu(p);
             p.operation.beta = 1;
         },
         "epilogue"},
        {"GELU of a batch",
         [&](Product& p) {
             with_gelu(p);
             p.operation.count = 2;
         },
         "epilogue"},
        {"GELU of no terms",
         [&](Product& p) {
             with_gelu(p);
             p.operation.shape.k = 0;
         },
         "epilogue"},
        {"GELU with rows off 16 bytes",
         [&](Product& p) {
             with_gelu(p);
             p.operation.shape.n = 7;
             p.operation.shape.ldc = 9;
         },
         "epilogue"},
        {"a GELU input off 16 bytes",
         [&](Product& p) {
             with_gelu(p);
             p.operation.gelu_input = p.spare() + 1;
         },
         "epilogue"},
        {"the gradient of GELU with a bias",
         [](Product& p) {
             p.operation.epilogue = device::Epilogue::gelu_gradient;
             p.operation.gelu_input = p.spare();
             p.operation.bias = p.spare();
         },
         "epilogue"},
        {"an address inside an element",
         [](Product& p) { p.operation.a = reinterpret_cast<const char*>(p.memory.data()) + 1; },
         "address"},
        {"no terms and a beta of its own",
         [](Product& p) {
             p.operation.shape.k = 0;
             p.operation.beta = 0.5F;
         },
         "no terms"}};
    for (const Planted& planted : all) {
        Product product;
        planted.plant(product);
        EXPECT_THAT(product.refusal(), testing::HasSubstr(planted.refusal)) << planted.what;
    }
}

TEST(EmulatedDevice, DeferredValuesAreTheirOwn) {
    EmulatedDevice device;
    double* const first = device.next_result();
    double* const second = device.next_result();
    *first = 1.5;
    *second = 2.5;
    EXPECT_EQ(device::DeferredValue(device, first).get(), 1.5);
    EXPECT_EQ(device::DeferredValue(device, second).get(), 2.5);
    EXPECT_EQ(device::DeferredValue(3.5).get(), 3.5);
}

}  // namespace
}  // namespace isoflop::emulated
