// What the tests of ops on any device share. References are the CPU ops in double on the inputs as
// the device has rounded them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include "ops/support.hpp"
#include "support/device_op.hpp"

namespace isoflop::test {

using ops::testing::random_values;
using ops::testing::relative_error;
using HostTensor = ops::testing::Tensor<double>;

/// Token ids or targets in device memory.
class DeviceTokens {
public:
    DeviceTokens(device::Device& device, const std::vector<std::int32_t>& tokens)
        : size_(tokens.size()), memory_(device, size_ * sizeof(std::int32_t)) {
        device.copy_in(memory_.data(), tokens.data(), memory_.size());
    }
    /// For ops on the device: the host cannot read them.
    [[nodiscard]] std::span<const std::int32_t> view() const {
        return {reinterpret_cast<const std::int32_t*>(memory_.data()), size_};
    }

private:
    std::size_t size_;
    device::DeviceBuffer memory_;
};

/// Frobenius norm of the difference within `tolerances` roundings of that of the reference, which
/// is floored where numbers may be so small that they lose precision.
inline void expect_close(const DeviceTensor& actual, const std::vector<double>& reference,
                         double tolerances = 1, double floor = 0) {
    const auto norm = [](const std::vector<double>& values) {
        return std::sqrt(ops::testing::dot(values, values));
    };
    const DType dtype = actual.view().dtype();
    std::vector<double> differences = actual.values();
    ASSERT_EQ(differences.size(), reference.size());
    for (std::size_t i = 0; i < reference.size(); ++i) differences[i] -= reference[i];
    EXPECT_LE(norm(differences),
              tolerances * rounding_tolerance(dtype) * std::max(norm(reference), floor));
}

}  // namespace isoflop::test
