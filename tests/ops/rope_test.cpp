#include "isoflop/ops/rope.hpp"

#include <complex>

#include "isoflop/base/error.hpp"
#include "ops/support.hpp"

namespace isoflop::ops::testing {
namespace {

model::ModelConfig config_of(std::int64_t head_dim, double theta = 10000) {
    model::ModelConfig config;
    config.num_attention_heads = 4;
    config.num_key_value_heads = 2;
    config.head_dim = head_dim;
    config.hidden_size = 4 * head_dim;
    config.rope_theta = theta;
    return config;
}

/// The angle at position 1 is the frequency itself, if it is at most pi.
double frequency(const RopeTable& table, std::int64_t i) {
    const auto at = static_cast<std::size_t>(table.half_dim() + i);
    return std::atan2(table.sines()[at], table.cosines()[at]);
}

TEST(RopeTable, PlainFrequencies) {
    const RopeTable table(config_of(64), 3);
    EXPECT_EQ(table.half_dim(), 32);
    EXPECT_EQ(table.positions(), 3);
    for (std::int64_t i = 0; i < 32; ++i) {
        EXPECT_NEAR(frequency(table, i), std::pow(10000.0, -2.0 * static_cast<double>(i) / 64),
                    1e-15);
        const auto at = static_cast<std::size_t>(2 * 32 + i);
        EXPECT_NEAR(table.cosines()[at], std::cos(2 * frequency(table, i)), 1e-14);
        EXPECT_EQ(table.cosines_fp32()[at], static_cast<float>(table.cosines()[at]));
        EXPECT_EQ(table.sines_fp32()[at], static_cast<float>(table.sines()[at]));
    }
}

TEST(RopeTable, LinearScalingDividesEveryFrequency) {
    model::ModelConfig config = config_of(16);
    config.rope_scaling = model::RopeScaling{.type = "linear", .factor = 4};
    const RopeTable scaled(config, 2);
    const RopeTable plain(config_of(16), 2);
    for (std::int64_t i = 0; i < 8; ++i) {
        EXPECT_NEAR(frequency(scaled, i), frequency(plain, i) / 4, 1e-15);
    }
}

/// A transcription of transformers' _compute_llama3_parameters with its masks.
double transformers_llama3(const model::RopeScaling& scaling, double inv_freq) {
    const double old_context_len = static_cast<double>(scaling.original_max_position_embeddings);
    const double low_freq_wavelen = old_context_len / scaling.low_freq_factor;
    const double high_freq_wavelen = old_context_len / scaling.high_freq_factor;
    const double wavelen = 2 * M_PI / inv_freq;
    double result = wavelen > low_freq_wavelen ? inv_freq / scaling.factor : inv_freq;
    const double smooth_factor = (old_context_len / wavelen - scaling.low_freq_factor) /
                                 (scaling.high_freq_factor - scaling.low_freq_factor);
    const double smoothed = (1 - smooth_factor) * result / scaling.factor + smooth_factor * result;
    const bool is_medium = !(wavelen < high_freq_wavelen) && !(wavelen > low_freq_wavelen);
    if (is_medium) result = smoothed;
    return result;
}

TEST(RopeTable, Llama3ScalingIsThatOfTransformers) {
    model::ModelConfig config = config_of(128, 500000);
    config.rope_scaling = model::RopeScaling{.type = "llama3",
                                             .factor = 8,
                                             .low_freq_factor = 1,
                                             .high_freq_factor = 4,
                                             .original_max_position_embeddings = 8192};
    const RopeTable table(config, 2);
    int kept = 0;
    int stretched = 0;
    for (std::int64_t i = 0; i < 64; ++i) {
        const double plain = std::pow(500000.0, -2.0 * static_cast<double>(i) / 128);
        const double expected = transformers_llama3(*config.rope_scaling, plain);
        EXPECT_NEAR(frequency(table, i) / expected, 1, 1e-12) << i;
        kept += expected == plain ? 1 : 0;
        stretched += expected == plain / 8 ? 1 : 0;
    }
    // All three regimes occur: 29 kept, 6 between, 29 stretched (Llama 3.1's own values).
    EXPECT_EQ(kept, 29);
    EXPECT_EQ(stretched, 29);
}

TEST(RopeTable, RefusesWhatItCannotDo) {
    const auto refused = [](const model::ModelConfig& config,
                            std::initializer_list<std::string> words) {
        expect_refused<ConfigError>([&] { RopeTable(config, 2); }, words);
    };
    refused(config_of(7), {"head_dim", "7"});
    model::ModelConfig config = config_of(8);
    config.rope_scaling = model::RopeScaling{.type = "yarn", .factor = 4};
    refused(config, {"yarn", "llama3"});
    config.rope_scaling = model::RopeScaling{.type = "llama3", .factor = 0};
    refused(config, {"factor is 0"});
    config.rope_scaling =
        model::RopeScaling{.type = "llama3", .low_freq_factor = 4, .high_freq_factor = 4};
    refused(config, {"high_freq_factor is 4"});
    config = config_of(8);
    config.rotary_fraction = 0.45;
    refused(config, {"3 of 8"});
}

/// Rotates by complex multiplication: (x_i + j x_(i + d/2)) e^(j position frequency).
std::vector<double> reference(const RopeTable& table, const RopeShape& shape, std::int64_t width,
                              std::vector<double> packed) {
    const std::int64_t half = shape.head_dim / 2;
    const auto rows = std::ssize(packed) / width;
    for (std::int64_t row = 0; row < rows; ++row) {
        const auto position =
            static_cast<double>(shape.first_position + row % shape.sequence_length);
        for (std::int64_t head = 0; head < shape.heads; ++head) {
            for (std::int64_t i = 0; i < half; ++i) {
                double* const first = packed.data() + row * width + head * shape.head_dim + i;
                const std::complex<double> turned = std::complex<double>(first[0], first[half]) *
                                                    std::polar(1.0, position * frequency(table, i));
                first[0] = turned.real();
                first[half] = turned.imag();
            }
        }
    }
    return packed;
}

template <class T>
class RopeTest : public ::testing::Test {
protected:
    ThreadPool pool{2};
    Context context{pool};
};
TYPED_TEST_SUITE(RopeTest, ElementTypes);

TYPED_TEST(RopeTest, ForwardRotatesHeadsAndLeavesTheRest) {
    using T = TypeParam;
    for (const std::int64_t head_dim : {2, 14, 62, 66, 128}) {
        const RopeTable table(config_of(head_dim), 12);
        const RopeShape shape{
            .heads = 3, .head_dim = head_dim, .sequence_length = 5, .first_position = 7};
        const std::int64_t width = 4 * head_dim + 1;
        Tensor<T> packed({10, width}, random_values(10 * width, 1));
        const auto expected = reference(table, shape, width, packed.doubles());
        rope_forward(this->context, table, shape, packed.view());
        EXPECT_LE(relative_error(packed.doubles(), expected), kTolerance<T>) << head_dim;
    }
}

TYPED_TEST(RopeTest, BackwardIsTheTransposedRotation) {
    using T = TypeParam;
    const RopeTable table(config_of(14), 4);
    const RopeShape shape{.heads = 2, .head_dim = 14, .sequence_length = 4};
    Tensor<T> gradient({8, 30}, random_values(8 * 30, 2));
    const auto cotangent = gradient.doubles();
    const auto loss = [&](const std::vector<double>& point) {
        return dot(reference(table, shape, 30, point), cotangent);
    };
    const auto expected = numeric_gradient(random_values(8 * 30, 3), loss);
    rope_backward(this->context, table, shape, gradient.view());
    EXPECT_LE(relative_error(gradient.doubles(), expected), kGradientTolerance);
    rope_forward(this->context, table, shape, gradient.view());
    EXPECT_LE(relative_error(gradient.doubles(), cotangent), kTolerance<T>);
}

TEST(Rope, ThreadsChangeNoBit) {
    const RopeTable table(config_of(32), 50);
    expect_same_bits_on_any_threads([&](Context& context) {
        Tensor<float> packed({500, 200}, random_values(500 * 200, 4));
        rope_forward(context, table, {.heads = 6, .head_dim = 32, .sequence_length = 50},
                     packed.view());
        return packed.values();
    });
}

TEST(Rope, RefusesWrongArguments) {
    ThreadPool pool(1);
    Context context(pool);
    const RopeTable table(config_of(8), 4);
    Tensor<float> packed({4, 16});
    const auto run = [&](const RopeShape& shape) {
        rope_forward(context, table, shape, packed.view());
    };
    expect_refused<std::invalid_argument>(
        [&] { run({.heads = 3, .head_dim = 8, .sequence_length = 4}); },
        {"rope_forward", "16 columns", "24"});
    expect_refused<std::invalid_argument>(
        [&] { run({.heads = 4, .head_dim = 4, .sequence_length = 4}); },
        {"dimension 4", "dimension 8"});
    expect_refused<std::invalid_argument>(
        [&] { run({.heads = 2, .head_dim = 8, .sequence_length = 4, .first_position = 1}); },
        {"positions 1 to 4", "has 4"});
}

}  // namespace
}  // namespace isoflop::ops::testing
