// Each activation is one function that returns value and slope together; a caller that needs only
// one of them leaves the other to the compiler to remove.
#include "isoflop/ops/activation.hpp"

#include <cmath>

#include "ops/vector_math.hpp"
#include "ops/vectorize.hpp"

namespace isoflop::ops::cpu {
namespace {

template <class T>
struct Response {
    T value;
    T slope;
};

struct Silu {
    template <class T>
    [[gnu::always_inline]] Response<T> operator()(T x) const {
        const T gate = sigmoid(x);
        return {x * gate, gate * (T(1) + x * (T(1) - gate))};
    }
};

struct Gelu {
    template <class T>
    [[gnu::always_inline]] Response<T> operator()(T x) const {
        const NormalDistribution<T> normal = normal_distribution(x);
        return {x * normal.cumulative, normal.cumulative + x * normal.density};
    }
};

/// 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
    template <class T>
    [[gnu::always_inline]] Response<T> operator()(T x) const {
        constexpr T kTwiceSqrt2OverPi = T(1.59576912160573071176);
        constexpr T kCubic = T(0.044715);
        // The gate is 0 or 1 to the last bit long before 30; the bound keeps x^3 finite.
        T bounded = x < T(-30) ? T(-30) : x;
        bounded = bounded > T(30) ? T(30) : bounded;
        const T square = bounded * bounded;
        const T gate = sigmoid(kTwiceSqrt2OverPi * bounded * (T(1) + kCubic * square));
        const T inner_slope = kTwiceSqrt2OverPi * (T(1) + T(3) * kCubic * square);
        return {x * gate, gate * (T(1) + x * (T(1) - gate) * inner_slope)};
    }
};

struct LeakyRelu {
    double negative_slope;
    template <class T>
    [[gnu::always_inline]] Response<T> operator()(T x) const {
        const T slope = x > T(0) ? T(1) : T(negative_slope);
        return {x * slope, slope};
    }
};

/// x > 0 ? x : 0 rather than x times its slope, so that relu(-infinity) is 0; NaN stays NaN.
struct Relu {
    template <class T>
    [[gnu::always_inline]] Response<T> operator()(T x) const {
        return {x < T(0) ? T(0) : x, x > T(0) ? T(1) : T(0)};
    }
};

struct ReluSquared {
    template <class T>
    [[gnu::always_inline]] Response<T> operator()(T x) const {
        const T positive = x < T(0) ? T(0) : x;
        return {positive * positive, T(2) * positive};
    }
};

template <class Visitor>
void visit_activation(model::Activation kind, const Visitor& visit) {
    switch (kind) {
        case model::Activation::silu: return visit(Silu{});
        case model::Activation::gelu: return visit(Gelu{});
        case model::Activation::gelu_tanh: return visit(GeluTanh{});
        case model::Activation::relu: return visit(Relu{});
        case model::Activation::leaky_relu: return visit(LeakyRelu{0.01});
        case model::Activation::relu_squared: return visit(ReluSquared{});
    }
}

template <class T, class Activation>
void gated_forward_rows(Context& context, const Activation& activation, std::int64_t rows,
                        std::int64_t width, const T* gate_up, T* out) {
    vectorized_rows(context, rows, width, [=](std::int64_t row) {
        const T* const gate = gate_up + row * 2 * width;
        const T* const up = gate + width;
        T* const result = out + row * width;
        for_each_independent(
            width, [=](std::int64_t i) { result[i] = activation(gate[i]).value * up[i]; });
    });
}

template <class T, class Activation>
void gated_backward_rows(Context& context, const Activation& activation, std::int64_t rows,
                         std::int64_t width, const T* gate_up, const T* d_out, T* d_gate_up) {
    vectorized_rows(context, rows, width, [=](std::int64_t row) {
        const T* const gate = gate_up + row * 2 * width;
        const T* const up = gate + width;
        const T* const d_result = d_out + row * width;
        T* const d_gate = d_gate_up + row * 2 * width;
        T* const d_up = d_gate + width;
        for_each_independent(width, [=](std::int64_t i) {
            const Response<T> response = activation(gate[i]);
            const T gradient = d_result[i];
            const T gate_gradient = gradient * up[i] * response.slope;
            d_up[i] = gradient * response.value;
            d_gate[i] = gate_gradient;
        });
    });
}

}  // namespace

void activation_forward(Context& context, model::Activation kind, const TensorView& x,
                        const TensorView& out) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        visit_activation(kind, [&](const auto& activation) {
            const T* const input = x.as<T>().data();
            T* const result = out.as<T>().data();
            vectorized_elements(context, x.size(),
                                [=](std::int64_t i) { result[i] = activation(input[i]).value; });
        });
    });
}

void activation_backward(Context& context, model::Activation kind, const TensorView& x,
                         const TensorView& d_out, const TensorView& d_x) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        visit_activation(kind, [&](const auto& activation) {
            const T* const input = x.as<T>().data();
            const T* const d_result = d_out.as<T>().data();
            T* const d_input = d_x.as<T>().data();
            vectorized_elements(context, x.size(), [=](std::int64_t i) {
                d_input[i] = d_result[i] * activation(input[i]).slope;
            });
        });
    });
}

void gated_forward(Context& context, model::Activation kind, const TensorView& gate_up,
                   const TensorView& out) {
    device::visit_dtype(out.dtype(), [&](auto zero) {
        using T = decltype(zero);
        visit_activation(kind, [&](const auto& activation) {
            gated_forward_rows<T>(context, activation, out.dim(0), out.dim(1),
                                  gate_up.as<T>().data(), out.as<T>().data());
        });
    });
}

void gated_backward(Context& context, model::Activation kind, const TensorView& gate_up,
                    const TensorView& d_out, const TensorView& d_gate_up) {
    device::visit_dtype(d_out.dtype(), [&](auto zero) {
        using T = decltype(zero);
        visit_activation(kind, [&](const auto& activation) {
            gated_backward_rows<T>(context, activation, d_out.dim(0), d_out.dim(1),
                                   gate_up.as<T>().data(), d_out.as<T>().data(),
                                   d_gate_up.as<T>().data());
        });
    });
}

void soft_cap_forward(Context& context, double cap, const TensorView& x) {
    device::visit_dtype(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        T* const values = x.as<T>().data();
        const T most = static_cast<T>(cap);
        vectorized_elements(context, x.size(), [=](std::int64_t i) {
            values[i] = most * std::tanh(values[i] / most);
        });
    });
}

void soft_cap_backward(Context& context, double cap, const TensorView& capped,
                       const TensorView& d) {
    device::visit_dtype(d.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const T* const values = capped.as<T>().data();
        T* const gradient = d.as<T>().data();
        const T most = static_cast<T>(cap);
        vectorized_elements(context, d.size(), [=](std::int64_t i) {
            const T share = values[i] / most;
            gradient[i] *= T(1) - share * share;
        });
    });
}

}  // namespace isoflop::ops::cpu
