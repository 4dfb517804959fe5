#include "isoflop/ops/embedding.hpp"

#include <sys/mman.h>

#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

template <class T>
class EmbeddingTest : public ::testing::Test {
protected:
    ThreadPool pool{2};
    Context context{pool};
};
TYPED_TEST_SUITE(EmbeddingTest, ElementTypes);

TYPED_TEST(EmbeddingTest, ForwardLooksUpTokensAndPositions) {
    using T = TypeParam;
    for (const std::int64_t width : {1, 7, 33}) {
        const std::int64_t vocabulary = 11;
        const std::int64_t length = 3;
        const std::int64_t first = 2;
        Tensor<T> table({vocabulary, width}, random_values(vocabulary * width, 1));
        Tensor<T> positions({5, width}, random_values(5 * width, 2));
        const auto tokens = random_tokens(6, 11, 3);
        Tensor<T> out({6, width});
        Tensor<T> without({6, width});
        embedding_forward(this->context, tokens, table.view(), positions.view(), length, first,
                          out.view());
        embedding_forward(this->context, tokens, table.view(), {}, length, first, without.view());
        for (std::int64_t t = 0; t < 6; ++t) {
            for (std::int64_t i = 0; i < width; ++i) {
                const auto at = [&](std::int64_t row) {
                    return static_cast<std::size_t>(row * width + i);
                };
                const T looked_up = table.values()[at(tokens[static_cast<std::size_t>(t)])];
                ASSERT_EQ(without.values()[at(t)], looked_up);
                ASSERT_EQ(out.values()[at(t)],
                          looked_up + positions.values()[at(first + t % length)]);
            }
        }
    }
}

TYPED_TEST(EmbeddingTest, BackwardAddsInTokenOrder) {
    using T = TypeParam;
    const std::int64_t width = 37;
    const std::int64_t length = 10;
    const std::int64_t count = 40;
    const auto tokens = random_tokens(count, 5, 4);
    Tensor<T> d_out({count, width}, random_values(count * width, 5));
    Tensor<T> d_table({5, width}, T(2));
    Tensor<T> d_positions({12, width}, T(-1));
    Tensor<T> expected_table = d_table;
    Tensor<T> expected_positions = d_positions;
    for (std::int64_t t = 0; t < count; ++t) {
        for (std::int64_t i = 0; i < width; ++i) {
            const T gradient = d_out.values()[static_cast<std::size_t>(t * width + i)];
            const std::int64_t row = tokens[static_cast<std::size_t>(t)];
            expected_table.values()[static_cast<std::size_t>(row * width + i)] += gradient;
            expected_positions.values()[static_cast<std::size_t>(t % length * width + i)] +=
                gradient;
        }
    }
    embedding_backward(this->context, tokens, d_out.view(), length, d_table.view(),
                       d_positions.view());
    // Bit for bit: the header promises the order of additions.
    EXPECT_EQ(d_table.values(), expected_table.values());
    EXPECT_EQ(d_positions.values(), expected_positions.values());
}

TEST(Embedding, ThreadsChangeNoBit) {
    expect_same_bits_on_any_threads([](Context& context) {
        const auto tokens = random_tokens(500, 30, 6);
        Tensor<float> d_out({500, 131}, random_values(500 * 131, 7));
        Tensor<float> d_table({30, 131});
        Tensor<float> d_positions({100, 131});
        embedding_backward(context, tokens, d_out.view(), 100, d_table.view(), d_positions.view());
        std::vector<float> all = d_table.values();
        all.insert(all.end(), d_positions.values().begin(), d_positions.values().end());
        return all;
    });
}

/// A table of 2^32 elements in memory that exists only where it is written.
class HugeTable {
public:
    static constexpr std::int64_t kRows = std::int64_t{1} << 20U;
    static constexpr std::int64_t kWidth = std::int64_t{1} << 12U;
    HugeTable()
        : data_(mmap(nullptr, kBytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)) {}
    ~HugeTable() {
        if (available()) munmap(data_, kBytes);
    }
    HugeTable(const HugeTable&) = delete;
    HugeTable& operator=(const HugeTable&) = delete;
    [[nodiscard]] bool available() const { return data_ != MAP_FAILED; }
    [[nodiscard]] TensorView view() const { return {data_, DType::float32, {kRows, kWidth}}; }
    [[nodiscard]] float& at(std::int64_t row, std::int64_t column) const {
        return static_cast<float*>(data_)[row * kWidth + column];
    }

private:
    static constexpr std::size_t kBytes = sizeof(float) * std::size_t{kRows} * kWidth;
    void* data_;
};

TEST(Embedding, OffsetsBeyond32BitsReachTheirRow) {
    const HugeTable table;
    if (!table.available()) GTEST_SKIP() << "no address space for 16 GiB";
    ThreadPool pool(1);
    Context context(pool);
    const std::int64_t last = HugeTable::kRows - 1;
    table.at(last, 5) = 7.0F;
    const std::vector<std::int32_t> tokens = {static_cast<std::int32_t>(last)};
    Tensor<float> row({1, HugeTable::kWidth});
    embedding_forward(context, tokens, table.view(), {}, 1, 0, row.view());
    EXPECT_EQ(row.values()[5], 7.0F);
    embedding_backward(context, tokens, row.view(), 1, table.view(), {});
    EXPECT_EQ(table.at(last, 5), 14.0F);
}

TEST(Embedding, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    Tensor<float> table({10, 4});
    Tensor<float> positions({3, 4});
    Tensor<float> out({4, 4});
    const auto forward = [&](std::vector<std::int32_t> tokens, std::int64_t length,
                             std::int64_t first) {
        embedding_forward(context, tokens, table.view(), positions.view(), length, first,
                          out.view());
    };
    expect_refused<std::out_of_range>(
        [&] {
            forward({1, 2, 10, 3}, 2, 0);
        },
        {"embedding_forward", "tokens[2] is 10", "0 to 9"});
    expect_refused<std::out_of_range>([&] { forward({1, 2, -5, 3}, 2, 0); }, {"tokens[2] is -5"});
    expect_refused<std::invalid_argument>(
        [&] {
            forward({1, 2, 3}, 2, 0);
        },
        {"out", "[4, 4]", "[3, 4]"});
    expect_refused<std::invalid_argument>(
        [&] {
            forward({1, 2, 3, 4}, 2, 2);
        },
        {"positions 2 to 3", "has 3"});
    expect_refused<std::invalid_argument>(
        [&] {
            forward({1, 2, 3, 4}, 0, 0);
        },
        {"sequence_length is 0"});
    expect_refused<std::out_of_range>(
        [&] {
            const std::vector<std::int32_t> tokens = {0, 1, 2, 11};
            embedding_backward(context, tokens, out.view(), 2, table.view(), positions.view());
        },
        {"embedding_backward", "tokens[3] is 11"});
}

}  // namespace
}  // namespace isoflop::ops::testing
