// Optimizers that only tests know, to prove that one is an entry in two lists: one moment, and
// updates of whole matrices with state for the blocks alone.
#pragma once

#include <cmath>

#include "isoflop/optimizer/optimizer.hpp"

namespace isoflop::optimizer::test {

inline constexpr double kMomentum = 0.9;

inline constexpr std::array kMomentumTensors = {
    cost::OptimizerTensor{.name = "momentum", .checkpoint_prefix = "momentum_buffer."}};
inline constexpr cost::OptimizerState kMomentumSgd{.name = "momentum_sgd",
                                                   .tensors = kMomentumTensors};

inline constexpr std::array kNormedTensors = {
    cost::OptimizerTensor{.name = "momentum",
                          .checkpoint_prefix = "momentum_buffer.",
                          .units = cost::StateUnits::blocks}};
inline constexpr cost::OptimizerState kNormedMomentum{
    .name = "normed_momentum", .tensors = kNormedTensors, .whole_matrices = true};

/// m = momentum m + g
inline void accumulate(const Update& update, const Slice& slice, std::span<float> momentum) {
    const std::span<const float> gradients = slice.gradients.as<float>();
    for (std::size_t i = 0; i < momentum.size(); ++i) {
        momentum[i] = static_cast<float>(kMomentum * static_cast<double>(momentum[i]) +
                                         update.gradient_scale * static_cast<double>(gradients[i]));
    }
}

/// w -= learning_rate m
class MomentumSgd final : public Optimizer {
public:
    [[nodiscard]] const cost::OptimizerState& state() const override { return kMomentumSgd; }
    void update(device::Context& /*context*/, const Update& update,
                const Slice& slice) const override {
        const std::span<float> momentum = slice.state[0].as<float>();
        accumulate(update, slice, momentum);
        const std::span<float> weights = slice.weights.as<float>();
        for (std::size_t i = 0; i < weights.size(); ++i)
            weights[i] -= static_cast<float>(update.learning_rate) * momentum[i];
    }
};

/// Matrices of blocks: w -= learning_rate m / |m|, with the norm of the whole matrix. All else: w
/// -= learning_rate g.
class NormedMomentum final : public Optimizer {
public:
    [[nodiscard]] const cost::OptimizerState& state() const override { return kNormedMomentum; }
    void update(device::Context& /*context*/, const Update& update,
                const Slice& slice) const override {
        const bool has_state = !slice.state[0].empty();
        TensorView whole;
        if (has_state) {
            accumulate(update, slice, slice.state[0].as<float>());
            whole = slice.gather(slice.state[0]);
        }
        for (const cost::TensorPart& part : slice.parts) {
            if (has_state && part.tensor->spec.is_matrix()) {
                step(slice, part, slice.state[0],
                     update.learning_rate / norm_of(slice, whole, *part.tensor));
            } else {
                step(slice, part, slice.gradients, update.learning_rate * update.gradient_scale);
            }
        }
    }

private:
    static double norm_of(const Slice& slice, const TensorView& whole,
                          const cost::StateTensor& tensor) {
        double squares = 0;
        for (const cost::TensorPart& part : slice.unit_parts) {
            if (part.tensor != &tensor) continue;
            for (const float each : whole.flat_range(part.offset, part.count).as<float>())
                squares += static_cast<double>(each) * static_cast<double>(each);
        }
        return std::sqrt(squares) + 1e-12;
    }
    static void step(const Slice& slice, const cost::TensorPart& part, const TensorView& direction,
                     double rate) {
        const auto weights = slice.weights.flat_range(part.offset, part.count).as<float>();
        const auto values = direction.flat_range(part.offset, part.count).as<float>();
        for (std::size_t i = 0; i < weights.size(); ++i)
            weights[i] -= static_cast<float>(rate * static_cast<double>(values[i]));
    }
};

/// Makes the optimizers above known to sessions.
inline void register_test_optimizers() {
    static const bool once = [] {
        register_optimizer(kMomentumSgd, []() -> std::unique_ptr<Optimizer> {
            return std::make_unique<MomentumSgd>();
        });
        register_optimizer(kNormedMomentum, []() -> std::unique_ptr<Optimizer> {
            return std::make_unique<NormedMomentum>();
        });
        return true;
    }();
    static_cast<void>(once);
}

}  // namespace isoflop::optimizer::test
