#include "isoflop/ops/qk_norm.hpp"

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {
namespace {

void check(const Checks& checks, const QkNormShape& shape, const TensorView& query_weight,
           const TensorView& key_weight, std::string_view packed_name, const TensorView& packed,
           const TensorView& before, const TensorView& statistics) {
    checks.require(shape.query_heads >= 0 && shape.key_heads >= 0 && shape.head_dim > 0,
                   "{} query heads, {} key heads of dimension {}", shape.query_heads,
                   shape.key_heads, shape.head_dim);
    checks.require(shape.eps >= 0, "eps is {}, expected >= 0", shape.eps);
    const std::int64_t heads = shape.query_heads + shape.key_heads;
    checks.require(packed.dim(1) >= heads * shape.head_dim,
                   "{} has {} columns, {} heads of {} need {}", packed_name, packed.dim(1), heads,
                   shape.head_dim, heads * shape.head_dim);
    checks.shape("query_weight", query_weight, {shape.head_dim});
    checks.shape("key_weight", key_weight, {shape.head_dim});
    checks.shape("before", before, {packed.dim(0), heads * shape.head_dim});
    checks.statistics("statistics", statistics, {packed.dim(0), heads});
}

}  // namespace

void qk_norm_forward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                     const TensorView& key_weight, const TensorView& packed,
                     const TensorView& before, const TensorView& statistics) {
    const Checks checks(context, "qk_norm_forward", "packed", packed, 2);
    check(checks, shape, query_weight, key_weight, "packed", packed, before, statistics);
    checks.distinct("before", before, "packed", packed);
    run<qk_norm_forward>(context, shape, query_weight, key_weight, packed, before, statistics);
}

void qk_norm_backward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                      const TensorView& key_weight, const TensorView& before,
                      const TensorView& statistics, const TensorView& d_packed,
                      const TensorView& d_query_weight, const TensorView& d_key_weight) {
    const Checks checks(context, "qk_norm_backward", "d_packed", d_packed, 2);
    check(checks, shape, query_weight, key_weight, "d_packed", d_packed, before, statistics);
    checks.shape("d_query_weight", d_query_weight, {shape.head_dim});
    checks.shape("d_key_weight", d_key_weight, {shape.head_dim});
    checks.distinct("d_packed", d_packed, "before", before);
    run<qk_norm_backward>(context, shape, query_weight, key_weight, before, statistics, d_packed,
                          d_query_weight, d_key_weight);
}

}  // namespace isoflop::ops
