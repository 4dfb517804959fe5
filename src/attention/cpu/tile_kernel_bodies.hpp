// Everything that one instruction set's source compiles: the kernels and the two tables of pointers
// to them.
#pragma once

#include "attention/cpu/tile_kernel_tables.hpp"
#include "attention/cpu/tile_product.hpp"
#include "attention/cpu/tile_softmax.hpp"
#include "attention/cpu/tile_vector.hpp"

namespace isoflop::attention::ISOFLOP_TILE_NAMESPACE {

template <class T>
inline constexpr TileKernels<T> kTable = {
    .lanes = kLanes<T>,
    .product = product<T>,
    .transpose = transpose<T>,
    .transpose_add = transpose_add<T>,
    .scale_lanes = scale_lanes<T>,
    .mask_keys = mask_keys<T>,
    .fill_before = fill_before<T>,
    .online_softmax = online_softmax<T>,
    .backward_probabilities = backward_probabilities<T>,
    .softmax_row = softmax_row<T>,
    .softmax_row_backward = softmax_row_backward<T>,
    .dot = dot<T>,
    .all_finite = all_finite<T>,
};

const TileKernels<float>& table(float) {
    return kTable<float>;
}
const TileKernels<double>& table(double) {
    return kTable<double>;
}

}  // namespace isoflop::attention::ISOFLOP_TILE_NAMESPACE
