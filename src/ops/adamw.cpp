#include "isoflop/ops/adamw.hpp"

#include <algorithm>
#include <vector>

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {
namespace {

void check_options(const Checks& checks, const AdamWOptions& options) {
    checks.require(options.step >= 1, "step is {}, steps count from 1", options.step);
    checks.require(options.beta1 >= 0 && options.beta1 < 1, "beta1 is {}, expected [0, 1)",
                   options.beta1);
    checks.require(options.beta2 >= 0 && options.beta2 < 1, "beta2 is {}, expected [0, 1)",
                   options.beta2);
    checks.require(options.eps >= 0, "eps is {}, expected >= 0", options.eps);
}

/// Inside the tensor and disjoint: an element in two segments would be updated twice, by two
/// threads at once.
void check_segments(const Checks& checks, std::span<const AdamWSegment> segments,
                    std::int64_t size) {
    std::vector<AdamWSegment> sorted(segments.begin(), segments.end());
    std::sort(sorted.begin(), sorted.end(),
              [](const AdamWSegment& a, const AdamWSegment& b) { return a.offset < b.offset; });
    std::int64_t previous_end = 0;
    for (const AdamWSegment& segment : sorted) {
        checks.require(
            segment.offset >= 0 && segment.count >= 0 && segment.count <= size - segment.offset,
            "segment at {} of {} elements is outside a tensor of {}", segment.offset, segment.count,
            size);
        if (segment.count == 0) continue;
        checks.require(segment.offset >= previous_end,
                       "segment at {} overlaps the one that ends at {}", segment.offset,
                       previous_end);
        previous_end = segment.offset + segment.count;
    }
}

}  // namespace

void adamw(Context& context, const AdamWOptions& options, std::span<const AdamWSegment> segments,
           const AdamWState& state) {
    const Checks checks(context, "adamw", "weights", state.weights, 1);
    const std::int64_t size = state.weights.size();
    checks.same_shape("gradients", state.gradients, state.weights);
    checks.statistics("first_moment", state.first_moment, {size});
    checks.statistics("second_moment", state.second_moment, {size});
    const bool needs_master = size_in_bytes(state.weights.dtype()) == 2;
    checks.require(needs_master == !state.master_weights.empty(),
                   "master weights are for 16-bit weights, which need them");
    if (needs_master) checks.statistics("master_weights", state.master_weights, {size});
    check_options(checks, options);
    check_segments(checks, segments, size);
    run<adamw>(context, options, segments, state);
}

}  // namespace isoflop::ops
