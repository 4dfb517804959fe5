// Our own fp32 product.
#pragma once

#include "isoflop/device/gemm.hpp"

namespace isoflop::device {

/// C = alpha * op(A) op(B) + beta * C with our kernels; on the pool's threads, or on this one when
/// there is no pool. Needs m, n, k > 0.
void multiply_own(ThreadPool* pool, const GemmShape& shape, float alpha, const float* a,
                  const float* b, float beta, float* c);

}  // namespace isoflop::device
