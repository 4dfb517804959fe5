#include "isoflop/cost/attention_buffers.hpp"

#include "cost/unit_sizes.hpp"

namespace isoflop::cost {
namespace {

/// Workspace that cuDNN may need, planned whether or not it is installed.
std::uint64_t library_workspace_bytes(const AttentionSize& size, const Execution& execution) {
    if (execution.attention_backend != AttentionBackend::sdpa ||
        execution.device != DeviceKind::cuda || !execution.has_master_weights())
        return 0;
    return cudnn_workspace_bytes(size, execution.deterministic);
}

}  // namespace

std::vector<Buffer> attention_buffers(const AttentionSize& size, const Execution& execution) {
    std::vector<Buffer> buffers;
    const auto add = [&](BufferId id, Lifetime lifetime, std::uint64_t elements) {
        const std::uint64_t bytes = elements * element_bytes(buffer_kind(id).elements, execution);
        if (bytes > 0) buffers.push_back({id, lifetime, round_up(bytes, kBufferAlignment)});
    };
    const auto sequences = static_cast<std::uint64_t>(size.batch);
    const auto heads = static_cast<std::uint64_t>(size.heads);
    const auto queries = static_cast<std::uint64_t>(size.query_length);
    const std::uint64_t rows = sequences * heads * queries;
    if (execution.attention_backend == AttentionBackend::manual) {
        const auto keys = static_cast<std::uint64_t>(size.key_length);
        add(BufferId::attention_probabilities, Lifetime::step, rows * keys);
        const std::uint64_t heads_at_once =
            execution.manual_head_chunk > 0
                ? static_cast<std::uint64_t>(execution.chunk_heads(size.heads, size.kv_heads))
                : sequences * heads;
        add(BufferId::grad_attention_scores, Lifetime::backward_attention,
            heads_at_once * queries * keys);
        return buffers;
    }
    add(BufferId::attention_lse, Lifetime::step, rows);
    add(BufferId::grad_attention_row_sums, Lifetime::backward_attention, rows);
    // Parts of query gradients are added in fp32, in the order in which they come.
    if (execution.has_master_weights() && !execution.deterministic &&
        execution.device == DeviceKind::cuda) {
        add(BufferId::grad_attention_q_accumulator, Lifetime::backward_attention,
            rows * static_cast<std::uint64_t>(size.head_dim));
    }
    add(BufferId::grad_attention_workspace, Lifetime::backward_attention,
        library_workspace_bytes(size, execution));
    return buffers;
}

}  // namespace isoflop::cost
