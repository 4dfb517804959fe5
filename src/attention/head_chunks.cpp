// Backward of manual attention for some heads at a time, so that one matrix of score gradients
// serves them all.
#include <algorithm>

#include "isoflop/attention/attention.hpp"

namespace isoflop::attention {
namespace {

/// Heads from `head` on, of one sequence.
Heads part_of(const Heads& heads, std::int64_t batch, std::int64_t head) {
    Heads part = heads;
    if (heads.data == nullptr) return part;
    const std::int64_t first = batch * heads.batch_stride + head * heads.head_stride;
    part.data = static_cast<std::byte*>(heads.data) +
                static_cast<std::uint64_t>(first) * size_in_bytes(heads.dtype);
    return part;
}

}  // namespace

void backward_in_head_chunks(const Backend& backend, Context& context, const Shape& shape,
                             const BackwardArguments& arguments, std::int64_t chunk_heads) {
    const std::int64_t group = shape.heads / shape.kv_heads;
    const std::int64_t pairs = shape.query_length * shape.key_length;
    for (std::int64_t batch = 0; batch < shape.batch; ++batch) {
        for (std::int64_t first = 0; first < shape.heads; first += chunk_heads) {
            Shape part = shape;
            part.batch = 1;
            part.heads = std::min(chunk_heads, shape.heads - first);
            part.kv_heads = part.heads / group;
            BackwardArguments of_part = arguments;
            for (Heads BackwardArguments::*heads :
                 {&BackwardArguments::q, &BackwardArguments::o, &BackwardArguments::d_o,
                  &BackwardArguments::d_q}) {
                of_part.*heads = part_of(arguments.*heads, batch, first);
            }
            for (Heads BackwardArguments::*heads :
                 {&BackwardArguments::k, &BackwardArguments::v, &BackwardArguments::d_k,
                  &BackwardArguments::d_v}) {
                of_part.*heads = part_of(arguments.*heads, batch, first / group);
            }
            of_part.probabilities = arguments.probabilities.flat_range(
                (batch * shape.heads + first) * pairs, part.heads * pairs);
            of_part.d_scores = arguments.d_scores.flat_range(0, part.heads * pairs);
            backend.backward(context, part, of_part);
        }
    }
}

}  // namespace isoflop::attention
