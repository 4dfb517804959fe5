// AdamW (Loshchilov 2019, arXiv 1711.05101) over the fused op: two moments for every tensor.
#pragma once

#include "isoflop/optimizer/optimizer.hpp"

namespace isoflop::optimizer {

struct AdamWOptions {
    double beta1 = 0.9;
    double beta2 = 0.95;
    double eps = 1e-8;  ///< never 0: an update of state that is still zero divides by it
    double weight_decay = 0;
    /// 16-bit weights are rounded up or down at random: a function of (seed, step, element).
    bool stochastic_rounding = false;
    std::uint64_t rounding_seed = 0;
};

[[nodiscard]] std::unique_ptr<Optimizer> make_adamw(const AdamWOptions& options);

}  // namespace isoflop::optimizer
