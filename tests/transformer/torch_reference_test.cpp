// Whole models against PyTorch in double precision: loss, logits, every gradient, and three steps
// of AdamW, with every attention backend. torch_reference.json is written by
// generate_torch_reference.py, which says how weights and tokens come about and what a sketch of a
// tensor is.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "isoflop/ops/adamw.hpp"
#include "source_dir.hpp"
#include "transformer/tiny_model.hpp"
#include "transformer/torch_reference.hpp"

namespace isoflop {
namespace {

using namespace testing::torch_reference;
using nlohmann::json;
using testing::TinyModel;

const json& reference() {
    static const json parsed = [] {
        std::ifstream file(ISOFLOP_SOURCE_DIR "/tests/transformer/torch_reference.json");
        return json::parse(file);
    }();
    return parsed;
}

struct Case {
    std::size_t index = 0;
    cost::AttentionBackend backend{};
    [[nodiscard]] const json& stored() const { return reference().at("cases").at(index); }
};

/// The name of the test.
std::ostream& operator<<(std::ostream& out, const Case& which) {
    return out << which.stored().at("name").get<std::string>() << "_" << to_string(which.backend);
}

std::vector<Case> all_cases() {
    std::vector<Case> cases;
    for (std::size_t i = 0; i < reference().at("cases").size(); ++i) {
        for (const auto backend : {cost::AttentionBackend::flash_attn_2,
                                   cost::AttentionBackend::sdpa, cost::AttentionBackend::manual}) {
            cases.push_back({i, backend});
        }
    }
    return cases;
}

class TorchReference : public ::testing::TestWithParam<Case> {
protected:
    struct Tolerance {
        double loss;
        double gradients;
    };

    [[nodiscard]] static const json& stored() { return GetParam().stored(); }

    [[nodiscard]] static std::unique_ptr<TinyModel> make_model(DType dtype) {
        testing::TinyOptions options{.model = stored().at("model").dump(), .dtype = dtype};
        options.backend = GetParam().backend;
        options.batch = stored().at("batch");
        options.sequence_length = stored().at("sequence_length");
        auto model = std::make_unique<TinyModel>(options);
        fill_weights(*model);
        fill_tokens(*model);
        return model;
    }

    /// Mean loss; leaves its gradient.
    [[nodiscard]] static double loss_and_gradient(TinyModel& model) {
        const auto targets = std::count_if(model.targets.begin(), model.targets.end(),
                                           [](std::int32_t target) { return target >= 0; });
        model.clear_gradients();
        return model.transformer.forward_backward(model.batch(), 1.0 / static_cast<double>(targets))
            .mean();
    }

    /// Every tensor of `flat` against the sketch stored under `key`.
    static void check_tensors(const TinyModel& model, const device::TensorView& flat,
                              const char* key, double tolerance) {
        for (const json& tensor : stored().at("tensors")) {
            const auto name = tensor.at("name").get<std::string>();
            const auto& ours = model.state.tensors;
            const auto found = std::find_if(ours.begin(), ours.end(), [&](const auto& candidate) {
                return candidate.name == name;
            });
            ASSERT_NE(found, ours.end()) << name;
            EXPECT_LE(sketch_error(values_of(*found, flat), tensor.at(key)), tolerance)
                << key << " of " << name;
        }
    }

    static void check_loss_and_gradients(DType dtype, const Tolerance& tolerance) {
        const auto model = make_model(dtype);
        EXPECT_LE(relative_error(loss_and_gradient(*model), stored().at("loss")), tolerance.loss);
        check_tensors(*model, model->gradients, "gradient", tolerance.gradients);
        EXPECT_LE(
            relative_error(model->transformer.evaluate(model->batch()).mean(), stored().at("loss")),
            tolerance.loss);
    }
};

TEST_P(TorchReference, HasTheSameTensors) {
    using NameAndShape = std::pair<std::string, std::vector<std::int64_t>>;
    std::set<NameAndShape> expected;
    for (const json& tensor : stored().at("tensors"))
        expected.emplace(tensor.at("name"), tensor.at("shape"));
    std::set<NameAndShape> found;
    const auto model = make_model(DType::float64);
    for (const cost::StateTensor& tensor : model->state.tensors) {
        std::vector<std::int64_t> shape = {tensor.spec.shape[0]};
        if (tensor.spec.is_matrix()) shape.push_back(tensor.spec.shape[1]);
        found.emplace(tensor.name, shape);
    }
    EXPECT_EQ(found, expected);
}

// Double precision rounds at 1e-16; both sides add up to some hundred terms, in different orders.
TEST_P(TorchReference, DoublePrecisionHasTheSameLossAndGradients) {
    check_loss_and_gradients(DType::float64, {.loss = 1e-12, .gradients = 1e-10});
}

// Single precision rounds at 6e-8. Errors of the loss average out over its tokens. A gradient
// passes about twenty chained products and norms, and where sums over tokens cancel, as in that of
// a norm's weight, its relative error grows: to 1.3e-6 at most when this was written.
TEST_P(TorchReference, SinglePrecisionHasTheSameLossAndGradientsUpToRounding) {
    check_loss_and_gradients(DType::float32, {.loss = 1e-6, .gradients = 1e-5});
}

TEST_P(TorchReference, LastTokenHasTheSameLogits) {
    const auto model = make_model(DType::float64);
    (void)model->transformer.evaluate(model->batch());
    // Evaluation leaves the logits of its only chunk in place.
    const auto tokens = static_cast<std::int64_t>(model->tokens.size());
    const std::int64_t vocab_size = model->config.vocab_size;
    ASSERT_EQ(cost::loss_chunk_tokens(model->execution, vocab_size), tokens);
    const auto logits = model->memory.tensor(cost::BufferId::logits, 0, {tokens, vocab_size});
    const auto last = logits.as<double>().last(static_cast<std::size_t>(vocab_size));
    const auto expected = stored().at("logits").get<std::vector<double>>();
    ASSERT_EQ(last.size(), expected.size());
    // The logits are of order 1.
    for (std::size_t i = 0; i < last.size(); ++i) EXPECT_NEAR(last[i], expected[i], 1e-12);
}

/// A training session's update, in double precision.
class Optimizer {
public:
    Optimizer(TinyModel& model, const json& keys)
        : model_(model),
          first_moment_(model.memory.optimizer_state(cost::kAdamWTensors[0])),
          second_moment_(model.memory.optimizer_state(cost::kAdamWTensors[1])),
          grad_clip_(keys.at("grad_clip")) {
        options_.learning_rate = keys.at("learning_rate");
        options_.beta1 = keys.at("beta1");
        options_.beta2 = keys.at("beta2");
        options_.eps = keys.at("eps");
        options_.weight_decay = keys.at("weight_decay");
        options_.step = 0;
        ops::fill(model.context, 0.0, first_moment_);
        ops::fill(model.context, 0.0, second_moment_);
        for (const cost::StateTensor& tensor : model.state.tensors) {
            segments_.push_back({static_cast<std::int64_t>(tensor.offset), tensor.spec.elements(),
                                 tensor.spec.weight_decay()});
        }
    }

    /// Returns the norm of the gradient before clipping.
    double step() {
        const double norm = std::sqrt(ops::sum_of_squares(model_.context, model_.gradients));
        ++options_.step;
        options_.gradient_scale = norm > grad_clip_ ? grad_clip_ / norm : 1.0;
        ops::adamw(model_.context, options_, segments_,
                   {model_.weights, model_.gradients, first_moment_, second_moment_, {}});
        return norm;
    }

private:
    TinyModel& model_;
    device::TensorView first_moment_;
    device::TensorView second_moment_;
    double grad_clip_;
    ops::AdamWOptions options_;
    std::vector<ops::AdamWSegment> segments_;
};

// Gradients agree to 1e-14, but AdamW divides each element by its own size: where it is small, its
// relative error, which may be much larger, becomes that of its update.
TEST_P(TorchReference, AdamWStepsLeadToTheSameWeightsAndLosses) {
    constexpr double kTolerance = 1e-10;
    const auto model = make_model(DType::float64);
    Optimizer optimizer(*model, reference().at("optimizer"));
    for (const json& step : stored().at("steps")) {
        EXPECT_LE(relative_error(loss_and_gradient(*model), step.at("loss")), kTolerance);
        EXPECT_LE(relative_error(optimizer.step(), step.at("gradient_norm")), kTolerance);
    }
    check_tensors(*model, model->weights, "weight_after_steps", kTolerance);
    EXPECT_LE(relative_error(model->transformer.evaluate(model->batch()).mean(),
                             stored().at("loss_after_steps")),
              kTolerance);
}

INSTANTIATE_TEST_SUITE_P(Models, TorchReference, ::testing::ValuesIn(all_cases()),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace isoflop
