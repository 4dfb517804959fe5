// A state of AdamW that is on a device.
#pragma once

#include "isoflop/ops/adamw.hpp"
#include "ops/devices/support.hpp"

namespace isoflop::test {

using ops::AdamWOptions;
using ops::AdamWSegment;
using ops::AdamWState;

/// A state on the device; where weights are fp32 there are no master weights.
struct DeviceState {
    DeviceState(device::Device& device, DType dtype, std::int64_t size,
                const std::vector<double>& initial, std::int64_t shift = 0)
        : weights(device, dtype, {size}, initial, shift),
          gradients(device, dtype, {size}, random_values(size, 2), shift),
          first_moment(device, DType::float32, {size}, random_values(size, 3), shift),
          second_moment(device, DType::float32, {size}, squares(random_values(size, 4)), shift),
          master(device, DType::float32, {size}, initial, shift) {}

    static std::vector<double> squares(std::vector<double> values) {
        for (double& value : values) value *= value;
        return values;
    }
    [[nodiscard]] AdamWState view() const {
        const bool needs_master = weights.view().dtype() != DType::float32;
        return {.weights = weights.view(),
                .gradients = gradients.view(),
                .first_moment = first_moment.view(),
                .second_moment = second_moment.view(),
                .master_weights = needs_master ? master.view() : TensorView{}};
    }
    /// What the update was made on.
    [[nodiscard]] std::vector<double> updated() const {
        return (weights.view().dtype() == DType::float32 ? weights : master).values();
    }

    DeviceTensor weights, gradients, first_moment, second_moment, master;
};

}  // namespace isoflop::test
