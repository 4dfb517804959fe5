// The norm of query and key heads on a GPU against the CPU's in double, from the same rounded
// inputs.
#include "ops/devices/qk_norm_problem.hpp"

namespace isoflop::test {
namespace {

using Case = QkNormCase;
using Problem = QkNormProblem;

class QkNormOnDevice : public DeviceOp {
protected:
    void check(const Case& c) {
        SCOPED_TRACE(describe(c));
        const Problem problem(*device_, c);
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

TEST_F(QkNormOnDevice, IsThatOfTheReference) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t head_dim : {1, 7, 8, 33, 64, 100, 128})
            check({dtype, 3, 2, head_dim, 9, head_dim, 0});
        check({dtype, 3, 2, 64, 3, 5, 0});  // rows that packs do not fit
        check({dtype, 3, 2, 64, 3, 0, 1});  // nor this place
        check({dtype, 0, 1, 64, 1, 0, 0});
        check({dtype, 2, 0, 64, 1, 0, 0});
        check({dtype, 2, 1, 64, 0, 0, 0});
        check({dtype, 1, 1, 2056, 2, 0, 0});  // fewer warps share the memory
    }
    // More heads than groups of all blocks.
    check({narrow(DType::bfloat16), 16, 8, 16, 10 * multiprocessors(), 0, 0});
}

TEST_F(QkNormOnDevice, OtherColumnsKeepTheirBits) {
    const Case c{narrow(DType::bfloat16), 2, 1, 32, 5, 32, 0};
    const Problem problem(*device_, c);
    const std::vector<double> before = problem.packed.values();
    problem.forward(context_);
    const std::vector<double> after = problem.packed.values();
    for (std::size_t row = 0; row < 5; ++row) {
        for (std::size_t column = 96; column < 128; ++column)
            EXPECT_EQ(after[row * 128 + column], before[row * 128 + column]);
    }
}

TEST_F(QkNormOnDevice, SameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t head_dim : {33, 64}) {
            const Case c{dtype, 3, 2, head_dim, 61, 0, 0};
            SCOPED_TRACE(describe(c));
            expect_same_bits_in_all_orders([&] {
                const Problem p(*device_, c);
                p.forward(context_);
                p.backward(context_);
                return bytes_of(p.packed, p.before, p.statistics, p.d_packed, p.d_query_weight,
                                p.d_key_weight);
            });
        }
    }
}

}  // namespace
}  // namespace isoflop::test
