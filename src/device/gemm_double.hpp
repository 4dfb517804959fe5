// The fp64 product of the tests: correct, not fast.
#pragma once

#include "isoflop/device/gemm.hpp"

namespace isoflop::device {

/// Rows [begin, end) of C = alpha * op(A) op(B) + beta * C. Each element is summed in order of
/// depth.
void multiply_rows_double(const GemmShape& shape, double alpha, const double* a, const double* b,
                          double beta, double* c, std::int64_t begin, std::int64_t end);

}  // namespace isoflop::device
