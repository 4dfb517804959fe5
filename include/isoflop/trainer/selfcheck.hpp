// `train --selfcheck`: the attention backends on the run's own shapes against a double-precision
// reference, so that a user sees on their machine what the tests prove on ours.
#pragma once

#include <string>
#include <vector>

#include "isoflop/device/context.hpp"
#include "isoflop/report/text_report.hpp"
#include "isoflop/trainer/session.hpp"

namespace isoflop::trainer {

struct BackendCheck {
    cost::AttentionBackend backend{};
    bool supported = true;
    std::string reason;  ///< when not supported
    // Relative errors: Frobenius norm of the difference over that of the reference; lse: largest
    // |difference| / max(1, |lse|).
    double output = 0, lse = 0, d_query = 0, d_key = 0, d_value = 0;
    double forward_seconds = 0, backward_seconds = 0;
    double tolerance = 0;
    [[nodiscard]] bool passed() const;
};

/// One sequence of the run's length with random values.
[[nodiscard]] std::vector<BackendCheck> check_attention(const RunPlan& plan,
                                                        device::Context& context);
[[nodiscard]] std::string selfcheck_text(const RunPlan& plan,
                                         const std::vector<BackendCheck>& checks,
                                         report::Colour colour);

}  // namespace isoflop::trainer
