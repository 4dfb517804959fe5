// Attention in double precision, plainly, on part of a shape: the reference for the trials of
// backends. Internal to the layer.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "isoflop/attention/attention.hpp"
#include "isoflop/attention_lab/attention_trial.hpp"
#include "isoflop/device/thread_pool.hpp"

namespace isoflop::attention_lab {

/// The first sequences, the first key/value heads with their query heads, the last queries.
struct ReferencePart {
    std::int64_t batch = 0;
    std::int64_t kv_heads = 0;
    std::int64_t queries = 0;

    [[nodiscard]] bool empty() const { return batch == 0; }
};

/// The part for which `products` multiply-adds are sufficient; empty for 0.
[[nodiscard]] ReferencePart reference_part(const attention::Shape& shape, double products);
/// "the last 256 queries, 1 of 8 sequences"; empty when the part is all.
[[nodiscard]] std::string describe(const ReferencePart& part, const attention::Shape& shape);

/// Tensors of the part's sequences, with all heads: q, d_o, o, d_q (sequence, query of the part,
/// head, element), k, v, d_k, d_v (sequence, key, head, element), lse (sequence, head, any query).
struct AttentionInputs {
    std::vector<float> q, k, v, d_o;
};
struct AttentionResults {
    std::vector<float> o, lse, d_q, d_k, d_v;
};

class AttentionReference {
public:
    /// d_o of queries outside the part counts as zero.
    AttentionReference(device::ThreadPool& pool, const attention::Shape& shape,
                       const ReferencePart& part, const AttentionInputs& inputs);

    [[nodiscard]] AttentionErrors errors(const AttentionResults& results) const;

private:
    struct Group;  ///< one key/value head of one sequence, with its query heads
    void compute(std::int64_t sequence, std::int64_t kv_head, const AttentionInputs& inputs);
    void compute_row(const Group& group, std::int64_t head, std::int64_t row,
                     const AttentionInputs& inputs, std::vector<double>& scratch);

    attention::Shape shape_;
    ReferencePart part_;
    std::vector<double> o_, lse_, d_q_, d_k_, d_v_;  ///< laid out as the results
};

}  // namespace isoflop::attention_lab
