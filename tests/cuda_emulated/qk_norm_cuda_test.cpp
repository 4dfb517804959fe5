// The norm of query and key heads on a GPU against the CPU's in double, from the same rounded
// inputs.
#include "cuda_emulated/support.hpp"
#include "isoflop/ops/qk_norm.hpp"

namespace isoflop::emulated {
namespace {

using ops::QkNormShape;

struct Case {
    DType dtype = DType::float32;
    std::int64_t query_heads = 0;
    std::int64_t key_heads = 0;
    std::int64_t head_dim = 0;
    std::int64_t rows = 0;
    std::int64_t other_columns = 0;  ///< after the heads
    std::int64_t shift = 0;

    [[nodiscard]] std::int64_t heads() const { return query_heads + key_heads; }
    [[nodiscard]] std::int64_t row_width() const { return heads() * head_dim + other_columns; }
    [[nodiscard]] QkNormShape shape() const {
        return {.query_heads = query_heads, .key_heads = key_heads, .head_dim = head_dim};
    }
};

std::string describe(const Case& c) {
    return std::string(short_name(c.dtype)) + ", " + std::to_string(c.query_heads) + " + " +
           std::to_string(c.key_heads) + " heads of " + std::to_string(c.head_dim) + ", " +
           std::to_string(c.rows) + " rows, shifted by " + std::to_string(c.shift);
}

struct Problem {
    Problem(device::Accelerator& device, const Case& c)
        : packed(device, c.dtype, {c.rows, c.row_width()}, random_values(c.rows * c.row_width(), 1),
                 c.shift),
          d_packed(device, c.dtype, {c.rows, c.row_width()},
                   random_values(c.rows * c.row_width(), 2)),
          before(device, c.dtype, {c.rows, c.heads() * c.head_dim}),
          query_weight(device, c.dtype, {c.head_dim}, random_values(c.head_dim, 3, 1)),
          key_weight(device, c.dtype, {c.head_dim}, random_values(c.head_dim, 4, 1)),
          d_query_weight(device, c.dtype, {c.head_dim}, random_values(c.head_dim, 5)),
          d_key_weight(device, c.dtype, {c.head_dim}, random_values(c.head_dim, 6)),
          statistics(device, DType::float32, {c.rows, c.heads()}),
          shape(c.shape()) {}

    void forward(Context& context) const {
        ops::qk_norm_forward(context, shape, query_weight.view(), key_weight.view(), packed.view(),
                             before.view(), statistics.view());
    }
    void backward(Context& context) const {
        ops::qk_norm_backward(context, shape, query_weight.view(), key_weight.view(), before.view(),
                              statistics.view(), d_packed.view(), d_query_weight.view(),
                              d_key_weight.view());
    }

    DeviceTensor packed, d_packed, before, query_weight, key_weight, d_query_weight, d_key_weight,
        statistics;
    QkNormShape shape;
};

class QkNormCuda : public CudaOp {
protected:
    void check(const Case& c) {
        SCOPED_TRACE(describe(c));
        const Problem problem(device_, c);
        HostTensor packed({c.rows, c.row_width()}, problem.packed.values());
        HostTensor d_packed({c.rows, c.row_width()}, problem.d_packed.values());
        HostTensor before({c.rows, c.heads() * c.head_dim});
        HostTensor query_weight({c.head_dim}, problem.query_weight.values());
        HostTensor key_weight({c.head_dim}, problem.key_weight.values());
        HostTensor d_query_weight({c.head_dim}, problem.d_query_weight.values());
        HostTensor d_key_weight({c.head_dim}, problem.d_key_weight.values());
        HostTensor statistics({c.rows, c.heads()});
        problem.forward(context_);
        ops::qk_norm_forward(host_, c.shape(), query_weight.view(), key_weight.view(),
                             packed.view(), before.view(), statistics.view());
        expect_close(problem.packed, packed.values());
        EXPECT_EQ(problem.before.values(), before.values());
        expect_close(problem.statistics, statistics.values());
        problem.backward(context_);
        ops::qk_norm_backward(host_, c.shape(), query_weight.view(), key_weight.view(),
                              before.view(), statistics.view(), d_packed.view(),
                              d_query_weight.view(), d_key_weight.view());
        expect_close(problem.d_packed, d_packed.values());
        expect_close(problem.d_query_weight, d_query_weight.values());
        expect_close(problem.d_key_weight, d_key_weight.values());
    }
};

TEST_F(QkNormCuda, IsThatOfTheCpu) {
    for (const DType dtype : kStorageTypes) {
        for (const std::int64_t head_dim : {1, 7, 8, 33, 64, 100, 128})
            check({dtype, 3, 2, head_dim, 9, head_dim, 0});
        check({dtype, 3, 2, 64, 3, 5, 0});  // rows that packs do not fit
        check({dtype, 3, 2, 64, 3, 0, 1});  // nor this place
        check({dtype, 0, 1, 64, 1, 0, 0});
        check({dtype, 2, 0, 64, 1, 0, 0});
        check({dtype, 2, 1, 64, 0, 0, 0});
        check({dtype, 1, 1, 2056, 2, 0, 0});  // fewer warps share the memory
    }
    check({DType::bfloat16, 16, 8, 16, 40, 0, 0});  // more heads than groups of all blocks
}

TEST_F(QkNormCuda, OtherColumnsKeepTheirBits) {
    const Case c{DType::bfloat16, 2, 1, 32, 5, 32, 0};
    const Problem problem(device_, c);
    const std::vector<double> before = problem.packed.values();
    problem.forward(context_);
    const std::vector<double> after = problem.packed.values();
    for (std::size_t row = 0; row < 5; ++row) {
        for (std::size_t column = 96; column < 128; ++column)
            EXPECT_EQ(after[row * 128 + column], before[row * 128 + column]);
    }
}

TEST_F(QkNormCuda, SameBitsInAllOrders) {
    for (const DType dtype : kStorageTypes) {
        for (const std::int64_t head_dim : {33, 64}) {
            const Case c{dtype, 3, 2, head_dim, 61, 0, 0};
            SCOPED_TRACE(describe(c));
            expect_same_bits_in_all_orders([&] {
                const Problem p(device_, c);
                p.forward(context_);
                p.backward(context_);
                return bytes_of(p.packed, p.before, p.statistics, p.d_packed, p.d_query_weight,
                                p.d_key_weight);
            });
        }
    }
}

TEST_F(QkNormCuda, MovesNoMoreThanItMust) {
    EmulatedAccelerator device({}, 1);
    Context context(pool_, &device);
    for (const DType dtype : {DType::float32, DType::bfloat16}) {
        const Case c{dtype, 6, 2, 128, 256, 0, 0};
        SCOPED_TRACE(describe(c));
        const Problem problem(device, c);
        const std::uint64_t bytes = problem.packed.view().bytes();
        const auto traffic = [&](const auto& run) {
            const emulator::Session session;
            run();
            // A warp's statistics are a part of a sector, whose rest its neighbours want.
            const std::uint64_t statistics = problem.statistics.view().bytes();
            const std::uint64_t heads_of_warp = dtype == DType::float32 ? 1 : 2;
            expect_minimal_traffic(session.counters(), 3 * bytes + statistics,
                                   32 * statistics / 4 / heads_of_warp);
            EXPECT_EQ(session.counters().shared_load.extra_wavefronts, 0U);
            EXPECT_EQ(session.counters().shared_store.extra_wavefronts, 0U);
        };
        traffic([&] { problem.forward(context); });
        traffic([&] { problem.backward(context); });
    }
}

}  // namespace
}  // namespace isoflop::emulated
