// Sums over the rows of a matrix on a GPU, as bias gradients need them.
#pragma once

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::ops::cuda {

/// sums[c] += sum over rows of matrix[row, c], in fp32 and an order that depends on the shape
/// alone; rounded once. matrix [rows, columns], sums [columns].
void add_column_sums(device::Context& context, const device::TensorView& matrix,
                     const device::TensorView& sums);

}  // namespace isoflop::ops::cuda
