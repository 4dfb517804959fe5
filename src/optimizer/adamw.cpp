#include "optimizer/adamw.hpp"

#include "isoflop/ops/adamw.hpp"

namespace isoflop::optimizer {
namespace {

class AdamW final : public Optimizer {
public:
    [[nodiscard]] const cost::OptimizerState& state() const override { return cost::kAdamW; }

    void update(device::Context& context, const Update& update, const Slice& slice) const override {
        const ops::AdamWOptions options{.learning_rate = update.learning_rate,
                                        .beta1 = update.beta1,
                                        .beta2 = update.beta2,
                                        .eps = update.eps,
                                        .weight_decay = update.weight_decay,
                                        .step = update.step,
                                        .gradient_scale = update.gradient_scale,
                                        .stochastic_rounding = update.stochastic_rounding,
                                        .rounding_seed = update.rounding_seed,
                                        .first_element = slice.first_element};
        std::vector<ops::AdamWSegment> segments;
        for (const cost::TensorPart& part : slice.parts)
            segments.push_back({part.offset, part.count, part.tensor->spec.weight_decay()});
        ops::adamw(context, options, segments,
                   {.weights = slice.weights,
                    .gradients = slice.gradients,
                    .first_moment = slice.state[0],
                    .second_moment = slice.state[1],
                    .master_weights = slice.master_weights});
    }
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw() {
    return std::make_unique<AdamW>();
}

}  // namespace isoflop::optimizer
