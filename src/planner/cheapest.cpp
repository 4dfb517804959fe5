#include "isoflop/planner/cheapest.hpp"

#include <cmath>
#include <limits>

#include "isoflop/planner/shape_family.hpp"
#include "isoflop/scaling_law/repeated_data.hpp"
#include "planner/golden_section.hpp"

namespace isoflop::planner {
namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

struct Search {
    const ShapeFamily& family;
    const scaling_law::Law& law;
    double target_loss = 0;
    const scaling_law::DataSupply& data;

    [[nodiscard]] double tokens(double scale) const {
        return scaling_law::tokens_for_loss_with_repetition(law, family.n_params(scale),
                                                            target_loss, data.unique_tokens)
            .value_or(kInfinity);
    }
    /// Infinite where the model is too small to reach the loss with the data.
    [[nodiscard]] double compute(double scale) const {
        const double needed = tokens(scale);
        return needed <= data.allowed_tokens ? family.training_flops_per_token(scale) * needed
                                             : kInfinity;
    }
};

/// Searched on ln(scale). Scales that do not reach the loss are the smallest ones; the upper end of
/// the last interval reaches it where any scale does.
double minimize_scale(const Search& search) {
    const auto compute_at = [&](double log_scale) { return search.compute(std::exp(log_scale)); };
    return std::exp(golden_section(compute_at, {std::log(1e-3), std::log(1e4)}, 1e-9).high);
}

}  // namespace

std::optional<CheapestModel> cheapest_for_loss(const model::ModelConfig& config,
                                               std::int64_t sequence_length,
                                               const scaling_law::Law& law, double target_loss,
                                               const scaling_law::DataSupply& data,
                                               cost::Convention convention) {
    const ShapeFamily family = shape_family(config, sequence_length, law.counts, convention);
    const Search search{family, law, target_loss, data};
    CheapestModel result;
    result.scale = minimize_scale(search);
    result.counted_flops = search.compute(result.scale);
    if (!std::isfinite(result.counted_flops)) return std::nullopt;
    result.n_params = family.n_params(result.scale);
    result.n_tokens = search.tokens(result.scale);
    result.compute_flops =
        shape_family(config, sequence_length, law.counts).training_flops_per_token(result.scale) *
        result.n_tokens;
    // The end of the search is within 1e-9 of the least scale that the data allow.
    const double smaller = result.scale * (1 - 1e-6);
    result.data_limited = search.tokens(smaller) > data.allowed_tokens;
    return result;
}

}  // namespace isoflop::planner
