#include "isoflop/ops/reduction.hpp"

#include "isoflop/ops/cuda/elements.hpp"

namespace isoflop::ops::cuda {
namespace {

struct Sum {
    SIMT_DEVICE float operator()(float a, float b) const { return a + b; }
};
struct Product {
    float factor;
    SIMT_DEVICE float operator()(float x) const { return x * factor; }
};
struct Constant {
    float value;
    SIMT_DEVICE float operator()() const { return value; }
};
struct Identity {
    SIMT_DEVICE float operator()(float x) const { return x; }
};

}  // namespace

void add(Context& context, const TensorView& x, const TensorView& y, const TensorView& out) {
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        map_elements(context, "add", x.size(), Sum{}, data<T>(out), data<T>(x), data<T>(y));
    });
}

void scale(Context& context, double factor, const TensorView& x) {
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        map_elements(context, "scale", x.size(), Product{static_cast<float>(factor)}, data<T>(x),
                     data<T>(x));
    });
}

void fill(Context& context, double value, const TensorView& x) {
    visit_storage(x.dtype(), [&](auto zero) {
        using T = decltype(zero);
        map_elements(context, "fill", x.size(), Constant{static_cast<float>(value)}, data<T>(x));
    });
}

void copy(Context& context, const TensorView& from, const TensorView& to) {
    if (from.size() == 0) return;
    if (from.dtype() == to.dtype()) {
        context.device.copy(to.data(), from.data(), from.bytes());
        return;
    }
    visit_storage(from.dtype(), [&](auto from_zero) {
        visit_storage(to.dtype(), [&](auto to_zero) {
            using From = decltype(from_zero);
            using To = decltype(to_zero);
            if constexpr (!std::is_same_v<From, To>) {
                map_elements(context, "copy", from.size(), Identity{}, data<To>(to),
                             data<From>(from));
            }
        });
    });
}

}  // namespace isoflop::ops::cuda
