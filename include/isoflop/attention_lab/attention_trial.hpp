// Attention backends side by side on one shape: forward and backward over random values, their
// errors against a double-precision reference, their times and their memory. `train --selfcheck`,
// `train compare-attention` and attention_backend=auto use these trials.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isoflop/attention/attention.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/device.hpp"

namespace isoflop::attention_lab {

inline constexpr std::array kAttentionBackends = {cost::AttentionBackend::flash_attn_2,
                                                  cost::AttentionBackend::sdpa,
                                                  cost::AttentionBackend::manual};

/// Frobenius norm of the difference over that of the reference; lse: largest |difference| / max(1,
/// |lse|). Where queries see one key, d_q and d_k are zero: the norm of their references has a
/// floor, the norm for uniform probabilities.
struct AttentionErrors {
    double output = 0, lse = 0, d_query = 0, d_key = 0, d_value = 0;
    /// Of the tensors, lse not among them.
    [[nodiscard]] double worst() const;
};

struct AttentionTolerance {
    double values = 0;
    double lse = 0;
};
[[nodiscard]] AttentionTolerance attention_tolerance(cost::AttentionBackend backend, DType dtype,
                                                     const device::DeviceInfo& device);

struct AttentionTrial {
    cost::AttentionBackend backend{};
    bool ran = false;
    bool failed = false;                         ///< it was expected to run, but threw `reason`
    std::string reason = {};                     ///< why it did not run
    std::optional<AttentionErrors> errors = {};  ///< nullopt without a reference
    AttentionTolerance tolerance = {};
    std::string run_by = {};                           ///< as Backend::description
    double forward_seconds = 0, backward_seconds = 0;  ///< medians
    std::uint64_t saved_bytes = 0;    ///< between forward and backward, besides q, k, v and o
    std::uint64_t scratch_bytes = 0;  ///< in backward

    /// Within the tolerance, or unsupported.
    [[nodiscard]] bool passed() const;
    [[nodiscard]] double seconds() const { return forward_seconds + backward_seconds; }
    [[nodiscard]] std::uint64_t bytes() const { return saved_bytes + scratch_bytes; }
};

struct TrialOptions {
    /// Of the tensors; tf32: of float32 tensors, with products that the device does in tf32.
    DType dtype = DType::float32;
    /// false gives fused backends of a GPU memory for atomic sums of d_q
    bool deterministic = true;
    int repeats = 9;     ///< timed after the warm-up, at most
    double seconds = 1;  ///< per direction, after which no further repeat begins
    /// Multiply-adds that the reference may take. Where the shape has more, it is compared on its
    /// last queries, its first sequence and its first heads. 0: no reference.
    double reference_products = 2e9;
};

struct AttentionTrials {
    std::vector<AttentionTrial> backends;
    std::string part;  ///< the compared part, if not the whole: "the last 256 queries"
};

/// Runs all backends on the device of the context, on the same values. Queries and keys have one
/// length. Throws Error with ExitCode::out_of_memory when q, k and v do not fit; a backend whose
/// memory does not fit does not run.
[[nodiscard]] AttentionTrials try_attention(device::Context& context, const attention::Shape& shape,
                                            std::span<const cost::AttentionBackend> backends,
                                            const TrialOptions& options);

/// By the convention of published figures: 4 B H S^2 D forward, 2.5 times that backward, half when
/// causal.
[[nodiscard]] double attention_forward_flops(const attention::Shape& shape);
[[nodiscard]] double attention_backward_flops(const attention::Shape& shape);

}  // namespace isoflop::attention_lab
