// What cuDNN's fused attention can run, as far as it is known without asking it, and with the cases
// left out in which a version of it is known to be wrong. cuDNN itself makes plans for those too.
#pragma once

#include <cstddef>
#include <cstdint>

#include "isoflop/attention/attention.hpp"

namespace isoflop::attention::cudnn {

/// Compute capability.
struct Capability {
    int major = 0;
    int minor = 0;
};

/// `version`: as cudnnGetVersion tells it, 91900 for 9.19.0.
[[nodiscard]] Support supports_forward(const Capability& device, std::size_t version,
                                       const Shape& shape, DType dtype);
[[nodiscard]] Support supports_backward(const Capability& device, std::size_t version,
                                        const Shape& shape, DType dtype, bool deterministic);

}  // namespace isoflop::attention::cudnn
