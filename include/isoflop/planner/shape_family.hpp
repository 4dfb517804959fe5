// The compute-optimal model for a budget of FLOPs, along a family of shapes.
//
// The family keeps the proportions of a given architecture: with a scale t, layers, hidden size,
// heads, FFN width, expert width and latent ranks are t times the given ones; head_dim, vocabulary,
// number of experts and sequence length stay. Then
//   N(t)   = c3 t^3 + c2 t^2 + c1 t      block matrices, block vectors, embeddings and head
//   phi(t) = 6 (m3 t^3 + m1 t) + q t^2   training FLOPs per token: matrices, LM head; attention and
//                                        router
// The budget holds FLOPs as the convention of the MFU counts them, and so does phi: two members
// whose MFU is the same take the same time for the same counted FLOPs, not for the same exact ones.
// L(N(t), C / phi(t)) has one minimum in t, found by golden-section search. With limited data
// it is L(N(t), D'), with D' the effective tokens of D = min(C / phi(t), allowed tokens): where
// the data end first, the best model is the largest that the compute takes through all of them.
#pragma once

#include <cstdint>
#include <vector>

#include "isoflop/cost/flop_count.hpp"
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

/// Polynomials of the family through `config` at scale 1. `executed` depends on more than the
/// shape and is counted as `exact`.
[[nodiscard]] ShapeFamily shape_family(const model::ModelConfig& config,
                                       std::int64_t sequence_length,
                                       scaling_law::ParameterCount counts,
                                       cost::Convention convention = cost::Convention::exact);

/// Loss, nats, below which an architecture is no better than another.
inline constexpr double kNegligibleLoss = 0.0005;

struct FamilyOptimum {
    double scale = 1;  ///< continuous optimum
    scaling_law::Optimum continuous;
    /// False when the nearest architecture is beyond the sizes that can be counted; the three below
    /// are then empty.
    bool on_grid = false;
    model::ModelConfig
        grid_config;  ///< nearest real architecture: whole layers, heads and tile-friendly widths
    scaling_law::Optimum grid;                 ///< re-evaluated exactly for grid_config
    double grid_training_flops_per_token = 0;  ///< exact, whatever the convention
};

/// Compute-optimal scale for a budget of `flops`, counted by `convention`, within the data. Losses
/// are those at effective tokens.
[[nodiscard]] FamilyOptimum family_optimum(const model::ModelConfig& config,
                                           std::int64_t sequence_length,
                                           const scaling_law::Law& law, double flops,
                                           const scaling_law::DataSupply& data = {},
                                           cost::Convention convention = cost::Convention::exact);

/// The real architecture at `scale` with `layers` layers: whole heads and tile-friendly widths.
[[nodiscard]] model::ModelConfig grid_member(const model::ModelConfig& config, double scale,
                                             std::int64_t layers);

/// Real architectures at `scale`: layers, heads, heads per key/value head and widths, each rounded
/// down and up. Some may be inconsistent (find_inconsistency).
[[nodiscard]] std::vector<model::ModelConfig> roundings(const model::ModelConfig& config,
                                                        double scale);

/// `config` with one layer, head or step of a width more or less.
[[nodiscard]] std::vector<model::ModelConfig> neighbours(const model::ModelConfig& config);

}  // namespace isoflop::planner
