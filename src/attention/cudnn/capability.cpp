#include "attention/cudnn/capability.hpp"

#include <string>

#include "attention/cudnn/functions.hpp"
#include "isoflop/cost/attention_workspace.hpp"

namespace isoflop::attention::cudnn {
namespace {

/// cudnn-frontend refuses fused attention in 16 bits with 9.10.0 and 9.10.1, forward and backward.
constexpr std::size_t kFirstRight = 91002;
/// Up to 9.15 cudnn-frontend masks the keys past a last, incomplete tile of 128 in backward, as the
/// kernels do not: gradients are wrong or NaN.
constexpr std::size_t kFirstRightForIncompleteTiles = 91600;
constexpr std::int64_t kKeyTile = 128;

Support refused(std::string reason) {
    return {.supported = false, .reason = std::move(reason)};
}

std::string mebibytes(std::uint64_t bytes) {
    return std::to_string(bytes >> 20U) + " MiB";
}

/// Where the backward pass would have a plan with wrong results.
Support is_right_backward(const Capability& device, std::size_t version, const Shape& shape) {
    const bool hopper = device.major == 9;
    if (version < kFirstRightForIncompleteTiles && shape.key_length % kKeyTile != 0)
        return refused("its backward pass is wrong before " +
                       version_text(kFirstRightForIncompleteTiles) + " for " +
                       std::to_string(shape.key_length) + " keys, no multiple of 128");
    // With very negative scores d_k and d_v become NaN there, in 9.26 too.
    if (hopper && shape.query_length == 1)
        return refused("its backward pass on capability 9.0 is wrong for a single query");
    if (shape.query_length == 1 && shape.key_length == 1)
        return refused("its backward pass is not for a single query with a single key");
    // Rows with lse < -88.7 become NaN there.
    if (hopper && (shape.query_length % 128 == 64 || shape.key_length % 128 == 64))
        return refused(
            "its backward pass on capability 9.0 is wrong for lengths of 64 above a "
            "multiple of 128");
    return {};
}

}  // namespace

Support supports_forward(const Capability& device, std::size_t version, const Shape& shape,
                         DType dtype) {
    if (version < kFirstRight)
        return refused("its fused attention is wrong before " + version_text(kFirstRight));
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

Support supports_backward(const Capability& device, std::size_t version, const Shape& shape,
                          DType dtype, bool deterministic) {
    Support forward = supports_forward(device, version, shape, dtype);
    if (!forward.supported) return forward;
    const bool hopper = device.major == 9;
    if (shape.head_dim > 128 && !hopper)
        return refused("the backward pass of head_dim " + std::to_string(shape.head_dim) +
                       " exists on capability 9.0 only");
    if (Support right = is_right_backward(device, version, shape); !right.supported) return right;
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
