#include "isoflop/ops/embedding.hpp"

#include <algorithm>

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {
namespace {

/// Every position that a row of `rows` tokens takes must be in the table of learned positions.
void check_positions(const Checks& checks, std::string_view name, const TensorView& positions,
                     std::int64_t width, std::int64_t rows, std::int64_t sequence_length,
                     std::int64_t first_position) {
    checks.require(sequence_length >= 1, "sequence_length is {}, expected >= 1", sequence_length);
    checks.require(first_position >= 0, "first_position is {}, expected >= 0", first_position);
    if (positions.empty()) return;
    checks.require(positions.rank() == 2, "{} has {} dimension(s), expected 2", name,
                   positions.rank());
    checks.shape(name, positions, {positions.dim(0), width});
    const std::int64_t needed = std::min(rows, sequence_length);
    checks.require(needed <= positions.dim(0) && first_position <= positions.dim(0) - needed,
                   "positions {} to {} are needed, {} has {}", first_position,
                   first_position + needed - 1, name, positions.dim(0));
}

}  // namespace

void require_token_ids(std::span<const std::int32_t> ids, std::int64_t vocab_size,
                       const std::int32_t* also_allowed) {
    for (const std::int32_t id : ids) {
        if ((id >= 0 && id < vocab_size) || (also_allowed != nullptr && id == *also_allowed))
            continue;
        throw std::out_of_range(
            fmt::format("token id {} is outside a vocabulary of {}", id, vocab_size));
    }
}

void embedding_forward(Context& context, std::span<const std::int32_t> tokens,
                       const TensorView& table, const TensorView& positions,
                       std::int64_t sequence_length, std::int64_t first_position,
                       const TensorView& out) {
    const Checks checks(context, "embedding_forward", "table", table, 2);
    const std::int64_t rows = std::ssize(tokens);
    checks.shape("out", out, {rows, table.dim(1)});
    check_positions(checks, "positions", positions, table.dim(1), rows, sequence_length,
                    first_position);
    checks.indices("tokens", tokens, rows, table.dim(0));
    run<embedding_forward>(context, tokens, table, positions, sequence_length, first_position, out);
}

void embedding_backward(Context& context, std::span<const std::int32_t> tokens,
                        const TensorView& d_out, std::int64_t sequence_length,
                        const TensorView& d_table, const TensorView& d_positions) {
    const Checks checks(context, "embedding_backward", "d_table", d_table, 2);
    const std::int64_t rows = std::ssize(tokens);
    checks.shape("d_out", d_out, {rows, d_table.dim(1)});
    check_positions(checks, "d_positions", d_positions, d_table.dim(1), rows, sequence_length, 0);
    checks.indices("tokens", tokens, rows, d_table.dim(0));
    run<embedding_backward>(context, tokens, d_out, sequence_length, d_table, d_positions);
}

}  // namespace isoflop::ops
