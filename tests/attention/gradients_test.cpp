// Gradients against central differences of the forward pass, both in double: no formula is shared
// with the backward pass.
#include "attention_problem.hpp"

namespace isoflop::test {
namespace {

/// sum of o * d_o, whose gradients are d_q, d_k and d_v.
double objective(Problem<double>& problem, const attention::Backend& backend,
                 device::Context& context) {
    backend.forward(context, problem.shape, problem.forward_arguments());
    const std::vector<double> o = problem.o.values();
    const std::vector<double> d_o = problem.d_o.values();
    double sum = 0;
    for (std::size_t i = 0; i < o.size(); ++i) sum += o[i] * d_o[i];
    return sum;
}

void check_gradient(Problem<double>& problem, Tensor<double>& input, const Tensor<double>& gradient,
                    const attention::Backend& backend, device::Context& context) {
    // Truncation h^2/6 and rounding eps/h are both about 1e-11 here.
    constexpr double kStep = 1e-5;
    std::vector<double> differences;
    for (std::size_t i = 0; i < input.data.size(); ++i) {
        const auto in_row = static_cast<std::int64_t>(i) % input.token_stride;
        if (in_row >= input.heads * input.head_dim) continue;
        const double kept = input.data[i];
        input.data[i] = kept + kStep;
        const double above = objective(problem, backend, context);
        input.data[i] = kept - kStep;
        const double below = objective(problem, backend, context);
        input.data[i] = kept;
        differences.push_back((above - below) / (2 * kStep));
    }
    EXPECT_LE(relative_error(gradient.values(), differences), 1e-8);
}

void expect_central_differences(std::span<const Shape> shapes) {
    device::ThreadPool pool(1);
    device::Context context(pool);
    for (const Shape& shape : shapes) {
        for (const AttentionBackend kind : kAllBackends) {
            SCOPED_TRACE(std::string(to_string(kind)) + ": " + describe(shape));
            Problem<double> problem(shape);
            problem.run(kind);
            const auto backend = attention::make_backend(kind, device::host_device());
            check_gradient(problem, problem.q, problem.d_q, *backend, context);
            check_gradient(problem, problem.k, problem.d_k, *backend, context);
            check_gradient(problem, problem.v, problem.d_v, *backend, context);
        }
    }
}

TEST(AttentionGradients, EqualCentralDifferences) {
    const Shape shapes[] = {make_shape(9, 9, 8), make_shape(7, 12, 5, true, 4, 2),
                            make_shape(12, 7, 4, true, 3, 1), make_shape(6, 6, 20, false),
                            make_shape(70, 70, 3, true, 1, 1)};
    expect_central_differences(shapes);
}

TEST(AttentionGradients, OfWindowsAndSoftCapsEqualCentralDifferences) {
    std::vector<Shape> shapes;
    for (const std::int64_t window : {1, 5, 64}) {
        for (const double cap : {0.0, 0.8}) {
            for (const Shape& plain : {make_shape(9, 9, 4, true, 2, 1), make_shape(3, 12, 5),
                                       make_shape(70, 70, 2, true, 1, 1)}) {
                Shape shape = with_window(plain, window);
                shape.soft_cap = cap;
                shape.scale = 0.6;
                shapes.push_back(shape);
            }
        }
    }
    Shape full = make_shape(6, 9, 4, false);
    full.soft_cap = 0.5;
    shapes.push_back(full);
    expect_central_differences(shapes);
}

}  // namespace
}  // namespace isoflop::test
