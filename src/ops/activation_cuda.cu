// Each activation is one function that returns value and slope together, as on the CPU; the
// compiler removes what a kernel does not use.
#include "isoflop/ops/activation.hpp"

#include <cmath>

#include "isoflop/ops/cuda/elements.hpp"

namespace isoflop::ops::cuda {
namespace {

using simt::Global;

struct Response {
    float value;
    float slope;
};

SIMT_DEVICE float sigmoid_of(float x) {
    return 1.0F / (1.0F + std::exp(-x));
}

struct Silu {
    SIMT_DEVICE Response operator()(float x) const {
        const float gate = sigmoid_of(x);
        return {x * gate, gate * (1.0F + x * (1.0F - gate))};
    }
};

/// erfc keeps the relative accuracy of the left tail, which 1 + erf would lose.
struct Gelu {
    SIMT_DEVICE Response operator()(float x) const {
        constexpr float sqrt_half = 0.707106781F;
        constexpr float inverse_sqrt_2_pi = 0.398942280F;
        const float cumulative = 0.5F * std::erfc(-sqrt_half * x);
        const float density = inverse_sqrt_2_pi * std::exp(-0.5F * x * x);
        return {x * cumulative, cumulative + x * density};
    }
};

/// 0.5 x (1 + tanh(u)) = x sigmoid(2u), u = sqrt(2 / pi) (x + 0.044715 x^3).
struct GeluTanh {
    SIMT_DEVICE Response operator()(float x) const {
        constexpr float twice_sqrt_2_over_pi = 1.59576912F;
        constexpr float cubic = 0.044715F;
        // The gate is 0 or 1 to the last bit long before 30; the bound keeps x^3 finite. NaN stays.
        float bounded = x < -30.0F ? -30.0F : x;
        bounded = bounded > 30.0F ? 30.0F : bounded;
        const float square = bounded * bounded;
        const float gate = sigmoid_of(twice_sqrt_2_over_pi * bounded * (1.0F + cubic * square));
        const float inner_slope = twice_sqrt_2_over_pi * (1.0F + 3.0F * cubic * square);
        return {x * gate, gate * (1.0F + x * (1.0F - gate) * inner_slope)};
    }
};

struct LeakyRelu {
    SIMT_DEVICE Response operator()(float x) const {
        const float slope = x > 0.0F ? 1.0F : 0.01F;
        return {x * slope, slope};
    }
};

/// relu(-infinity) is 0; NaN stays NaN.
struct Relu {
    SIMT_DEVICE Response operator()(float x) const {
        return {x < 0.0F ? 0.0F : x, x > 0.0F ? 1.0F : 0.0F};
    }
};

struct ReluSquared {
    SIMT_DEVICE Response operator()(float x) const {
        const float positive = x < 0.0F ? 0.0F : x;
        return {positive * positive, 2.0F * positive};
    }
};

struct SoftCap {
    float cap;
    SIMT_DEVICE float operator()(float x) const { return cap * std::tanh(x / cap); }
};
struct SoftCapSlope {
    float cap;
    SIMT_DEVICE float operator()(float capped, float gradient) const {
        const float share = capped / cap;
        return gradient * (1.0F - share * share);
    }
};

template <class Activation>
struct Value {
    SIMT_DEVICE float operator()(float x) const { return Activation{}(x).value; }
};
template <class Activation>
struct Gradient {
    SIMT_DEVICE float operator()(float x, float d_out) const {
        return d_out * Activation{}(x).slope;
    }
};
template <class Activation>
struct Gated {
    SIMT_DEVICE float operator()(float gate, float up) const {
        return Activation{}(gate).value * up;
    }
};
template <class Activation>
struct GateGradient {
    SIMT_DEVICE float operator()(float gate, float up, float d_out) const {
        return d_out * up * Activation{}(gate).slope;
    }
};

template <class Visitor>
void visit_activation(model::Activation kind, const Visitor& visit) {
    switch (kind) {
        case model::Activation::silu: return visit(Silu{});
        case model::Activation::gelu: return visit(Gelu{});
        case model::Activation::gelu_tanh: return visit(GeluTanh{});
        case model::Activation::relu: return visit(Relu{});
        case model::Activation::leaky_relu: return visit(LeakyRelu{});
        case model::Activation::relu_squared: return visit(ReluSquared{});
    }
}

template <class T, int width, class Activation>
SIMT_KERNEL void gated_forward_kernel(Global<T> out, Global<const T> gate_up, std::int64_t rows,
                                      std::int64_t columns) {
    const ColumnRange own = own_columns<width>();
    for (std::int64_t row = simt::block_index().y; row < rows; row += simt::grid_size().y) {
        const Global<const T> gate = gate_up + 2 * row * columns;
        for (std::int64_t i = own.first; i < columns; i += own.step) {
            store_pack(out + row * columns + i,
                       map_packs<T, width>(Gated<Activation>{}, load_pack<width>(gate + i),
                                           load_pack<width>(gate + columns + i)));
        }
    }
}

template <class T, int width, class Activation>
SIMT_KERNEL void gated_backward_kernel(Global<T> d_gate_up, Global<const T> gate_up,
                                       Global<const T> d_out, std::int64_t rows,
                                       std::int64_t columns) {
    const ColumnRange own = own_columns<width>();
    for (std::int64_t row = simt::block_index().y; row < rows; row += simt::grid_size().y) {
        const std::int64_t begin = 2 * row * columns;
        for (std::int64_t i = own.first; i < columns; i += own.step) {
            const Pack<T, width> gate = load_pack<width>(gate_up + begin + i);
            const Pack<T, width> up = load_pack<width>(gate_up + begin + columns + i);
            const Pack<T, width> gradient = load_pack<width>(d_out + row * columns + i);
            store_pack(d_gate_up + begin + i,
                       map_packs<T, width>(GateGradient<Activation>{}, gate, up, gradient));
            store_pack(d_gate_up + begin + columns + i,
                       map_packs<T, width>(Gated<Activation>{}, gate, gradient));
        }
    }
}

}  // namespace

void activation_forward(Context& context, model::Activation kind, const TensorView& x,
                        const TensorView& out) {
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        visit_activation(kind, [&](auto activation) {
            map_elements(context, "activation_forward", x.size(), Value<decltype(activation)>{},
                         data<T>(out), data<T>(x));
        });
    });
}

void activation_backward(Context& context, model::Activation kind, const TensorView& x,
                         const TensorView& d_out, const TensorView& d_x) {
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        visit_activation(kind, [&](auto activation) {
            map_elements(context, "activation_backward", x.size(), Gradient<decltype(activation)>{},
                         data<T>(d_x), data<T>(x), data<T>(d_out));
        });
    });
}

void gated_forward(Context& context, model::Activation kind, const TensorView& gate_up,
                   const TensorView& out) {
    if (out.size() == 0) return;
    const std::int64_t rows = out.dim(0);
    const std::int64_t columns = out.dim(1);
    visit_storage(out.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const bool has_packs = are_vectorizable<T>(columns, {gate_up, out});
        visit_activation(kind, [&](auto activation) {
            using Activation = decltype(activation);
            constexpr int width = kPackWidth<T>;
            simt::launch(
                row_launch(context, "gated_forward", rows, has_packs ? columns / width : columns),
                has_packs ? gated_forward_kernel<T, width, Activation>
                          : gated_forward_kernel<T, 1, Activation>,
                data<T>(out), data<T>(gate_up), rows, columns);
        });
    });
}

void gated_backward(Context& context, model::Activation kind, const TensorView& gate_up,
                    const TensorView& d_out, const TensorView& d_gate_up) {
    if (d_out.size() == 0) return;
    const std::int64_t rows = d_out.dim(0);
    const std::int64_t columns = d_out.dim(1);
    visit_storage(d_out.dtype(), [&](auto zero) {
        using T = decltype(zero);
        const bool has_packs = are_vectorizable<T>(columns, {gate_up, d_out, d_gate_up});
        visit_activation(kind, [&](auto activation) {
            using Activation = decltype(activation);
            constexpr int width = kPackWidth<T>;
            simt::launch(
                row_launch(context, "gated_backward", rows, has_packs ? columns / width : columns),
                has_packs ? gated_backward_kernel<T, width, Activation>
                          : gated_backward_kernel<T, 1, Activation>,
                data<T>(d_gate_up), data<T>(gate_up), data<T>(d_out), rows, columns);
        });
    });
}

void soft_cap_forward(Context& context, double cap, const TensorView& x) {
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        map_elements(context, "soft_cap_forward", x.size(), SoftCap{static_cast<float>(cap)},
                     data<T>(x), data<T>(x));
    });
}

void soft_cap_backward(Context& context, double cap, const TensorView& capped,
                       const TensorView& d) {
    visit_storage(d.dtype(), [&](auto zero) {
        using T = decltype(zero);
        map_elements(context, "soft_cap_backward", d.size(), SoftCapSlope{static_cast<float>(cap)},
                     data<T>(d), data<T>(capped), data<T>(d));
    });
}

}  // namespace isoflop::ops::cuda
