// Whether a plan fits into the memory of a device, by how much, and the cheapest change that makes
// it fit. Plans, dry runs and runs all decide by memory_fit.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "isoflop/cost/execution.hpp"
#include "isoflop/recipe/run_plan.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::recipe {

struct FittingChange {
    cost::Execution execution;      ///< the changed choices; the global batch stays
    std::uint64_t total_bytes = 0;  ///< memory of these choices
    double slowdown = 0;            ///< estimated extra step time, fraction
    std::string description;        ///< "attention_backend=flash_attn_2, parallelism=zero1"
};

struct MemoryFit {
    std::uint64_t planned_bytes = 0;  ///< of the memory plan
    std::uint64_t capacity_bytes = 0;
    [[nodiscard]] bool fits() const { return planned_bytes <= capacity_bytes; }
    /// Free bytes, negative when it does not fit.
    [[nodiscard]] std::int64_t headroom_bytes() const {
        return static_cast<std::int64_t>(capacity_bytes) - static_cast<std::int64_t>(planned_bytes);
    }
    /// Cheapest combination of fused attention, smaller micro-batch, recomputation, sharding and,
    /// in training configs, reproducible=false that fits; nullopt when the plan fits already or no
    /// combination does.
    std::optional<FittingChange> change = {};
    /// When no combination fits this many GPUs: the fewest that do with everything sharded; nullopt
    /// when none would.
    std::optional<std::int64_t> gpus_needed = {};
    cost::AttentionBackend gpus_needed_backend{};  ///< the one that needs the least memory
};

/// The configuration whose keys a change names.
enum class KeysOf {
    plan,
    training,  ///< without zero2, which train does not run
};

/// The cheapest combination that fits; nullopt when none does.
[[nodiscard]] std::optional<FittingChange> fitting_change(const RunPlan& run,
                                                          std::uint64_t capacity_bytes,
                                                          KeysOf keys = KeysOf::plan);

/// Estimated extra step time of recomputation against none, fraction.
[[nodiscard]] double recompute_slowdown(cost::Recompute recompute);

/// The combination that needs the least memory: everything sharded, blocks recomputed, one
/// sequence at a time. The global batch stays.
[[nodiscard]] cost::Execution frugal_execution(const model::ModelConfig& config,
                                               const cost::Execution& given);

/// Of the memory plan of a run, context of the device included; only backends that run are
/// proposed.
[[nodiscard]] MemoryFit memory_fit(const RunPlan& run, std::uint64_t capacity_bytes,
                                   KeysOf keys = KeysOf::plan);

/// What would fit: "parallelism=zero1 needs 52.66 GiB, about 1 % slower"; empty where it fits.
[[nodiscard]] std::string advice(const MemoryFit& fit);
/// "needs 119.99 GiB of the 79.18 GiB of H100-SXM: does not fit, 40.81 GiB too much", and advice.
[[nodiscard]] std::string fit_sentence(const MemoryFit& fit, std::string_view device);
/// Rows of the capacity, of whether it fits, and of advice.
void fit_rows(text::TextReport& report, const MemoryFit& fit, std::string_view capacity_label);
/// capacity_bytes, headroom_bytes, fits, change and gpus_needed.
[[nodiscard]] nlohmann::ordered_json fit_json(const MemoryFit& fit);

}  // namespace isoflop::recipe
