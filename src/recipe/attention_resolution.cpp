#include "isoflop/recipe/attention_resolution.hpp"

#include <fmt/format.h>

#include "isoflop/model/trainable.hpp"

namespace isoflop::recipe {
namespace {

using cost::AttentionBackend;

std::string architecture_of(cost::DeviceKind device, ComputeCapability capability) {
    if (capability.major > 0) return fmt::format("sm_{}{}", capability.major, capability.minor);
    return device == cost::DeviceKind::cuda ? "a GPU" : "a CPU";
}

bool has_kernels(const model::ModelConfig& model, const cost::Execution& execution) {
    return model::untrainable_reason(model, execution.sequence_length).empty() &&
           !cost::runnable_backends(execution.device, cost::attention_size(model, execution),
                                    execution.storage_dtype())
                .empty();
}

}  // namespace

bool AttentionResolution::fell_back() const {
    const std::optional<AttentionBackend> backend = backend_of(requested);
    return backend && *backend != used;
}

std::string AttentionResolution::explanation() const {
    const std::string why = requested == AttentionChoice::automatic ? "auto: " + reason
                            : fell_back()
                                ? fmt::format("requested {}: {}", to_string(requested), reason)
                                : "as requested";
    return run_by.empty() ? why : fmt::format("{}; {}", why, run_by);
}

std::vector<AttentionBackend> preferred_backends(ComputeCapability capability) {
    const int number = 10 * capability.major + capability.minor;
    // Where only wgmma and tcgen05 reach the peak, cuDNN is far ahead; elsewhere it is slower than
    // FlashAttention-2 (docs/attention_backends.md).
    if (number == 90 || number == 100 || number == 103)
        return {AttentionBackend::sdpa, AttentionBackend::flash_attn_2, AttentionBackend::manual};
    return {AttentionBackend::flash_attn_2, AttentionBackend::sdpa, AttentionBackend::manual};
}

AttentionResolution attention_by_table(const Recipe& recipe, ComputeCapability capability,
                                       const std::string& why) {
    const cost::Execution& execution = recipe.execution;
    const std::vector<AttentionBackend> order = preferred_backends(capability);
    const cost::BackendResolution resolution = cost::resolve_backend(
        order, execution.device, cost::attention_size(recipe.model, execution),
        execution.storage_dtype(), recipe.keys.execution.disable_backends);
    std::string reason = fmt::format("table: {} first on {}", to_string(order.front()),
                                     architecture_of(execution.device, capability));
    if (!why.empty()) reason += fmt::format(" ({})", why);
    if (resolution.used != order.front()) reason += "; " + resolution.reason;
    return {AttentionChoice::automatic, resolution.used, reason};
}

AttentionResolution resolve_attention(const Recipe& recipe) {
    const AttentionChoice choice = recipe.keys.execution.attention_backend;
    const std::optional<AttentionBackend> backend = backend_of(choice);
    if (!backend) return attention_by_table(recipe);
    const cost::Execution& execution = recipe.execution;
    const cost::BackendResolution resolution = cost::resolve_backend(
        *backend, execution.device, cost::attention_size(recipe.model, execution),
        execution.storage_dtype(), recipe.keys.execution.disable_backends);
    return {choice, resolution.used, resolution.reason};
}

AttentionResolution resolve_attention(const model::ModelConfig& model,
                                      const cost::Execution& execution) {
    const AttentionBackend requested = execution.attention_backend;
    if (!has_kernels(model, execution)) return {choice_of(requested), requested, "as requested"};
    const cost::BackendResolution resolution =
        cost::resolve_backend(requested, execution.device, cost::attention_size(model, execution),
                              execution.storage_dtype());
    return {choice_of(requested), resolution.used, resolution.reason};
}

std::string fallback_warning(const AttentionResolution& attention) {
    if (!attention.fell_back()) return {};
    return fmt::format("attention runs with {} instead of {} ({})", to_string(attention.used),
                       to_string(attention.requested), attention.reason);
}

}  // namespace isoflop::recipe
