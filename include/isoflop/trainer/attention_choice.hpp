// Which attention backend a run uses. attention_backend=auto takes the fastest: by a probe of about
// a second on the run's own shape, or by a table where results must not depend on timing.
#pragma once

#include <functional>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/attention/attention.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/recipe/run_plan.hpp"

namespace isoflop::trainer {

/// What auto came to: the same on all ranks, kept in checkpoints and reused on resume.
struct AttentionDecision {
    cost::AttentionBackend used{};
    std::string reason;  ///< "measured: 1.20 ms flash_attn_2, 1.40 ms sdpa, 5.00 ms manual"
    std::string device;  ///< that it was made for
};
[[nodiscard]] nlohmann::ordered_json to_json(const AttentionDecision& decision);
/// nullopt when this is no decision.
[[nodiscard]] std::optional<AttentionDecision> attention_decision_from_json(
    const nlohmann::ordered_json& json);

/// The shape of one micro-batch.
[[nodiscard]] attention::Shape attention_shape(const recipe::Recipe& config);

/// The order in which the table prefers backends; `device`: null when which it will
/// be is not known.
[[nodiscard]] std::vector<cost::AttentionBackend> preferred_backends(
    const device::DeviceInfo* device);
/// `why`: why the table decides; may be empty.
[[nodiscard]] AttentionDecision decide_by_table(const recipe::Recipe& config,
                                                const device::DeviceInfo* device,
                                                const std::string& why = {});

/// With `decision`, if any, where the choice is auto; else by request or table. Falls back where a
/// backend cannot run. Throws ConfigError when none can.
[[nodiscard]] recipe::AttentionResolution resolve_attention(
    const recipe::Recipe& config, const std::optional<AttentionDecision>& decision = {});

/// The plan of a run whose attention backend is resolved so. Throws ConfigError.
[[nodiscard]] recipe::RunPlan plan_run(recipe::Recipe config,
                                       const std::optional<AttentionDecision>& decision = {});

/// Makes auto's decision on this rank: from `earlier` (of a checkpoint) when it is of this device
/// and still possible, by the table when the run is reproducible or auto_probe=false, else from the
/// cache in out_dir or by a probe. Backends whose run would not fit in memory are left out.
[[nodiscard]] AttentionDecision decide_attention(
    const recipe::Recipe& config, device::Context& context,
    const std::optional<AttentionDecision>& earlier,
    const std::function<bool(cost::AttentionBackend)>& fits);

}  // namespace isoflop::trainer
