// Optimizers that only tests know, to prove that a description of the state and an update are all
// that one needs: one moment; updates of whole matrices with state for matrices of the blocks
// alone; one moment for matrices and two for all other tensors of the same blocks.
#pragma once

#include <cmath>

#include "isoflop/optimizer/optimizer.hpp"

namespace isoflop::optimizer::test {

inline constexpr double kMomentum = 0.9;

inline constexpr std::array kMomentumTensors = {
    cost::OptimizerTensor{.name = "momentum", .checkpoint_prefix = "momentum_buffer."}};
inline constexpr cost::OptimizerState kMomentumSgd{.name = "momentum_sgd",
                                                   .tensors = kMomentumTensors};

constexpr bool is_block_matrix(const model::TensorSpec& tensor) {
    return tensor.is_matrix() && (tensor.component == model::Component::attention ||
                                  tensor.component == model::Component::ffn);
}
inline constexpr std::array kNormedTensors = {cost::OptimizerTensor{
    .name = "momentum", .checkpoint_prefix = "momentum_buffer.", .kept_for = is_block_matrix}};
inline constexpr cost::OptimizerState kNormedMomentum{
    .name = "normed_momentum", .tensors = kNormedTensors, .whole_matrices = true};

constexpr bool is_vector(const model::TensorSpec& tensor) {
    return !tensor.is_matrix();
}
inline constexpr std::array kMixedTensors = {
    cost::OptimizerTensor{.name = "first_moment", .checkpoint_prefix = "first."},
    cost::OptimizerTensor{
        .name = "second_moment", .checkpoint_prefix = "second.", .kept_for = is_vector}};
inline constexpr cost::OptimizerState kMixedMoments{.name = "mixed_moments",
                                                    .tensors = kMixedTensors};

/// m = momentum m + g, of a part of a tensor
inline void accumulate(const Update& update, const TensorView& gradients,
                       const TensorView& momentum) {
    const std::span<const float> g = gradients.as<float>();
    const std::span<float> m = momentum.as<float>();
    for (std::size_t i = 0; i < m.size(); ++i) {
        m[i] = static_cast<float>(kMomentum * static_cast<double>(m[i]) +
                                  update.gradient_scale * static_cast<double>(g[i]));
    }
}

inline TensorView part_of(const TensorView& flat, const cost::TensorPart& part) {
    return flat.flat_range(part.offset, part.count);
}

/// w -= rate direction
inline void step(const TensorView& weights, const TensorView& direction, double rate) {
    const std::span<float> w = weights.as<float>();
    const std::span<const float> d = direction.as<float>();
    for (std::size_t i = 0; i < w.size(); ++i)
        w[i] -= static_cast<float>(rate * static_cast<double>(d[i]));
}

/// w -= learning_rate m
class MomentumSgd final : public Optimizer {
public:
    [[nodiscard]] const cost::OptimizerState& state() const override { return kMomentumSgd; }
    void update(device::Context& /*context*/, const Update& update,
                const Slice& slice) const override {
        accumulate(update, slice.gradients, slice.state[0].values);
        step(slice.weights, slice.state[0].values, update.learning_rate);
    }
};

/// Matrices of blocks: w -= learning_rate m / |m|, with the norm of the whole matrix. All else: w
/// -= learning_rate g.
class NormedMomentum final : public Optimizer {
public:
    [[nodiscard]] const cost::OptimizerState& state() const override { return kNormedMomentum; }
    void update(device::Context& /*context*/, const Update& update,
                const Slice& slice) const override {
        const StateView& momentum = slice.state[0];
        for (const cost::TensorPart& part : slice.parts) {
            const TensorView values = momentum.of(part);
            if (!values.empty()) accumulate(update, part_of(slice.gradients, part), values);
        }
        const StateView whole = slice.gather(0);
        for (const cost::TensorPart& part : slice.parts) {
            const TensorView weights = part_of(slice.weights, part);
            const TensorView values = momentum.of(part);
            if (values.empty()) {
                step(weights, part_of(slice.gradients, part),
                     update.learning_rate * update.gradient_scale);
            } else {
                step(weights, values, update.learning_rate / norm_of(whole.of(*part.tensor)));
            }
        }
    }

private:
    static double norm_of(const TensorView& matrix) {
        double squares = 0;
        for (const float each : matrix.as<float>())
            squares += static_cast<double>(each) * static_cast<double>(each);
        return std::sqrt(squares) + 1e-12;
    }
};

/// Matrices: w -= learning_rate m. All else: w -= learning_rate m / (sqrt(v) + 1), where v = 0.9 v
/// + 0.1 g^2.
class MixedMoments final : public Optimizer {
public:
    [[nodiscard]] const cost::OptimizerState& state() const override { return kMixedMoments; }
    void update(device::Context& /*context*/, const Update& update,
                const Slice& slice) const override {
        for (const cost::TensorPart& part : slice.parts) {
            const TensorView first = slice.state[0].of(part);
            const TensorView second = slice.state[1].of(part);
            accumulate(update, part_of(slice.gradients, part), first);
            if (second.empty()) {
                step(part_of(slice.weights, part), first, update.learning_rate);
            } else {
                step_by_variance(update, slice, part, second);
            }
        }
    }

private:
    static void step_by_variance(const Update& update, const Slice& slice,
                                 const cost::TensorPart& part, const TensorView& second) {
        const std::span<const float> g = part_of(slice.gradients, part).as<float>();
        const std::span<const float> m = slice.state[0].of(part).as<float>();
        const std::span<float> v = second.as<float>();
        const std::span<float> w = part_of(slice.weights, part).as<float>();
        for (std::size_t i = 0; i < w.size(); ++i) {
            const double gradient = update.gradient_scale * static_cast<double>(g[i]);
            v[i] = static_cast<float>(0.9 * static_cast<double>(v[i]) + 0.1 * gradient * gradient);
            w[i] -= static_cast<float>(update.learning_rate * static_cast<double>(m[i]) /
                                       (std::sqrt(static_cast<double>(v[i])) + 1));
        }
    }
};

/// The update that belongs to one of the states above; nullptr for others.
inline std::unique_ptr<Optimizer> make_test_optimizer(const cost::OptimizerState& state) {
    if (&state == &kMomentumSgd) return std::make_unique<MomentumSgd>();
    if (&state == &kNormedMomentum) return std::make_unique<NormedMomentum>();
    if (&state == &kMixedMoments) return std::make_unique<MixedMoments>();
    return nullptr;
}

}  // namespace isoflop::optimizer::test
