#include "isoflop/optimizer/adamw.hpp"

#include "isoflop/ops/adamw.hpp"

namespace isoflop::optimizer {
namespace {

class AdamW final : public Optimizer {
public:
    explicit AdamW(const AdamWOptions& options) : options_(options) {}

    [[nodiscard]] const cost::OptimizerState& state() const override { return cost::kAdamW; }

    void update(device::Context& context, const Update& update, const Slice& slice) const override {
        const ops::AdamWOptions options{.learning_rate = update.learning_rate,
                                        .beta1 = options_.beta1,
                                        .beta2 = options_.beta2,
                                        .eps = options_.eps,
                                        .weight_decay = options_.weight_decay,
                                        .step = update.step,
                                        .gradient_scale = update.gradient_scale,
                                        .stochastic_rounding = options_.stochastic_rounding,
                                        .rounding_seed = options_.rounding_seed,
                                        .first_element = slice.first_element};
        std::vector<ops::AdamWSegment> segments;
        for (const cost::TensorPart& part : slice.parts)
            segments.push_back({part.offset, part.count, part.tensor->spec.weight_decay()});
        ops::adamw(context, options, segments,
                   {.weights = slice.weights,
                    .gradients = slice.gradients,
                    .first_moment = slice.state[0].values,
                    .second_moment = slice.state[1].values,
                    .master_weights = slice.master_weights});
    }

private:
    AdamWOptions options_;
};

}  // namespace

std::unique_ptr<Optimizer> make_adamw(const AdamWOptions& options) {
    return std::make_unique<AdamW>(options);
}

}  // namespace isoflop::optimizer
