#include "attention/cudnn/capability.hpp"

#include <string>

#include "isoflop/cost/attention_workspace.hpp"

namespace isoflop::attention::cudnn {
namespace {

Support refused(std::string reason) {
    return {.supported = false, .reason = std::move(reason)};
}

std::string mebibytes(std::uint64_t bytes) {
    return std::to_string(bytes >> 20U) + " MiB";
}

}  // namespace

Support supports_forward(const Capability& device, const Shape& shape, DType dtype) {
    if (device.major < 8)
        return refused("compute capability " + std::to_string(device.major) + "." +
                       std::to_string(device.minor) + " is below 8.0");
    if (dtype != DType::bfloat16 && dtype != DType::float16)
        return refused("its fused attention is for bfloat16 and float16");
    if (shape.batch < 1 || shape.query_length < 1 || shape.key_length < 1)
        return refused("an empty shape");
    if (shape.head_dim % 8 != 0 || shape.head_dim < 8 || shape.head_dim > 256)
        return refused("head_dim " + std::to_string(shape.head_dim) +
                       " is not a multiple of 8 up to 256");
    if (shape.causal && shape.query_length != shape.key_length)
        return refused("its causal mask here is for equal lengths");
    return {};
}

Support supports_backward(const Capability& device, const Shape& shape, DType dtype,
                          bool deterministic) {
    Support forward = supports_forward(device, shape, dtype);
    if (!forward.supported) return forward;
    const bool hopper = device.major == 9;
    if (shape.head_dim > 128 && !hopper)
        return refused("the backward pass of head_dim " + std::to_string(shape.head_dim) +
                       " exists on capability 9.0 only");
    // Rows with lse < -88.7 become NaN there.
    if (hopper && (shape.query_length % 128 == 64 || shape.key_length % 128 == 64))
        return refused(
            "its backward pass on capability 9.0 is wrong for lengths of 64 above a "
            "multiple of 128");
    if (!deterministic) return {};
    if (device.major == 10)
        return refused("its deterministic backward pass on capability 10 has no engine here");
    const std::uint64_t bytes = cost::score_gradient_bytes(shape.size());
    if (bytes > cost::kMostScoreGradientBytes)
        return refused("its deterministic backward pass keeps " + mebibytes(bytes) +
                       " of score gradients, more than " +
                       mebibytes(cost::kMostScoreGradientBytes));
    return {};
}

}  // namespace isoflop::attention::cudnn
