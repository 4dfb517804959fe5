// Initial weights. Matrices and embeddings are drawn from N(0, 0.02^2) as in GPT-2 (Radford 2019)
// and LLaMA's released configurations; the two projections that write to the residual stream are
// scaled by 1/sqrt(2 L) so that its variance does not grow with depth (GPT-2, section 2.3). Norm
// weights are 1, biases 0. Each value is a pure function of (seed, tensor name, index): the same on
// any number of ranks or threads.
#pragma once

#include <cstdint>

#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/sharding/data_parallel.hpp"

namespace isoflop::trainer {

inline constexpr double kInitialDeviation = 0.02;

/// Weights of a part of a tensor.
void initialize_weights(device::Context& context, const model::ModelConfig& config,
                        std::uint64_t seed, const sharding::TensorPart& part,
                        const device::TensorView& values);

}  // namespace isoflop::trainer
