#include "isoflop/ops/rope.hpp"

#include <algorithm>

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {
namespace {

void check(const Checks& checks, std::string_view name, const RopeTable& table,
           const RopeShape& shape, const TensorView& packed) {
    checks.require(shape.heads >= 0 && shape.head_dim >= 2 * table.half_dim(),
                   "{} heads of dimension {}, the table is for dimension {}", shape.heads,
                   shape.head_dim, 2 * table.half_dim());
    checks.require(!shape.in_threes || shape.heads % 2 == 0,
                   "{} heads are not queries and as many keys", shape.heads);
    const std::int64_t columns =
        shape.heads == 0 ? 0 : (shape.place(shape.heads - 1) + 1) * shape.head_dim;
    checks.require(packed.dim(1) >= columns, "{} has {} columns, {} heads of {} need {}", name,
                   packed.dim(1), shape.heads, shape.head_dim, columns);
    checks.require(shape.sequence_length >= 1, "sequence_length is {}, expected >= 1",
                   shape.sequence_length);
    const std::int64_t needed = std::min(packed.dim(0), shape.sequence_length);
    checks.require(shape.first_position >= 0 && needed <= table.positions() &&
                       shape.first_position <= table.positions() - needed,
                   "positions {} to {} are needed, the table has {}", shape.first_position,
                   shape.first_position + needed - 1, table.positions());
}

}  // namespace

void rope_forward(Context& context, const RopeTable& table, const RopeShape& shape,
                  const TensorView& packed) {
    const Checks checks(context, "rope_forward", "packed", packed, 2);
    check(checks, "packed", table, shape, packed);
    run<rope_forward>(context, table, shape, packed);
}

void rope_backward(Context& context, const RopeTable& table, const RopeShape& shape,
                   const TensorView& d_packed) {
    const Checks checks(context, "rope_backward", "d_packed", d_packed, 2);
    check(checks, "d_packed", table, shape, d_packed);
    run<rope_backward>(context, table, shape, d_packed);
}

}  // namespace isoflop::ops
