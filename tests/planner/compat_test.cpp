// The earlier system's figures, typed from its output at full precision: `--compat dsc180_a06` must
// reproduce them to the last digit, hence EXPECT_EQ on doubles throughout.
#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <string_view>

#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/compat_dsc180_a06.hpp"

namespace isoflop::planner::compat {
namespace {

constexpr std::string_view kLlama7b = R"({
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
    "vocab_size": 32000, "max_position_embeddings": 2048, "tie_word_embeddings": false})";

constexpr std::string_view kDeepseekV3 = R"({
    "architectures": ["DeepseekV3ForCausalLM"], "model_type": "deepseek_v3", "attention_bias": false,
    "first_k_dense_replace": 3, "hidden_act": "silu", "hidden_size": 7168, "intermediate_size": 18432,
    "kv_lora_rank": 512, "max_position_embeddings": 163840, "moe_intermediate_size": 2048, "moe_layer_freq": 1,
    "n_routed_experts": 256, "n_shared_experts": 1, "num_attention_heads": 128, "num_experts_per_tok": 8,
    "num_hidden_layers": 61, "num_key_value_heads": 128, "q_lora_rank": 1536, "qk_nope_head_dim": 128,
    "qk_rope_head_dim": 64, "tie_word_embeddings": false, "v_head_dim": 128, "vocab_size": 129280})";

/// The architecture section of its backward examples.
constexpr std::string_view kBackwardArchitecture = R"({
    "hidden_size": 4096, "intermediate_size": 11008, "num_hidden_layers": 32, "num_attention_heads": 32,
    "vocab_size": 50000, "max_position_embeddings": 2048, "tie_word_embeddings": false})";

constexpr std::string_view kMixtral8x7b = R"({
    "model_type": "mixtral", "hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32,
    "num_attention_heads": 32, "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
    "vocab_size": 32000, "max_position_embeddings": 32768, "tie_word_embeddings": false})";

model::ModelConfig read(std::string_view text) {
    return model::parse_model(std::string(text)).config;
}

TEST(CompatAnalysis, Llama7bEqualsTheEarlierSystem) {
    const ModelAnalysis got = analyze_model(read(kLlama7b), false);
    EXPECT_EQ(got.n_params, 6738415616);
    EXPECT_EQ(got.active_params, std::nullopt);
    EXPECT_EQ(got.sequence_length, 2048);
    EXPECT_EQ(got.forward_flops / 1e12, 61.710098497536);
    EXPECT_EQ(got.forward_flops_per_token, 30131884032.0);
    EXPECT_EQ(got.training_flops_per_token, 90395652096.0);
    EXPECT_EQ(got.training_flops_1t_tokens, 9.0395652096e+22);
    EXPECT_EQ(got.memory.total_gib(), 86.65141296386719);
    EXPECT_EQ(got.memory.model_gib, 12.551277160644531);
    EXPECT_EQ(got.memory.gradient_gib, 12.551277160644531);
    EXPECT_EQ(got.memory.optimizer_gib, 50.205108642578125);
    EXPECT_EQ(got.memory.activation_gib, 11.34375);
    EXPECT_EQ(got.attention_flops, 536870912);
    EXPECT_EQ(got.ffn_flops, 201326592);
    EXPECT_EQ(got.attention_ffn_ratio, 2.6666666666666665);
}

TEST(CompatAnalysis, FlashAttentionDropsTheScoresAndNothingElse) {
    const ModelAnalysis got = analyze_model(read(kLlama7b), true);
    EXPECT_EQ(got.memory.activation_gib, 3.34375);
    EXPECT_EQ(got.memory.total_gib(), 78.65141296386719);
    EXPECT_EQ(got.training_flops_per_token, 90395652096.0);
}

TEST(CompatAnalysis, DeepseekV3EqualsTheEarlierSystem) {
    for (const bool flash : {false, true}) {  // no effect on its DeepSeek formulas
        const ModelAnalysis got = analyze_model(read(kDeepseekV3), flash);
        EXPECT_EQ(got.n_params, 671478019072);
        EXPECT_EQ(got.active_params, 264241152);
        EXPECT_EQ(got.sequence_length, 163840);
        EXPECT_EQ(got.forward_flops / 1e12, 59014.74043265024);
        EXPECT_EQ(got.forward_flops_per_token, 360197390336.0);
        EXPECT_EQ(got.training_flops_per_token, 1080592171008.0);
        EXPECT_EQ(got.training_flops_1t_tokens, 4.74467184672768e+26);
        EXPECT_EQ(got.memory.total_gib(), 8381.226650238037);
        EXPECT_EQ(got.memory.model_gib, 1250.7252750396729);
        EXPECT_EQ(got.memory.gradient_gib, 1250.7252750396729);
        EXPECT_EQ(got.memory.optimizer_gib, 5002.901100158691);
        EXPECT_EQ(got.memory.activation_gib, 876.875);
        EXPECT_EQ(got.attention_flops, 411041792);
        EXPECT_EQ(got.ffn_flops, 528482304);
        EXPECT_EQ(got.attention_ffn_ratio, 0.7777777777777778);
    }
}

TEST(CompatAnalysis, ExpertsWithoutLatentAttentionAreTakenForDenseLlama) {
    const ModelAnalysis got = analyze_model(read(kMixtral8x7b), false);
    EXPECT_EQ(got.n_params, 7241732096);  // Mistral-7B: one expert of eight, no router
    EXPECT_EQ(got.active_params, std::nullopt);
}

/// The keys that the three Hoffmann examples and the Besiroglu example share.
BackwardInput example_input() {
    return {.num_gpus = 8,
            .available_hours = 720,
            .peak_flops_per_gpu = 495e12,
            .expected_mfu = 0.45,
            .dataset_size = 1e12,
            .max_epochs = 100,
            .sequence_length = 2048,
            .law = {.E = 1.69, .A = 406.4, .B = 410.7, .alpha = 0.34, .beta = 0.28}};
}

TEST(CompatBackward, HoffmannExampleEqualsTheEarlierSystem) {
    BackwardInput input = example_input();
    input.peak_flops_per_gpu = gpu_peak_flops("H100", DType::bfloat16).value();
    const BackwardResult got = backward(read(kBackwardArchitecture), input);
    EXPECT_EQ(got.n_params, 6885871616);
    EXPECT_EQ(got.n_tokens, 51096970848.71616);
    EXPECT_EQ(got.compute_flops, 4.618944e+21);
    EXPECT_EQ(got.compute_used_flops, 4.618944e+21);
    EXPECT_EQ(got.loss, 2.2859367078358885);
    EXPECT_EQ(got.epochs, 0.051096970848716165);
    EXPECT_FALSE(got.constrained);
    EXPECT_EQ(got.training_flops_per_token, 90395652096.0);
    EXPECT_EQ(got.forward_flops_per_token, 30131884032.0);
}

TEST(CompatBackward, BesirogluExampleEqualsTheEarlierSystem) {
    BackwardInput input = example_input();
    input.peak_flops_per_gpu = 989000000000000.0;
    input.law = {.E = 1.8172, .A = 482.01, .B = 2085.43, .alpha = 0.3478, .beta = 0.3658};
    const BackwardResult got = backward(read(kBackwardArchitecture), input);
    EXPECT_EQ(got.n_params, 6885871616);
    EXPECT_EQ(got.n_tokens, 102090715493.69754);
    EXPECT_EQ(got.compute_flops, 9.2285568e+21);
    EXPECT_EQ(got.compute_used_flops, 9.2285568e+21);
    EXPECT_EQ(got.loss, 2.1956968802751047);
    EXPECT_EQ(got.epochs, 0.10209071549369754);
    EXPECT_FALSE(got.constrained);
    EXPECT_EQ(got.training_flops_per_token, 90395652096.0);
    EXPECT_EQ(got.forward_flops_per_token, 30131884032.0);
}

TEST(CompatBackward, TokensStopAtTheLastEpoch) {
    BackwardInput input = example_input();
    input.dataset_size = 1e9;
    input.max_epochs = 4;
    const BackwardResult got = backward(read(kBackwardArchitecture), input);
    EXPECT_TRUE(got.constrained);
    EXPECT_EQ(got.n_tokens, 4e9);
    EXPECT_EQ(got.epochs, 4);
    EXPECT_EQ(got.compute_flops, 4.618944e+21);
    EXPECT_EQ(got.compute_used_flops, 4e9 * 90395652096.0);
}

TEST(CompatBackward, UsesTheSequenceLengthOfTheDataset) {
    BackwardInput input = example_input();
    input.sequence_length = 1024;
    const BackwardResult got = backward(read(kBackwardArchitecture), input);
    // L (8 H^2 + 2 a S H + 6 H F) + H with S = 1024
    EXPECT_EQ(got.forward_flops_per_token, 30131884032.0 - 32.0 * 2 * 32 * 1024 * 4096);
}

TEST(CompatBackward, AlwaysUsesTheLlamaFormulas) {
    const BackwardResult got = backward(read(kDeepseekV3), example_input());
    const double attention = 4.0 * 7168 * 7168;
    const double feed_forward = 3.0 * 7168 * 18432;
    EXPECT_EQ(got.n_params,
              2.0 * 129280 * 7168 + 61 * (attention + feed_forward + 2 * 7168) + 7168);
}

// --- GPU peaks ---------------------------------------------------------------------------------

/// One figure of the earlier table. `note` says why it differs from the exact table; empty when it
/// does not.
struct Peak {
    std::string_view gpu;
    DType dtype;
    double flops;
    std::string_view exact_row;
    std::string_view note;
};

constexpr std::string_view kTf32 = "the TF32 tensor rate, not that of fp32 vectors";
constexpr std::string_view kRounded = "989.4 rounded";
constexpr std::string_view kHalvedTwice = "dense rate halved again as if it were sparse";
constexpr std::string_view kShader = "shader rate; the tensor cores do twice that";
constexpr std::string_view kCutOff = "154.8 without its last digit";

constexpr auto kPeaks = std::to_array<Peak>({
    {"b200", DType::float8, 4500000000000000.0, "B200-SXM", ""},
    {"b200", DType::bfloat16, 2250000000000000.0, "B200-SXM", ""},
    {"b200", DType::float16, 2250000000000000.0, "B200-SXM", ""},
    {"b200", DType::float32, 1125000000000000.0, "B200-SXM", kTf32},
    {"h200", DType::float8, 1979000000000000.0, "H200-SXM", ""},
    {"h200", DType::bfloat16, 989000000000000.0, "H200-SXM", kRounded},
    {"h200", DType::float16, 989000000000000.0, "H200-SXM", kRounded},
    {"h200", DType::float32, 495000000000000.0, "H200-SXM", kTf32},
    {"h100", DType::float8, 989000000000000.0, "H100-SXM", kHalvedTwice},
    {"h100", DType::bfloat16, 495000000000000.0, "H100-SXM", kHalvedTwice},
    {"h100", DType::float16, 495000000000000.0, "H100-SXM", kHalvedTwice},
    {"h100", DType::float32, 67000000000000.0, "H100-SXM", ""},
    {"h100-sxm", DType::float8, 989000000000000.0, "H100-SXM", kHalvedTwice},
    {"h100-sxm", DType::bfloat16, 495000000000000.0, "H100-SXM", kHalvedTwice},
    {"h100-sxm", DType::float16, 495000000000000.0, "H100-SXM", kHalvedTwice},
    {"h100-sxm", DType::float32, 67000000000000.0, "H100-SXM", ""},
    {"h100-pcie", DType::float8, 756000000000000.0, "H100-PCIe", kHalvedTwice},
    {"h100-pcie", DType::bfloat16, 378000000000000.0, "H100-PCIe", kHalvedTwice},
    {"h100-pcie", DType::float16, 378000000000000.0, "H100-PCIe", kHalvedTwice},
    {"h100-pcie", DType::float32, 51000000000000.0, "H100-PCIe", ""},
    {"a100", DType::bfloat16, 312000000000000.0, "A100-SXM-80", ""},
    {"a100", DType::float16, 312000000000000.0, "A100-SXM-80", ""},
    {"a100", DType::float32, 19500000000000.0, "A100-SXM-80", ""},
    {"a100-80gb", DType::bfloat16, 312000000000000.0, "A100-SXM-80", ""},
    {"a100-80gb", DType::float16, 312000000000000.0, "A100-SXM-80", ""},
    {"a100-80gb", DType::float32, 19500000000000.0, "A100-SXM-80", ""},
    {"a100-40gb", DType::bfloat16, 312000000000000.0, "A100-SXM-40", ""},
    {"a100-40gb", DType::float16, 312000000000000.0, "A100-SXM-40", ""},
    {"a100-40gb", DType::float32, 19500000000000.0, "A100-SXM-40", ""},
    {"a6000", DType::bfloat16, 154000000000000.0, "RTX-A6000", kCutOff},
    {"a6000", DType::float16, 154000000000000.0, "RTX-A6000", kCutOff},
    {"a6000", DType::float32, 38700000000000.0, "RTX-A6000", ""},
    {"v100", DType::float16, 125000000000000.0, "V100-SXM2-32", ""},
    {"v100", DType::float32, 15700000000000.0, "V100-SXM2-32", ""},
    {"v100-32gb", DType::float16, 125000000000000.0, "V100-SXM2-32", ""},
    {"v100-32gb", DType::float32, 15700000000000.0, "V100-SXM2-32", ""},
    {"rtx4090", DType::bfloat16, 82600000000000.0, "RTX-4090", kShader},
    {"rtx4090", DType::float16, 82600000000000.0, "RTX-4090", kShader},
    {"rtx4090", DType::float32, 82600000000000.0, "RTX-4090", ""},
    {"rtx-4090", DType::bfloat16, 82600000000000.0, "RTX-4090", kShader},
    {"rtx-4090", DType::float16, 82600000000000.0, "RTX-4090", kShader},
    {"rtx-4090", DType::float32, 82600000000000.0, "RTX-4090", ""},
});

TEST(CompatGpuTable, EqualsTheEarlierTable) {
    for (const Peak& peak : kPeaks) {
        EXPECT_EQ(gpu_peak_flops(peak.gpu, peak.dtype), peak.flops)
            << peak.gpu << " " << short_name(peak.dtype);
    }
}

TEST(CompatGpuTable, HasNothingElse) {
    for (const Peak& row : kPeaks) {
        for (const DType dtype : {DType::float32, DType::tf32, DType::bfloat16, DType::float16,
                                  DType::float8, DType::float4, DType::int8}) {
            bool listed = false;
            for (const Peak& peak : kPeaks) listed |= peak.gpu == row.gpu && peak.dtype == dtype;
            EXPECT_EQ(gpu_peak_flops(row.gpu, dtype).has_value(), listed)
                << row.gpu << " " << short_name(dtype);
        }
    }
    EXPECT_EQ(gpu_peak_flops("MI300X", DType::bfloat16), std::nullopt);
    EXPECT_EQ(gpu_peak_flops("", DType::bfloat16), std::nullopt);
}

TEST(CompatGpuTable, LookupIgnoresCase) {
    EXPECT_EQ(gpu_peak_flops("H100-PCIe", DType::bfloat16), 378e12);
    EXPECT_EQ(gpu_peak_flops("RTX4090", DType::float32), 82.6e12);
}

TEST(CompatGpuTable, DiffersFromTheExactTableWhereNotedAndOnlyThere) {
    const hardware::GpuTable& table = hardware::GpuTable::builtin();
    for (const Peak& peak : kPeaks) {
        const double exact = hardware::peak_flops(table.at(peak.exact_row), peak.dtype);
        EXPECT_EQ(peak.flops != exact, !peak.note.empty())
            << peak.gpu << " " << short_name(peak.dtype) << ": " << peak.flops << " against "
            << exact << "; " << peak.note;
    }
}

}  // namespace
}  // namespace isoflop::planner::compat
