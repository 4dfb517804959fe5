// The norms on a GPU against the CPU's in double, from the same rounded inputs.
#include <cmath>

#include "ops/devices/norm_problem.hpp"

namespace isoflop::test {
namespace {

using model::Normalization;
using ops::NormParameters;
using Case = NormCase;
using Problem = NormProblem;

const std::array kKinds{Normalization::rmsnorm, Normalization::layernorm,
                        Normalization::layernorm_nobias};

/// The same in double on the host, with x as given.
struct Reference {
    Reference(const Problem& p, const Case& c, const std::vector<double>& input)
        : x({c.rows, c.width}, input),
          out({c.rows, c.width}),
          weight({c.width}, p.weight.values()),
          bias({c.width}, p.bias.values()),
          d_out({c.rows, c.width}, p.d_out.values()),
          d_x({c.rows, c.width}, p.d_x.values()),
          d_weight({c.width}, p.d_weight.values()),
          d_bias({c.width}, p.d_bias.values()),
          statistics(c.kind == Normalization::rmsnorm ? HostTensor({c.rows})
                                                      : HostTensor({2, c.rows})),
          parameters{.kind = c.kind,
                     .weight = weight.view(),
                     .bias = c.has_bias ? bias.view() : TensorView()} {}

    void forward(Context& host) {
        ops::norm_forward(host, parameters, x.view(), out.view(), statistics.view());
    }
    void backward(Context& host, bool accumulate) {
        ops::norm_backward(host, parameters, d_out.view(), x.view(), statistics.view(), accumulate,
                           d_x.view(), d_weight.view(),
                           parameters.bias.empty() ? TensorView() : d_bias.view());
    }

    HostTensor x, out, weight, bias, d_out, d_x, d_weight, d_bias, statistics;
    NormParameters parameters;
};

class NormOnDevice : public DeviceOp {
protected:
    void check_forward(const Case& c) {
        SCOPED_TRACE(describe(c));
        const Problem plain(*device_, c);
        plain.forward(context_);
        Reference reference(plain, c, plain.x.values());
        reference.forward(host_);
        expect_close(plain, reference);

        const Problem added(*device_, c);
        added.add_forward(context_);
        std::vector<double> sums = added.x.values();
        const std::vector<double> branch = added.branch.values();
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += branch[i];
        const DeviceTensor rounded(*device_, c.dtype, {c.rows, c.width}, sums);
        EXPECT_EQ(added.sum.values(), rounded.values());
        Reference of_sum(added, c, rounded.values());
        of_sum.forward(host_);
        expect_close(added, of_sum);
    }

    void check_backward(const Case& c, bool accumulate) {
        SCOPED_TRACE(describe(c) + (accumulate ? ", accumulating" : ""));
        const Problem problem(*device_, c);
        problem.forward(context_);
        Reference reference(problem, c, problem.x.values());
        reference.forward(host_);
        problem.backward(context_, accumulate);
        reference.backward(host_, accumulate);
        if (c.width == 1 && c.kind != Normalization::rmsnorm && !accumulate) {
            // Constant for every x; the difference is rounding, times 1 / sqrt(eps) = 316.
            for (const double value : problem.d_x.values()) EXPECT_NEAR(value, 0, 1e-4);
        } else {
            // The same rounding is added to d_x; a CPU does not subtract it exactly.
            const bool constant = c.width == 1 && c.kind != Normalization::rmsnorm;
            test::expect_close(problem.d_x, reference.d_x.values(),
                               constant && device_->is_host() ? 4 : 1);
        }
        // Sums over rows, some of which are small by chance.
        const double usual = std::sqrt(static_cast<double>(c.rows * c.width));
        test::expect_close(problem.d_weight, reference.d_weight.values(), 1, usual);
        test::expect_close(problem.d_bias, reference.d_bias.values(), 1, usual);
    }

    static void expect_close(const Problem& problem, Reference& reference) {
        test::expect_close(problem.out, reference.out.values());
        test::expect_close(problem.statistics, reference.statistics.values());
    }

    template <class Check>
    void for_cases(const Check& check) {
        const std::int64_t most_blocks = 16 * multiprocessors();
        for (const DType dtype : storage_types()) {
            for (const Normalization kind : kKinds) {
                const bool has_bias = kind == Normalization::layernorm;
                // More rows than blocks, then rows of several warps.
                for (const std::int64_t width : {1, 7, 33, 64})
                    check(Case{dtype, kind, has_bias, most_blocks + 3, width, 0});
                for (const std::int64_t width : {100, 257, 1000})
                    check(Case{dtype, kind, has_bias, 5, width, 0});
                check(Case{dtype, kind, has_bias, 1, 64, 1});
            }
        }
    }
};

TEST_F(NormOnDevice, ForwardIsThatOfTheReference) {
    for_cases([&](const Case& c) { check_forward(c); });
}

TEST_F(NormOnDevice, BackwardIsThatOfTheReference) {
    for_cases([&](const Case& c) {
        check_backward(c, false);
        check_backward(c, true);
    });
}

TEST_F(NormOnDevice, RowsThatDoNotFitSharedMemory) {
    for (const std::int64_t width : {24'680, 24'681}) {
        for (const Normalization kind : {Normalization::rmsnorm, Normalization::layernorm}) {
            const Case c{DType::float32, kind, kind == Normalization::layernorm, 3, width, 0};
            check_forward(c);
            check_backward(c, false);
            check_backward(c, true);
        }
    }
}

TEST_F(NormOnDevice, GradientMayReplaceThatOfTheOutput) {
    for (const std::int64_t width : {64, 24'680}) {
        const Case c{DType::float32, Normalization::layernorm, true, 5, width, 0};
        const Problem problem(*device_, c);
        problem.forward(context_);
        problem.backward(context_, false);
        const std::vector<double> expected = problem.d_x.values();
        ops::norm_backward(context_, problem.parameters(), problem.d_out.view(), problem.x.view(),
                           problem.statistics_view(), false, problem.d_out.view(),
                           problem.d_weight.view(), problem.d_bias_view());
        EXPECT_EQ(problem.d_out.values(), expected);
    }
}

TEST_F(NormOnDevice, ResultsMayReplaceTheInput) {
    for (const std::int64_t width : {64, 24'680}) {
        const Case c{DType::float32, Normalization::layernorm, true, 5, width, 0};
        const Problem separate(*device_, c);
        const Problem in_place(*device_, c);
        separate.add_forward(context_);
        const DeviceTensor& x = in_place.x;
        ops::add_norm_forward(context_, in_place.parameters(), x.view(), in_place.branch.view(),
                              x.view(), in_place.out.view(), in_place.statistics_view());
        EXPECT_EQ(x.values(), separate.sum.values());
        EXPECT_EQ(in_place.out.values(), separate.out.values());
        ops::norm_forward(context_, in_place.parameters(), x.view(), x.view(),
                          in_place.statistics_view());
        EXPECT_EQ(x.values(), separate.out.values());
    }
}

TEST_F(NormOnDevice, NoRowsChangeNothing) {
    const Case c{narrow(DType::bfloat16), Normalization::layernorm, true, 0, 64, 0};
    const Problem problem(*device_, c);
    const std::vector<double> before = problem.d_weight.values();
    problem.forward(context_);
    problem.backward(context_, false);
    EXPECT_EQ(problem.d_weight.values(), before);
}

TEST_F(NormOnDevice, SameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        for (const Normalization kind : {Normalization::rmsnorm, Normalization::layernorm}) {
            for (const std::int64_t width : {33, 520}) {
                const Case c{dtype, kind, kind == Normalization::layernorm, 35, width, 0};
                SCOPED_TRACE(describe(c));
                expect_same_bits_in_all_orders([&] {
                    const Problem p(*device_, c);
                    p.add_forward(context_);
                    p.backward(context_, true);
                    return bytes_of(p.sum, p.out, p.statistics, p.d_x, p.d_weight, p.d_bias);
                });
            }
        }
    }
}

}  // namespace
}  // namespace isoflop::test
