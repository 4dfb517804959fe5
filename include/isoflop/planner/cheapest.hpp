// What reaches a loss with the least compute, along the family of shapes of an architecture
// (shape_family.hpp).
//
// With a scale t, the model has N(t) parameters and takes phi(t) FLOPs per token, counted by the
// convention of the MFU; the law read
// backwards gives the tokens D(t) with which it reaches the loss, repetition valued. D falls with
// t, so that a limit of the data is a least scale, and C(t) = phi(t) D(t) has one minimum in t.
#pragma once

#include <cstdint>
#include <optional>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/scaling_law/law.hpp"
#include "isoflop/scaling_law/repeated_data.hpp"

namespace isoflop::planner {

struct CheapestModel {
    double scale = 1;     ///< of layers, width and heads
    double n_params = 0;  ///< as the law counts them
    double n_tokens = 0;
    double compute_flops = 0;   ///< exact
    double counted_flops = 0;   ///< by the convention: least of all scales
    bool data_limited = false;  ///< a smaller model would be cheaper, had it more data
    bool fits = true;           ///< the GPUs of the plan, in some execution
};

/// Nullopt when no scale up to 10,000 reaches the loss within the data.
[[nodiscard]] std::optional<CheapestModel> cheapest_for_loss(
    const model::ModelConfig& config, std::int64_t sequence_length, const scaling_law::Law& law,
    double target_loss, const scaling_law::DataSupply& data,
    cost::Convention convention = cost::Convention::exact);

}  // namespace isoflop::planner
