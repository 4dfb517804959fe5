// What cuDNN's fused attention can run, as far as it is known without asking it, and with the cases
// left out in which it is known to be wrong.
#pragma once

#include <cstdint>

#include "isoflop/attention/attention.hpp"

namespace isoflop::attention::cudnn {

/// Compute capability.
struct Capability {
    int major = 0;
    int minor = 0;
};

[[nodiscard]] Support supports_forward(const Capability& device, const Shape& shape, DType dtype);
[[nodiscard]] Support supports_backward(const Capability& device, const Shape& shape, DType dtype,
                                        bool deterministic);

}  // namespace isoflop::attention::cudnn
