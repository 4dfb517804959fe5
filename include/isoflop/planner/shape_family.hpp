// The compute-optimal model for a budget when FLOPs are counted exactly, along a family of shapes.
//
// The family keeps the proportions of a given architecture: with a scale t, layers, hidden size,
// heads, FFN width, expert width and latent ranks are t times the given ones; head_dim, vocabulary,
// number of experts and sequence length stay. Then
//   N(t)   = c3 t^3 + c2 t^2 + c1 t      block matrices, block vectors, embeddings and head
//   phi(t) = 6 (m3 t^3 + m1 t) + q t^2   training FLOPs per token: matrices, LM head; attention and
//                                        router
// and L(N(t), C / phi(t)) has one minimum in t, found by golden-section search. With limited data
// it is L(N(t), D'), with D' the effective tokens of D = min(C / phi(t), allowed tokens): where
// the data end first, the best model is the largest that the compute takes through all of them.
#pragma once

#include <cstdint>

#include "isoflop/model/model_config.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/scaling_law/law.hpp"
#include "isoflop/scaling_law/repeated_data.hpp"

namespace isoflop::planner {

/// N as a law counts it.
[[nodiscard]] double counted(const model::ParameterTotals& totals,
                             scaling_law::ParameterCount counts);

struct ShapeFamily {
    double n_cubic = 0, n_quadratic = 0, n_linear = 0;  ///< parameters as the law counts them
    double flops_cubic = 0, flops_quadratic = 0, flops_linear = 0;  ///< training FLOPs per token
    [[nodiscard]] double n_params(double scale) const;
    [[nodiscard]] double training_flops_per_token(double scale) const;
};

/// Polynomials of the family through `config` at scale 1.
[[nodiscard]] ShapeFamily shape_family(const model::ModelConfig& config,
                                       std::int64_t sequence_length,
                                       scaling_law::ParameterCount counts);

struct FamilyOptimum {
    double scale = 1;  ///< continuous optimum
    scaling_law::Optimum continuous;
    /// False when the nearest architecture is beyond the sizes that can be counted; the three below
    /// are then empty.
    bool on_grid = false;
    model::ModelConfig
        grid_config;  ///< nearest real architecture: whole layers, heads and tile-friendly widths
    scaling_law::Optimum grid;  ///< re-evaluated exactly for grid_config
    double grid_training_flops_per_token = 0;
};

/// Compute-optimal scale for a budget of `compute_flops`, within the data. Losses are those at
/// effective tokens.
[[nodiscard]] FamilyOptimum family_optimum(const model::ModelConfig& config,
                                           std::int64_t sequence_length,
                                           const scaling_law::Law& law, double compute_flops,
                                           const scaling_law::DataSupply& data = {});

/// The real architecture at `scale` with `layers` layers: whole heads and tile-friendly widths.
[[nodiscard]] model::ModelConfig grid_member(const model::ModelConfig& config, double scale,
                                             std::int64_t layers);

}  // namespace isoflop::planner
