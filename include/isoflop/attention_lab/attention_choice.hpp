// Which attention backend a run uses. attention_backend=auto takes the fastest: by a probe of about
// a second on the run's own shape, or by a table where results must not depend on timing.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>

#include "isoflop/attention/attention.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/recipe/attention_resolution.hpp"
#include "isoflop/recipe/run_plan.hpp"

namespace isoflop::attention_lab {

/// The decision for attention_backend=auto: the same on all ranks, stored in checkpoints and reused
/// on resume.
struct AttentionDecision {
    cost::AttentionBackend used{};
    std::string reason;  ///< "measured: 1.20 ms flash_attn_2, 1.40 ms sdpa, 5.00 ms manual"
    std::string device;  ///< the device of the decision
};
[[nodiscard]] nlohmann::ordered_json to_json(const AttentionDecision& decision);
/// nullopt when the JSON is not a decision.
[[nodiscard]] std::optional<AttentionDecision> attention_decision_from_json(
    const nlohmann::ordered_json& json);

/// The shape of one micro-batch.
[[nodiscard]] attention::Shape attention_shape(const recipe::Recipe& config);

/// By recipe::attention_by_table. `device`: null when the device is not known.
[[nodiscard]] AttentionDecision decide_by_table(const recipe::Recipe& config,
                                                const device::DeviceInfo* device,
                                                const std::string& why = {});

/// Uses `decision`, if any, for auto; otherwise decides by recipe::resolve_attention.
[[nodiscard]] recipe::AttentionResolution resolve_attention(
    const recipe::Recipe& config, const std::optional<AttentionDecision>& decision = {});

/// The plan of a run whose attention backend is resolved so. Throws ConfigError.
[[nodiscard]] recipe::RunPlan plan_with_attention(
    recipe::Recipe config, const std::optional<AttentionDecision>& decision = {});

/// Decides for auto on this rank: by `earlier` (of a checkpoint) if it is for this device and still
/// possible, by the table when the run is reproducible or auto_probe=false, else from the cache in
/// out_dir or by a probe. Backends with which the run would not fit in memory are excluded.
[[nodiscard]] AttentionDecision decide_attention(
    const recipe::Recipe& config, device::Context& context,
    const std::optional<AttentionDecision>& earlier,
    const std::function<bool(cost::AttentionBackend)>& fits);

}  // namespace isoflop::attention_lab
