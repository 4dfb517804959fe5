// Linear layers: y = x W^T + bias with W [out, in] as Hugging Face's Linear stores it, or y = x W +
// bias with W [in, out] as its Conv1D (GPT-2) does. Every product is recorded under the layer's
// name.
#pragma once

#include <string_view>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

enum class WeightOrder { out_in, in_out };

struct Linear {
    std::string_view name;  ///< of the product in cost::FlopCount: "attention.qkv_proj"
    TensorView weight;
    TensorView bias;  ///< [out] or empty
    WeightOrder order = WeightOrder::out_in;
};

/// x [T, in] -> y [T, out]. `pass` is forward, or recompute when a block runs again in backward.
void linear_forward(Context& context, const Linear& layer, const TensorView& x, const TensorView& y,
                    cost::Pass pass = cost::Pass::forward);
/// y as above, activated = activation(y) [T, out]: one product where the library of the device
/// computes both; y is then rounded after the activation.
void linear_activation_forward(Context& context, const Linear& layer, model::Activation kind,
                               const TensorView& x, const TensorView& y,
                               const TensorView& activated, cost::Pass pass = cost::Pass::forward);
/// For a layer whose input is activation(before) [T, in]: d_before = d_y W times the derivative of
/// the activation there.
void linear_activation_backward_input(Context& context, const Linear& layer, model::Activation kind,
                                      const TensorView& d_y, const TensorView& before,
                                      const TensorView& d_before);
/// d_x = d_y W (+ d_x if `accumulate`).
void linear_backward_input(Context& context, const Linear& layer, const TensorView& d_y,
                           bool accumulate, const TensorView& d_x);
/// d_weight += d_y^T x (in the weight's order), d_bias += column sums of d_y (in row-chunk order).
void linear_backward_weight(Context& context, const Linear& layer, const TensorView& x,
                            const TensorView& d_y, const TensorView& d_weight,
                            const TensorView& d_bias);

}  // namespace isoflop::ops
