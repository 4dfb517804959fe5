#include "isoflop/ops/dropout.hpp"

#include "ops/checks.hpp"
#include "ops/kernels.hpp"

namespace isoflop::ops {

void dropout(Context& context, const DropoutKey& key, double probability,
             std::int64_t sequence_length, const TensorView& x) {
    const Checks checks(context, "dropout", "x", x, 2);
    checks.require(probability >= 0 && probability < 1, "probability is {}, expected [0, 1)",
                   probability);
    checks.require(sequence_length >= 1 && x.dim(0) % sequence_length == 0,
                   "{} rows are not a multiple of the sequence length {}", x.dim(0),
                   sequence_length);
    if (probability == 0) return;
    run<dropout>(context, key, probability, sequence_length, x);
}

}  // namespace isoflop::ops
