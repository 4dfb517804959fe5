// Linear layers: products by the device, the gradient of the bias by a kernel.
#include "isoflop/ops/linear.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {
namespace {

using ops::Linear;
using ops::WeightOrder;

struct Sizes {
    std::int64_t rows, in, out;
};

/// Rows, in and out; the last has several row chunks and widths that packs fit into.
constexpr std::array<Sizes, 5> kSizes{
    {{1, 1, 1}, {7, 33, 5}, {0, 4, 8}, {31, 7, 100}, {300, 16, 64}}};

class LinearOnDevice : public DeviceOp {
protected:
    template <class Check>
    void for_all(const Check& check) {
        for (const DType dtype : storage_types()) {
            for (const Sizes& sizes : kSizes) {
                for (const WeightOrder order : {WeightOrder::out_in, WeightOrder::in_out}) {
                    SCOPED_TRACE(std::string(short_name(dtype)) + ", " +
                                 std::to_string(sizes.rows) + " rows, " + std::to_string(sizes.in) +
                                 " in, " + std::to_string(sizes.out) + " out");
                    check(dtype, sizes, order);
                }
            }
        }
    }

    DeviceTensor weight_like(DType dtype, const Sizes& sizes, WeightOrder order,
                             std::uint64_t seed) {
        const bool out_first = order == WeightOrder::out_in;
        return {*device_,
                dtype,
                {out_first ? sizes.out : sizes.in, out_first ? sizes.in : sizes.out},
                random_values(sizes.in * sizes.out, seed)};
    }
    static HostTensor host_weight(const DeviceTensor& weight) {
        return {{weight.view().dim(0), weight.view().dim(1)}, weight.values()};
    }
};

/// A sum in fp32, of terms that do not cancel on average, then one rounding.
double tolerance(DType dtype) {
    return 1e-6 + rounding_tolerance(dtype);
}

TEST_F(LinearOnDevice, ForwardAddsTheBias) {
    for_all([&](DType dtype, const Sizes& sizes, WeightOrder order) {
        const DeviceTensor x(*device_, dtype, {sizes.rows, sizes.in},
                             random_values(sizes.rows * sizes.in, 1));
        const DeviceTensor weight = weight_like(dtype, sizes, order, 2);
        const DeviceTensor bias(*device_, dtype, {sizes.out}, random_values(sizes.out, 3));
        const DeviceTensor y(*device_, dtype, {sizes.rows, sizes.out});
        HostTensor host_x({sizes.rows, sizes.in}, x.values());
        HostTensor host_w = host_weight(weight);
        HostTensor host_bias({sizes.out}, bias.values());
        HostTensor host_y({sizes.rows, sizes.out});
        for (const bool with_bias : {false, true}) {
            Linear layer{.name = "test", .weight = weight.view(), .bias = {}, .order = order};
            Linear host_layer{.name = "test", .weight = host_w.view(), .bias = {}, .order = order};
            if (with_bias) {
                layer.bias = bias.view();
                host_layer.bias = host_bias.view();
            }
            ops::linear_forward(context_, layer, x.view(), y.view());
            ops::linear_forward(host_, host_layer, host_x.view(), host_y.view());
            EXPECT_LE(relative_error(y.values(), host_y.doubles()), tolerance(dtype));
        }
    });
}

TEST_F(LinearOnDevice, BackwardOfTheInputAccumulatesOnRequest) {
    for_all([&](DType dtype, const Sizes& sizes, WeightOrder order) {
        const DeviceTensor d_y(*device_, dtype, {sizes.rows, sizes.out},
                               random_values(sizes.rows * sizes.out, 1));
        const DeviceTensor weight = weight_like(dtype, sizes, order, 2);
        for (const bool accumulate : {false, true}) {
            const DeviceTensor d_x(
                *device_, dtype, {sizes.rows, sizes.in},
                accumulate ? random_values(sizes.rows * sizes.in, 3) : std::vector<double>{});
            HostTensor host_d_y({sizes.rows, sizes.out}, d_y.values());
            HostTensor host_w = host_weight(weight);
            HostTensor host_d_x({sizes.rows, sizes.in}, d_x.values());
            ops::linear_backward_input(
                context_, {.name = "test", .weight = weight.view(), .bias = {}, .order = order},
                d_y.view(), accumulate, d_x.view());
            ops::linear_backward_input(
                host_, {.name = "test", .weight = host_w.view(), .bias = {}, .order = order},
                host_d_y.view(), accumulate, host_d_x.view());
            EXPECT_LE(relative_error(d_x.values(), host_d_x.doubles()), tolerance(dtype));
        }
    });
}

TEST_F(LinearOnDevice, BackwardOfTheWeightAccumulates) {
    for_all([&](DType dtype, const Sizes& sizes, WeightOrder order) {
        const DeviceTensor x(*device_, dtype, {sizes.rows, sizes.in},
                             random_values(sizes.rows * sizes.in, 1));
        const DeviceTensor d_y(*device_, dtype, {sizes.rows, sizes.out},
                               random_values(sizes.rows * sizes.out, 2));
        const DeviceTensor d_weight = weight_like(dtype, sizes, order, 3);
        const DeviceTensor bias(*device_, dtype, {sizes.out}, random_values(sizes.out, 4));
        HostTensor host_x({sizes.rows, sizes.in}, x.values());
        HostTensor host_d_y({sizes.rows, sizes.out}, d_y.values());
        HostTensor host_d_weight = host_weight(d_weight);
        HostTensor host_bias({sizes.out}, bias.values());
        ops::linear_backward_weight(
            context_,
            {.name = "test", .weight = d_weight.view(), .bias = bias.view(), .order = order},
            x.view(), d_y.view(), d_weight.view(), bias.view());
        ops::linear_backward_weight(host_,
                                    {.name = "test",
                                     .weight = host_d_weight.view(),
                                     .bias = host_bias.view(),
                                     .order = order},
                                    host_x.view(), host_d_y.view(), host_d_weight.view(),
                                    host_bias.view());
        EXPECT_LE(relative_error(d_weight.values(), host_d_weight.doubles()), tolerance(dtype));
        EXPECT_LE(relative_error(bias.values(), host_bias.doubles()), tolerance(dtype));
    });
}

TEST_F(LinearOnDevice, GradientOfTheBiasHasTheSameBitsInAllOrders) {
    for (const DType dtype : storage_types()) {
        for (const std::int64_t columns : {100, 64}) {  // without and with packs
            const std::int64_t rows = 517;
            const std::vector<double> gradients = random_values(rows * columns, 5);
            expect_same_bits_in_all_orders([&] {
                const DeviceTensor x(*device_, dtype, {rows, 1},
                                     std::vector<double>(static_cast<std::size_t>(rows), 0.0));
                const DeviceTensor d_y(*device_, dtype, {rows, columns}, gradients);
                const DeviceTensor d_weight(
                    *device_, dtype, {columns, 1},
                    std::vector<double>(static_cast<std::size_t>(columns), 0.0));
                const DeviceTensor d_bias(*device_, dtype, {columns}, random_values(columns, 6));
                ops::linear_backward_weight(
                    context_, {.name = "test", .weight = d_weight.view(), .bias = d_bias.view()},
                    x.view(), d_y.view(), d_weight.view(), d_bias.view());
                return bytes_of(d_bias);
            });
        }
    }
}

}  // namespace
}  // namespace isoflop::test
