#include "isoflop/ops/random.hpp"

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {

void fill_normal(Context& context, double deviation, std::uint64_t seed, std::uint64_t stream,
                 std::int64_t first, const TensorView& x) {
    (void)check_any_rank(context, "fill_normal", "x", x);
    run<fill_normal>(context, deviation, seed, stream, first, x);
}

}  // namespace isoflop::ops
