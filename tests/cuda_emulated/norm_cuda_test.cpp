// The norms on a GPU against the CPU's in double, from the same rounded inputs.
#include "cuda_emulated/support.hpp"
#include "isoflop/ops/norm.hpp"

namespace isoflop::emulated {
namespace {

using model::Normalization;
using ops::NormParameters;

struct Case {
    DType dtype = DType::float32;
    Normalization kind = Normalization::rmsnorm;
    bool has_bias = false;
    std::int64_t rows = 0;
    std::int64_t width = 0;
    std::int64_t shift = 0;
};

std::string describe(const Case& c) {
    return std::string(short_name(c.dtype)) + " " + std::string(to_string(c.kind)) + ", " +
           std::to_string(c.rows) + " rows of " + std::to_string(c.width) + ", shifted by " +
           std::to_string(c.shift);
}

const std::array kKinds{Normalization::rmsnorm, Normalization::layernorm,
                        Normalization::layernorm_nobias};

/// All tensors of one norm in device memory. x has a mean, so that centring matters.
struct Problem {
    Problem(device::Accelerator& device, const Case& c)
        : x(device, c.dtype, {c.rows, c.width}, random_values(c.rows * c.width, 1, 0.5), c.shift),
          branch(device, c.dtype, {c.rows, c.width}, random_values(c.rows * c.width, 2)),
          sum(device, c.dtype, {c.rows, c.width}),
          out(device, c.dtype, {c.rows, c.width}),
          weight(device, c.dtype, {c.width}, random_values(c.width, 3, 1)),
          bias(device, c.dtype, {c.width}, random_values(c.width, 4)),
          d_out(device, c.dtype, {c.rows, c.width}, random_values(c.rows * c.width, 5)),
          d_x(device, c.dtype, {c.rows, c.width}, random_values(c.rows * c.width, 6)),
          d_weight(device, c.dtype, {c.width}, random_values(c.width, 7)),
          d_bias(device, c.dtype, {c.width}, random_values(c.width, 8)),
          statistics(device, DType::float32,
                     {c.kind == Normalization::rmsnorm ? c.rows : 2 * c.rows}),
          case_(c) {}

    [[nodiscard]] NormParameters parameters() const {
        return {.kind = case_.kind,
                .weight = weight.view(),
                .bias = case_.has_bias ? bias.view() : TensorView()};
    }
    [[nodiscard]] TensorView statistics_view() const {
        if (case_.kind == Normalization::rmsnorm) return statistics.view();
        return {statistics.view().data(), DType::float32, {2, case_.rows}};
    }
    [[nodiscard]] TensorView d_bias_view() const {
        return case_.has_bias ? d_bias.view() : TensorView();
    }
    void forward(Context& context) const {
        ops::norm_forward(context, parameters(), x.view(), out.view(), statistics_view());
    }
    void add_forward(Context& context) const {
        ops::add_norm_forward(context, parameters(), x.view(), branch.view(), sum.view(),
                              out.view(), statistics_view());
    }
    void backward(Context& context, bool accumulate) const {
        ops::norm_backward(context, parameters(), d_out.view(), x.view(), statistics_view(),
                           accumulate, d_x.view(), d_weight.view(), d_bias_view());
    }

    DeviceTensor x, branch, sum, out, weight, bias, d_out, d_x, d_weight, d_bias, statistics;

private:
    Case case_;
};

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

class NormCuda : public CudaOp {
protected:
    void check_forward(const Case& c) {
        SCOPED_TRACE(describe(c));
        const Problem plain(device_, c);
        plain.forward(context_);
        Reference reference(plain, c, plain.x.values());
        reference.forward(host_);
        expect_close(plain, reference);

        const Problem added(device_, c);
        added.add_forward(context_);
        std::vector<double> sums = added.x.values();
        const std::vector<double> branch = added.branch.values();
        for (std::size_t i = 0; i < sums.size(); ++i) sums[i] += branch[i];
        const DeviceTensor rounded(device_, c.dtype, {c.rows, c.width}, sums);
        EXPECT_EQ(added.sum.values(), rounded.values());
        Reference of_sum(added, c, rounded.values());
        of_sum.forward(host_);
        expect_close(added, of_sum);
    }

    void check_backward(const Case& c, bool accumulate) {
        SCOPED_TRACE(describe(c) + (accumulate ? ", accumulating" : ""));
        const Problem problem(device_, c);
        problem.forward(context_);
        Reference reference(problem, c, problem.x.values());
        reference.forward(host_);
        problem.backward(context_, accumulate);
        reference.backward(host_, accumulate);
        if (c.width == 1 && c.kind != Normalization::rmsnorm && !accumulate) {
            // Constant, whatever x is; what is left is rounding, times 1 / sqrt(eps) = 316.
            for (const double value : problem.d_x.values()) EXPECT_NEAR(value, 0, 1e-4);
        } else {
            emulated::expect_close(problem.d_x, reference.d_x.values());
        }
        emulated::expect_close(problem.d_weight, reference.d_weight.values());
        emulated::expect_close(problem.d_bias, reference.d_bias.values());
    }

    static void expect_close(const Problem& problem, Reference& reference) {
        emulated::expect_close(problem.out, reference.out.values());
        emulated::expect_close(problem.statistics, reference.statistics.values());
    }

    template <class Check>
    static void for_cases(const Check& check) {
        for (const DType dtype : kStorageTypes) {
            for (const Normalization kind : kKinds) {
                const bool has_bias = kind == Normalization::layernorm;
                // More rows than blocks, then rows of several warps.
                for (const std::int64_t width : {1, 7, 33, 64})
                    check(Case{dtype, kind, has_bias, 67, width, 0});
                for (const std::int64_t width : {100, 257, 1000})
                    check(Case{dtype, kind, has_bias, 5, width, 0});
                check(Case{dtype, kind, has_bias, 1, 64, 1});
            }
        }
    }
};

TEST_F(NormCuda, ForwardIsThatOfTheCpu) {
    for_cases([&](const Case& c) { check_forward(c); });
}

TEST_F(NormCuda, BackwardIsThatOfTheCpu) {
    for_cases([&](const Case& c) {
        check_backward(c, false);
        check_backward(c, true);
    });
}

TEST_F(NormCuda, RowsThatDoNotFitSharedMemory) {
    for (const std::int64_t width : {24'680, 24'681}) {
        for (const Normalization kind : {Normalization::rmsnorm, Normalization::layernorm}) {
            const Case c{DType::float32, kind, kind == Normalization::layernorm, 3, width, 0};
            check_forward(c);
            check_backward(c, false);
            check_backward(c, true);
        }
    }
}

TEST_F(NormCuda, GradientMayReplaceThatOfTheOutput) {
    for (const std::int64_t width : {64, 24'680}) {
        const Case c{DType::float32, Normalization::layernorm, true, 5, width, 0};
        const Problem problem(device_, c);
        problem.forward(context_);
        problem.backward(context_, false);
        const std::vector<double> expected = problem.d_x.values();
        ops::norm_backward(context_, problem.parameters(), problem.d_out.view(), problem.x.view(),
                           problem.statistics_view(), false, problem.d_out.view(),
                           problem.d_weight.view(), problem.d_bias_view());
        EXPECT_EQ(problem.d_out.values(), expected);
    }
}

TEST_F(NormCuda, ResultsMayReplaceTheInput) {
    for (const std::int64_t width : {64, 24'680}) {
        const Case c{DType::float32, Normalization::layernorm, true, 5, width, 0};
        const Problem separate(device_, c);
        const Problem in_place(device_, c);
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

TEST_F(NormCuda, NoRowsChangeNothing) {
    const Case c{DType::bfloat16, Normalization::layernorm, true, 0, 64, 0};
    const Problem problem(device_, c);
    const std::vector<double> before = problem.d_weight.values();
    problem.forward(context_);
    problem.backward(context_, false);
    EXPECT_EQ(problem.d_weight.values(), before);
}

TEST_F(NormCuda, SameBitsInAllOrders) {
    for (const DType dtype : kStorageTypes) {
        for (const Normalization kind : {Normalization::rmsnorm, Normalization::layernorm}) {
            for (const std::int64_t width : {33, 520}) {
                const Case c{dtype, kind, kind == Normalization::layernorm, 35, width, 0};
                SCOPED_TRACE(describe(c));
                expect_same_bits_in_all_orders([&] {
                    const Problem p(device_, c);
                    p.add_forward(context_);
                    p.backward(context_, true);
                    return bytes_of(p.sum, p.out, p.statistics, p.d_x, p.d_weight, p.d_bias);
                });
            }
        }
    }
}

TEST_F(NormCuda, MovesNoMoreThanItMust) {
    // Many rows for each block, as a real GPU has them.
    EmulatedAccelerator device({}, 1);
    Context context(pool_, &device);
    for (const Case& c : {Case{DType::float32, Normalization::rmsnorm, false, 512, 1024, 0},
                          Case{DType::bfloat16, Normalization::layernorm, true, 512, 4096, 0}}) {
        SCOPED_TRACE(describe(c));
        const Problem problem(device, c);
        const std::uint64_t bytes = problem.x.view().bytes();
        const std::uint64_t statistics = problem.statistics.view().bytes();
        const std::uint64_t parameters = (c.has_bias ? 2 : 1) * problem.weight.view().bytes();
        const auto traffic = [&](const auto& run, std::uint64_t minimum) {
            const emulator::Session session;
            run();
            expect_minimal_traffic(session.counters(), minimum);
            EXPECT_EQ(session.counters().shared_load.extra_wavefronts, 0U);
            EXPECT_EQ(session.counters().shared_store.extra_wavefronts, 0U);
        };
        traffic([&] { problem.add_forward(context); }, 4 * bytes + statistics + parameters);
        // The weight is read, gradients of weight and bias are read and written.
        const std::uint64_t others = statistics + problem.weight.view().bytes() + 2 * parameters;
        traffic([&] { problem.backward(context, false); }, 3 * bytes + others);
    }
}

}  // namespace
}  // namespace isoflop::emulated
