// Embedding against the CPU's in double: few and many tokens, even and very uneven.
#include "isoflop/ops/embedding.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

using ops::testing::random_tokens;

class EmbeddingOnDevice : public DeviceOp {
protected:
    void expect_forward_of_the_reference(DType dtype, std::int64_t rows, std::int64_t columns,
                                         bool with_positions) {
        SCOPED_TRACE(std::string(short_name(dtype)) + ", " + std::to_string(rows) + " rows of " +
                     std::to_string(columns));
        const std::vector<std::int32_t> tokens = random_tokens(rows, 11, 1);
        const DeviceTokens on_device(*device_, tokens);
        const DeviceTensor table(*device_, dtype, {11, columns}, random_values(11 * columns, 2));
        const DeviceTensor positions(*device_, dtype, {9, columns}, random_values(9 * columns, 3));
        const DeviceTensor out(*device_, dtype, {rows, columns});
        HostTensor host_table({11, columns}, table.values());
        HostTensor host_positions({9, columns}, positions.values());
        HostTensor host_out({rows, columns});
        ops::embedding_forward(context_, on_device.view(), table.view(),
                               with_positions ? positions.view() : TensorView{}, 7, 2, out.view());
        ops::embedding_forward(host_, tokens, host_table.view(),
                               with_positions ? host_positions.view() : TensorView{}, 7, 2,
                               host_out.view());
        const DeviceTensor expected(*device_, dtype, {rows, columns}, host_out.doubles());
        EXPECT_EQ(out.values(), expected.values());  // one rounding of the exact sum
    }

    void expect_backward_of_the_reference(DType dtype, const std::vector<std::int32_t>& tokens,
                                          std::int32_t vocabulary, std::int64_t columns,
                                          std::int64_t sequence_length) {
        const std::int64_t rows = std::ssize(tokens);
        const DeviceTokens on_device(*device_, tokens);
        SCOPED_TRACE(std::string(short_name(dtype)) + ", " + std::to_string(rows) + " rows of " +
                     std::to_string(columns));
        const DeviceTensor d_out(*device_, dtype, {rows, columns},
                                 random_values(rows * columns, 1, 0.5));
        const DeviceTensor d_table(*device_, dtype, {vocabulary, columns},
                                   random_values(vocabulary * columns, 2));
        const DeviceTensor d_positions(*device_, dtype, {sequence_length, columns},
                                       random_values(sequence_length * columns, 3));
        HostTensor host_d_out({rows, columns}, d_out.values());
        HostTensor host_d_table({vocabulary, columns}, d_table.values());
        HostTensor host_d_positions({sequence_length, columns}, d_positions.values());
        ops::embedding_backward(context_, on_device.view(), d_out.view(), sequence_length,
                                d_table.view(), d_positions.view());
        ops::embedding_backward(host_, tokens, host_d_out.view(), sequence_length,
                                host_d_table.view(), host_d_positions.view());
        const double tolerance = 1e-6 + rounding_tolerance(dtype);
        EXPECT_LE(relative_error(d_table.values(), host_d_table.doubles()), tolerance);
        EXPECT_LE(relative_error(d_positions.values(), host_d_positions.doubles()), tolerance);
    }
};

TEST_F(EmbeddingOnDevice, ForwardIsThatOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const bool with_positions : {false, true}) {
            for (const std::int64_t columns : {1, 7, 33, 64, 257}) {
                expect_forward_of_the_reference(dtype, 17, columns, with_positions);
            }
            expect_forward_of_the_reference(dtype, 0, 8, with_positions);
        }
    }
}

TEST_F(EmbeddingOnDevice, BackwardIsThatOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t columns : {1, 7, 33, 64, 257}) {
            for (const std::int64_t rows : {1, 7, 31, 65, 200}) {
                expect_backward_of_the_reference(dtype, random_tokens(rows, 40, 4), 40, columns,
                                                 10);
            }
        }
        expect_backward_of_the_reference(dtype, {}, 5, 8, 3);
    }
}

TEST_F(EmbeddingOnDevice, BackwardSumsLongRunsInPieces) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t columns : {5, 8}) {
            // Runs of all lengths about the windows: within one, up to its end, over several, and
            // all of the batch.
            std::vector<std::int32_t> tokens;
            for (const int length : {3, 61, 64, 1, 127, 128, 129, 200, 7}) {
                tokens.insert(tokens.end(), static_cast<std::size_t>(length),
                              static_cast<std::int32_t>(tokens.size()) % 1000);
            }
            std::shuffle(tokens.begin(), tokens.end(), std::mt19937(3));  // NOLINT
            expect_backward_of_the_reference(dtype, tokens, 1000, columns, 100);
            expect_backward_of_the_reference(dtype, std::vector<std::int32_t>(500, 2), 3, columns,
                                             100);
            expect_backward_of_the_reference(dtype, std::vector<std::int32_t>(192, 0), 1, columns,
                                             192);
        }
    }
}

TEST_F(EmbeddingOnDevice, BackwardSortsMoreThanATile) {
    std::vector<std::int32_t> tokens = random_tokens(5000, 3000, 5);
    std::fill(tokens.begin(), tokens.begin() + 1500, 7);
    expect_backward_of_the_reference(DType::float32, tokens, 3000, 1, 1250);
}

TEST_F(EmbeddingOnDevice, HasTheSameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t columns : {33, 64}) {
            std::vector<std::int32_t> tokens = random_tokens(300, 20, 6);
            std::fill(tokens.begin() + 50, tokens.begin() + 250, 3);
            const DeviceTokens on_device(*device_, tokens);
            const std::vector<double> gradients = random_values(300 * columns, 7);
            expect_same_bits_in_all_orders([&] {
                const DeviceTensor d_out(*device_, dtype, {300, columns}, gradients);
                const DeviceTensor d_table(*device_, dtype, {20, columns},
                                           random_values(20 * columns, 8));
                const DeviceTensor d_positions(*device_, dtype, {100, columns},
                                               random_values(100 * columns, 9));
                ops::embedding_backward(context_, on_device.view(), d_out.view(), 100,
                                        d_table.view(), d_positions.view());
                const DeviceTensor out(*device_, dtype, {300, columns});
                ops::embedding_forward(context_, on_device.view(), d_table.view(),
                                       d_positions.view(), 100, 0, out.view());
                return bytes_of(d_table, d_positions, out);
            });
        }
    }
}

}  // namespace
}  // namespace isoflop::test
