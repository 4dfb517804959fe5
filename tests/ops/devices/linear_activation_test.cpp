// Linear layers with the activation that follows or precedes them: in one product where the library
// can, in two steps where it cannot, with the same results but for roundings.
#include "isoflop/ops/linear.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

using model::Activation;
using ops::Linear;

/// Rows, in and out of the layer; rows of 64 elements are such that the library takes them.
struct Sizes {
    std::int64_t rows, in, out;
};
constexpr std::array<Sizes, 4> kSizes{{{1, 8, 64}, {7, 33, 64}, {0, 8, 8}, {31, 7, 33}}};
constexpr std::array kKinds{Activation::gelu_tanh, Activation::gelu, Activation::relu};

class LinearActivationOnDevice : public DeviceOp {
protected:
    template <class Check>
    void for_all(const Check& check) {
        for (const DType dtype : storage_types()) {
            for (const Sizes& sizes : kSizes) {
                for (const Activation kind : kKinds) {
                    SCOPED_TRACE(std::string(short_name(dtype)) + ", " +
                                 std::string(to_string(kind)) + ", " + std::to_string(sizes.rows) +
                                 " rows, " + std::to_string(sizes.in) + " in, " +
                                 std::to_string(sizes.out) + " out");
                    check(dtype, sizes, kind);
                }
            }
        }
    }
};

/// Of the layer's sum and of what follows, which may see the sum before or after its rounding.
double tolerance(DType dtype) {
    return 1e-6 + 2.5 * rounding_tolerance(dtype);
}

TEST_F(LinearActivationOnDevice, ForwardGivesBothResults) {
    for_all([&](DType dtype, const Sizes& sizes, Activation kind) {
        const DeviceTensor x(*device_, dtype, {sizes.rows, sizes.in},
                             random_values(sizes.rows * sizes.in, 1));
        const DeviceTensor weight(*device_, dtype, {sizes.out, sizes.in},
                                  random_values(sizes.out * sizes.in, 2));
        const DeviceTensor bias(*device_, dtype, {sizes.out}, random_values(sizes.out, 3));
        const DeviceTensor y(*device_, dtype, {sizes.rows, sizes.out});
        const DeviceTensor activated(*device_, dtype, {sizes.rows, sizes.out});
        HostTensor host_x({sizes.rows, sizes.in}, x.values());
        HostTensor host_weight({sizes.out, sizes.in}, weight.values());
        HostTensor host_bias({sizes.out}, bias.values());
        HostTensor host_y({sizes.rows, sizes.out});
        HostTensor host_activated({sizes.rows, sizes.out});
        for (const bool with_bias : {false, true}) {
            Linear layer{.name = "test", .weight = weight.view(), .bias = {}};
            Linear host_layer{.name = "test", .weight = host_weight.view(), .bias = {}};
            if (with_bias) {
                layer.bias = bias.view();
                host_layer.bias = host_bias.view();
            }
            ops::linear_activation_forward(context_, layer, kind, x.view(), y.view(),
                                           activated.view());
            ops::linear_activation_forward(host_, host_layer, kind, host_x.view(), host_y.view(),
                                           host_activated.view());
            EXPECT_LE(relative_error(y.values(), host_y.doubles()), tolerance(dtype));
            EXPECT_LE(relative_error(activated.values(), host_activated.doubles()),
                      tolerance(dtype));
        }
    });
}

TEST_F(LinearActivationOnDevice, BackwardMultipliesByTheDerivative) {
    for_all([&](DType dtype, const Sizes& sizes, Activation kind) {
        const DeviceTensor d_y(*device_, dtype, {sizes.rows, sizes.in},
                               random_values(sizes.rows * sizes.in, 1));
        const DeviceTensor weight(*device_, dtype, {sizes.in, sizes.out},
                                  random_values(sizes.out * sizes.in, 2));
        const DeviceTensor before(*device_, dtype, {sizes.rows, sizes.out},
                                  random_values(sizes.rows * sizes.out, 3, 2));
        const DeviceTensor d_before(*device_, dtype, {sizes.rows, sizes.out});
        HostTensor host_d_y({sizes.rows, sizes.in}, d_y.values());
        HostTensor host_weight({sizes.in, sizes.out}, weight.values());
        HostTensor host_before({sizes.rows, sizes.out}, before.values());
        HostTensor host_d_before({sizes.rows, sizes.out});
        ops::linear_activation_backward_input(context_,
                                              {.name = "test", .weight = weight.view(), .bias = {}},
                                              kind, d_y.view(), before.view(), d_before.view());
        ops::linear_activation_backward_input(
            host_, {.name = "test", .weight = host_weight.view(), .bias = {}}, kind,
            host_d_y.view(), host_before.view(), host_d_before.view());
        EXPECT_LE(relative_error(d_before.values(), host_d_before.doubles()), tolerance(dtype));
    });
}

}  // namespace
}  // namespace isoflop::test
