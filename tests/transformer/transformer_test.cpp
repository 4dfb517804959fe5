// The whole model: gradients against finite differences in double precision, invariance under
// choices that must not change the result, and products issued against products planned.
#include "isoflop/transformer/transformer.hpp"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <string>

#include "isoflop/base/error.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/trainable.hpp"
#include "isoflop/transformer/generator.hpp"
#include "transformer/tiny_model.hpp"

namespace isoflop {
namespace {

using testing::TinyModel;
using testing::TinyOptions;

constexpr const char* kSizes =
    R"("n_layer": 2, "n_head": 4, "n_embd": 16, "vocab_size": 11, "block_size": 5, )";

std::string model_json(const std::string& choices) {
    return "{" + std::string(kSizes) + choices + "}";
}

struct ModelCase {
    std::string name;
    std::string choices;
};

const std::vector<ModelCase>& model_cases() {
    static const std::vector<ModelCase> cases = {
        {"llama", R"("arch_preset": "llama", "intermediate_size": 24)"},
        {"llama_gqa", R"("arch_preset": "llama", "intermediate_size": 24, "n_kv_head": 2)"},
        {"llama_mqa_bias",
         R"("arch_preset": "llama", "intermediate_size": 24, "n_kv_head": 1, "bias": true)"},
        {"llama_tied_head_dim",
         R"("arch_preset": "llama", "intermediate_size": 20, "weight_tying": true, "head_dim": 6)"},
        {"llama3_rope_scaling",
         R"("arch_preset": "llama", "intermediate_size": 24, "rope_scaling": {"rope_type": "llama3", "factor": 8.0,
            "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 4})"},
        {"qwen3",
         R"("arch_preset": "qwen3", "intermediate_size": 24, "n_kv_head": 2, "head_dim": 8)"},
        {"gpt2", R"("arch_preset": "gpt2")"},
        {"gpt2_bias_layernorm",
         R"("arch_preset": "gpt2", "bias": true, "normalization": "layernorm", "activation": "gelu_tanh")"},
        {"hybrid", R"("arch_preset": "hybrid")"},
        {"post_norm_rms",
         R"("arch_preset": "llama", "intermediate_size": 24, "norm_position": "post")"},
        {"post_norm_layernorm",
         R"("arch_preset": "custom", "normalization": "layernorm", "norm_position": "post", "ffn_type": "standard",
            "activation": "silu", "bias": true)"},
        {"no_positions_gated_gelu",
         R"("arch_preset": "custom", "position_encoding": "none", "activation": "gelu", "intermediate_size": 24)"},
        {"learned_positions_untied",
         R"("arch_preset": "gpt2", "weight_tying": false, "activation": "silu")"},
        {"dropout", R"("arch_preset": "gpt2", "dropout": 0.2)"},
        {"dropout_post_norm",
         R"("arch_preset": "llama", "intermediate_size": 24, "dropout": 0.3, "norm_position": "post")"},
    };
    return cases;
}

struct GradientCase {
    ModelCase model;
    cost::AttentionBackend backend;
    cost::Recompute recompute;
};

std::vector<GradientCase> gradient_cases() {
    std::vector<GradientCase> cases;
    for (const ModelCase& model : model_cases()) {
        for (const auto backend : {cost::AttentionBackend::flash_attn_2,
                                   cost::AttentionBackend::sdpa, cost::AttentionBackend::manual}) {
            for (const auto recompute :
                 {cost::Recompute::none, cost::Recompute::attention, cost::Recompute::block}) {
                cases.push_back({model, backend, recompute});
            }
        }
    }
    return cases;
}

std::string case_name(const ::testing::TestParamInfo<GradientCase>& info) {
    return info.param.model.name + "_" + std::string(to_string(info.param.backend)) + "_" +
           std::string(to_string(info.param.recompute));
}

class WholeModel : public ::testing::TestWithParam<GradientCase> {
protected:
    [[nodiscard]] static TinyOptions options(DType dtype) {
        return {.model = model_json(GetParam().model.choices),
                .dtype = dtype,
                .backend = GetParam().backend,
                .recompute = GetParam().recompute,
                .loss_chunk = 3};
    }
};

TEST_P(WholeModel, GradientIsTheDerivativeOfTheLoss) {
    TinyModel model(options(DType::float64));
    model.loss_and_gradient();
    const auto weights = model.weights.as<double>();
    const std::vector<double> gradient(model.gradients.as<double>().begin(),
                                       model.gradients.as<double>().end());
    const double step = 1e-5;
    double difference = 0;
    double norm = 0;
    for (const cost::StateTensor& tensor : model.state.tensors) {
        // Every third element of each tensor, at most 25: all tensors are covered.
        const std::int64_t stride = std::max<std::int64_t>(tensor.spec.elements() / 25, 1) | 1;
        for (std::int64_t i = 0; i < tensor.spec.elements(); i += stride) {
            const auto at = tensor.offset + static_cast<std::uint64_t>(i);
            const double saved = weights[at];
            // forward_backward, not evaluate: dropout must be on.
            weights[at] = saved + step;
            const double above = model.transformer.forward_backward(model.batch(), 0.0).sum;
            weights[at] = saved - step;
            const double below = model.transformer.forward_backward(model.batch(), 0.0).sum;
            weights[at] = saved;
            const double expected = (above - below) / (2 * step);
            difference += (gradient[at] - expected) * (gradient[at] - expected);
            norm += expected * expected;
        }
    }
    // Central differences err by step^2 and by rounding over step: about 1e-9 relative here.
    EXPECT_LE(std::sqrt(difference / norm), 1e-6);
    EXPECT_GT(norm, 0);
}

TEST_P(WholeModel, SinglePrecisionAgreesWithDouble) {
    TinyModel single(options(DType::float32));
    TinyModel reference(options(DType::float64));
    const double single_loss = single.loss_and_gradient();
    const double reference_loss = reference.loss_and_gradient();
    EXPECT_NEAR(single_loss, reference_loss, 1e-5 * std::abs(reference_loss));
    double difference = 0;
    double norm = 0;
    for (std::size_t i = 0; i < reference.state.elements; ++i) {
        const double error = static_cast<double>(single.gradients.as<float>()[i]) -
                             reference.gradients.as<double>()[i];
        difference += error * error;
        norm += reference.gradients.as<double>()[i] * reference.gradients.as<double>()[i];
    }
    // fp32 has 6e-8 of relative rounding; a few dozen chained operations stay well within 1e-5.
    EXPECT_LE(std::sqrt(difference / norm), 1e-5);
}

TEST_P(WholeModel, IssuesExactlyThePlannedProducts) {
    TinyModel model(options(DType::float32));
    device::ProductRecorder recorder;
    model.context.recorder = &recorder;
    model.loss_and_gradient();
    std::map<std::pair<std::string, cost::Pass>, std::uint64_t> issued;
    std::map<std::pair<std::string, cost::Pass>, std::uint64_t> planned;
    for (const auto& entry : recorder.entries()) {
        issued[{std::string(entry.name), entry.pass}] += 2 * entry.multiply_adds;
    }
    for (const auto& product : cost::executed_products(model.config, model.execution)) {
        planned[{std::string(product.name), product.pass}] += product.flops();
    }
    EXPECT_EQ(issued, planned);
}

INSTANTIATE_TEST_SUITE_P(Choices, WholeModel, ::testing::ValuesIn(gradient_cases()), case_name);

std::vector<float> gradient_of(const TinyOptions& options) {
    TinyModel model(options);
    model.loss_and_gradient();
    const auto all = model.gradients.as<float>();
    return {all.begin(), all.end()};
}

TEST(Transformer, ThreadsDoNotChangeABit) {
    TinyOptions options{
        .model = model_json(R"("arch_preset": "llama", "intermediate_size": 24, "n_kv_head": 2)")};
    options.batch = 3;
    const std::vector<float> one = gradient_of(options);
    options.threads = 2;
    EXPECT_EQ(one, gradient_of(options));
    options.threads = 3;
    EXPECT_EQ(one, gradient_of(options));
}

TEST(Transformer, RecomputationDoesNotChangeABit) {
    for (const char* choices :
         {R"("arch_preset": "llama", "intermediate_size": 24, "dropout": 0.1)",
          R"("arch_preset": "gpt2")"}) {
        TinyOptions options{.model = model_json(choices)};
        const std::vector<float> saved = gradient_of(options);
        options.recompute = cost::Recompute::attention;
        EXPECT_EQ(saved, gradient_of(options));
        options.recompute = cost::Recompute::block;
        EXPECT_EQ(saved, gradient_of(options));
    }
}

TEST(Transformer, GradientsOfMicroBatchesAddUp) {
    const TinyOptions options{
        .model = model_json(R"("arch_preset": "llama", "intermediate_size": 24)"), .batch = 4};
    TinyModel model(options);
    model.loss_and_gradient();
    const std::vector<float> together(model.gradients.as<float>().begin(),
                                      model.gradients.as<float>().end());
    model.clear_gradients();
    const std::size_t half = model.tokens.size() / 2;
    for (const std::size_t start : {std::size_t{0}, half}) {
        model.transformer.forward_backward(
            {.tokens = std::span(model.tokens).subspan(start, half),
             .targets = std::span(model.targets).subspan(start, half)},
            1.0);
    }
    double difference = 0;
    double norm = 0;
    for (std::size_t i = 0; i < together.size(); ++i) {
        const double error =
            static_cast<double>(together[i]) - static_cast<double>(model.gradients.as<float>()[i]);
        difference += error * error;
        norm += static_cast<double>(together[i]) * static_cast<double>(together[i]);
    }
    EXPECT_LE(std::sqrt(difference / norm), 1e-6);
}

TEST(Transformer, EvaluationHasNoDropout) {
    TinyModel with(TinyOptions{.model = model_json(R"("arch_preset": "gpt2", "dropout": 0.5)")});
    TinyModel without(TinyOptions{.model = model_json(R"("arch_preset": "gpt2")")});
    EXPECT_EQ(with.transformer.evaluate(with.batch()).sum,
              without.transformer.evaluate(without.batch()).sum);
    EXPECT_NE(with.loss_and_gradient(), without.loss_and_gradient());
}

TEST(Transformer, CountsOnlyRealTargets) {
    TinyModel model(TinyOptions{.model = model_json(R"("arch_preset": "gpt2")")});
    const transformer::LossSum loss = model.transformer.evaluate(model.batch());
    EXPECT_EQ(loss.targets, static_cast<std::int64_t>(model.targets.size()) - 1);
}

TEST(Transformer, RefusesWhatItDoesNotRun) {
    const auto moe = model::parse_model(
        R"({"model_type": "mixtral", "hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2,
            "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 32, "num_local_experts": 4})");
    EXPECT_NE(model::untrainable_reason(moe.config, 8).find("mixture of experts"),
              std::string::npos);
}

class Generation : public ::testing::TestWithParam<ModelCase> {};

TEST_P(Generation, CachedLogitsGiveTheLossOfTheWholeSequence) {
    TinyOptions options{.model = model_json(GetParam().choices), .batch = 1};
    TinyModel model(options);
    transformer::Generator generator(model.config, model.state, model.weights, model.context, 5);
    double loss = 0;
    for (std::size_t i = 0; i < model.tokens.size(); ++i) {
        const auto logits = generator.feed({&model.tokens[i], 1});
        if (model.targets[i] < 0) continue;
        double total = 0;
        for (const float logit : logits) total += std::exp(static_cast<double>(logit));
        loss += std::log(total) -
                static_cast<double>(logits[static_cast<std::size_t>(model.targets[i])]);
    }
    EXPECT_NEAR(loss, model.transformer.evaluate(model.batch()).sum, 1e-4);
}

TEST_P(Generation, APromptFedAtOnceGivesTheSameLogits) {
    TinyOptions options{.model = model_json(GetParam().choices), .batch = 1};
    TinyModel model(options);
    transformer::Generator stepwise(model.config, model.state, model.weights, model.context, 5);
    transformer::Generator at_once(model.config, model.state, model.weights, model.context, 5);
    std::vector<float> last;
    for (const std::int32_t token : model.tokens) {
        const auto logits = stepwise.feed({&token, 1});
        last.assign(logits.begin(), logits.end());
    }
    const auto logits = at_once.feed(model.tokens);
    for (std::size_t i = 0; i < last.size(); ++i) EXPECT_NEAR(last[i], logits[i], 1e-4);
}

INSTANTIATE_TEST_SUITE_P(Models, Generation, ::testing::ValuesIn(model_cases()),
                         [](const auto& parameter) { return parameter.param.name; });

TEST(Sampling, TemperatureZeroTakesTheLikeliestToken) {
    const std::vector<float> logits = {0.1F, 3.0F, -1.0F};
    EXPECT_EQ(transformer::sample_token(logits, {.temperature = 0}, 0), 1);
}

TEST(Sampling, FrequenciesFollowTheProbabilities) {
    const std::vector<float> logits = {0.0F, std::log(3.0F), -100.0F};
    int ones = 0;
    for (std::uint64_t draw = 0; draw < 4000; ++draw) {
        ones +=
            transformer::sample_token(logits, {.temperature = 1.0, .top_k = 2, .seed = 3}, draw);
    }
    EXPECT_NEAR(ones / 4000.0, 0.75, 0.03);  // four standard deviations
}

TEST(Generator, RefusesMoreThanItsCacheHolds) {
    TinyModel model(TinyOptions{.model = model_json(R"("arch_preset": "gpt2")"), .batch = 1});
    transformer::Generator generator(model.config, model.state, model.weights, model.context, 3);
    EXPECT_THROW((void)generator.feed(model.tokens), ConfigError);
}

}  // namespace
}  // namespace isoflop
