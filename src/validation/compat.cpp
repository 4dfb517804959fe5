// The figures that the earlier system (dsc180_a06) printed for its own example files, at full
// precision.
#include <array>

#include "cases.hpp"
#include "isoflop/planner/compat_dsc180_a06.hpp"

namespace isoflop::validation {

namespace compat = planner::compat;

namespace {

void add(Cases& cases, const std::string& file, std::string_view what, double expected, double got,
         std::string_view unit) {
    cases.push_back({.group = "compat dsc180_a06",
                     .name = file + ": " + std::string(what),
                     .expected = expected,
                     .got = got,
                     .tolerance = 0,
                     .unit = std::string(unit),
                     .source = "dsc180_a06, output for " + file,
                     .note = {}});
}

model::ModelConfig llama_config(std::int64_t vocabulary) {
    model::ModelConfig config;
    config.num_hidden_layers = 32;
    config.hidden_size = 4096;
    config.num_attention_heads = 32;
    config.num_key_value_heads = 32;
    config.head_dim = 128;
    config.intermediate_size = 11008;
    config.vocab_size = vocabulary;
    config.max_position_embeddings = 2048;
    return config;
}

// --- Forward analysis --------------------------------------------------------------------------

struct ForwardRow {
    std::string_view file;
    model::ModelConfig config;
    bool use_flash_attention;
    double n_params, forward_flops, forward_per_token, training_per_token, training_1t_tokens;
    double total_gib, model_gib, gradient_gib, optimizer_gib, activation_gib;
    double attention_flops, ffn_flops, attention_ffn_ratio;
};

void add_forward(Cases& cases, const ForwardRow& row) {
    const compat::ModelAnalysis got = compat::analyze_model(row.config, row.use_flash_attention);
    const std::string file(row.file);
    add(cases, file, "parameters", row.n_params, got.n_params, "parameters");
    add(cases, file, "forward FLOPs", row.forward_flops, got.forward_flops, "FLOP");
    add(cases, file, "forward FLOPs per token", row.forward_per_token, got.forward_flops_per_token,
        "FLOP/token");
    add(cases, file, "training FLOPs per token", row.training_per_token,
        got.training_flops_per_token, "FLOP/token");
    add(cases, file, "training FLOPs of 1T tokens", row.training_1t_tokens,
        got.training_flops_1t_tokens, "FLOP");
    add(cases, file, "total memory", row.total_gib, got.memory.total_gib(), "GiB");
    add(cases, file, "model memory", row.model_gib, got.memory.model_gib, "GiB");
    add(cases, file, "gradient memory", row.gradient_gib, got.memory.gradient_gib, "GiB");
    add(cases, file, "optimizer memory", row.optimizer_gib, got.memory.optimizer_gib, "GiB");
    add(cases, file, "activation memory", row.activation_gib, got.memory.activation_gib, "GiB");
    add(cases, file, "attention FLOPs", row.attention_flops, got.attention_flops, "FLOP/token");
    add(cases, file, "FFN FLOPs", row.ffn_flops, got.ffn_flops, "FLOP/token");
    add(cases, file, "attention to FFN ratio", row.attention_ffn_ratio, got.attention_ffn_ratio,
        "ratio");
}

void add_forward_analyses(Cases& cases) {
    ForwardRow llama{.file = "llama_7b_config.json",
                     .config = llama_config(32000),
                     .use_flash_attention = false,
                     .n_params = 6738415616,
                     .forward_flops = 61.710098497536e12,
                     .forward_per_token = 30131884032.0,
                     .training_per_token = 90395652096.0,
                     .training_1t_tokens = 9.0395652096e+22,
                     .total_gib = 86.65141296386719,
                     .model_gib = 12.551277160644531,
                     .gradient_gib = 12.551277160644531,
                     .optimizer_gib = 50.205108642578125,
                     .activation_gib = 11.34375,
                     .attention_flops = 536870912,
                     .ffn_flops = 201326592,
                     .attention_ffn_ratio = 2.6666666666666665};
    add_forward(cases, llama);
    llama.file = "example_llama_flash.jsonc";
    llama.use_flash_attention = true;
    llama.total_gib = 78.65141296386719;
    llama.activation_gib = 3.34375;
    add_forward(cases, llama);

    const ForwardRow deepseek{.file = "deepseek_v3_config.json",
                              .config = deepseek_v3_config(),
                              .use_flash_attention = false,
                              .n_params = 671478019072,
                              .forward_flops = 59014.74043265024e12,
                              .forward_per_token = 360197390336.0,
                              .training_per_token = 1080592171008.0,
                              .training_1t_tokens = 4.74467184672768e+26,
                              .total_gib = 8381.226650238037,
                              .model_gib = 1250.7252750396729,
                              .gradient_gib = 1250.7252750396729,
                              .optimizer_gib = 5002.901100158691,
                              .activation_gib = 876.875,
                              .attention_flops = 411041792,
                              .ffn_flops = 528482304,
                              .attention_ffn_ratio = 0.7777777777777778};
    add_forward(cases, deepseek);
    const compat::ModelAnalysis got = compat::analyze_model(deepseek.config, false);
    add(cases, std::string(deepseek.file), "active parameters", 264241152,
        got.active_params.value_or(0), "parameters");
}

// --- Backward plan -----------------------------------------------------------------------------

struct BackwardRow {
    std::string_view file;
    double peak_flops;
    scaling_law::ChinchillaConstants law;
    double n_tokens, compute_flops, loss, epochs;
};

void add_backward(Cases& cases, const BackwardRow& row) {
    const compat::BackwardResult got =
        compat::backward(llama_config(50000), {.num_gpus = 8,
                                               .available_hours = 720,
                                               .peak_flops_per_gpu = row.peak_flops,
                                               .expected_mfu = 0.45,
                                               .dataset_size = 1e12,
                                               .max_epochs = 100,
                                               .sequence_length = 2048,
                                               .law = row.law});
    const std::string file(row.file);
    add(cases, file, "N", 6885871616, got.n_params, "parameters");
    add(cases, file, "D", row.n_tokens, got.n_tokens, "tokens");
    add(cases, file, "C", row.compute_flops, got.compute_flops, "FLOP");
    add(cases, file, "C actual", row.compute_flops, got.compute_used_flops, "FLOP");
    add(cases, file, "loss", row.loss, got.loss, "nats");
    add(cases, file, "epochs", row.epochs, got.epochs, "epochs");
    add(cases, file, "training FLOPs per token", 90395652096.0, got.training_flops_per_token,
        "FLOP/token");
    add(cases, file, "forward FLOPs per token", 30131884032.0, got.forward_flops_per_token,
        "FLOP/token");
}

void add_backward_plans(Cases& cases) {
    constexpr scaling_law::ChinchillaConstants kHoffmann{
        .E = 1.69, .A = 406.4, .B = 410.7, .alpha = 0.34, .beta = 0.28};
    constexpr scaling_law::ChinchillaConstants kBesiroglu{
        .E = 1.8172, .A = 482.01, .B = 2085.43, .alpha = 0.3478, .beta = 0.3658};
    // These three files differ in keys that the earlier system ignored.
    for (const std::string_view file :
         {"backward_scaling_auto.jsonc", "backward_scaling_flash.jsonc",
          "backward_scaling_hoffmann.jsonc"}) {
        add_backward(cases,
                     {.file = file,
                      .peak_flops = compat::gpu_peak_flops("H100", DType::bfloat16).value_or(0),
                      .law = kHoffmann,
                      .n_tokens = 51096970848.71616,
                      .compute_flops = 4.618944e+21,
                      .loss = 2.2859367078358885,
                      .epochs = 0.051096970848716165});
    }
    add_backward(cases, {.file = "backward_scaling_besiroglu.jsonc",
                         .peak_flops = 989000000000000.0,
                         .law = kBesiroglu,
                         .n_tokens = 102090715493.69754,
                         .compute_flops = 9.2285568e+21,
                         .loss = 2.1956968802751047,
                         .epochs = 0.10209071549369754});
}

// --- GPU peaks ---------------------------------------------------------------------------------

struct PeakRow {
    std::string_view gpu;
    double fp8, bf16, fp16, fp32;  ///< FLOP/s; 0: the earlier system had none
};

constexpr auto kPeakRows = std::to_array<PeakRow>({
    {"B200", 4500e12, 2250e12, 2250e12, 1125e12},
    {"H200", 1979e12, 989e12, 989e12, 495e12},
    {"H100", 989e12, 495e12, 495e12, 67e12},
    {"H100-SXM", 989e12, 495e12, 495e12, 67e12},
    {"H100-PCIe", 756e12, 378e12, 378e12, 51e12},
    {"A100", 0, 312e12, 312e12, 19.5e12},
    {"A100-80GB", 0, 312e12, 312e12, 19.5e12},
    {"A100-40GB", 0, 312e12, 312e12, 19.5e12},
    {"A6000", 0, 154e12, 154e12, 38.7e12},
    {"V100", 0, 0, 125e12, 15.7e12},
    {"V100-32GB", 0, 0, 125e12, 15.7e12},
    {"RTX4090", 0, 82.6e12, 82.6e12, 82.6e12},
    {"RTX-4090", 0, 82.6e12, 82.6e12, 82.6e12},
});

void add_peaks(Cases& cases) {
    for (const PeakRow& row : kPeakRows) {
        const std::array<std::pair<DType, double>, 4> peaks{{{DType::float8, row.fp8},
                                                             {DType::bfloat16, row.bf16},
                                                             {DType::float16, row.fp16},
                                                             {DType::float32, row.fp32}}};
        for (const auto& [dtype, expected] : peaks) {
            if (expected == 0) continue;
            add(cases, "GPU table", std::string(row.gpu) + " " + std::string(short_name(dtype)),
                expected, compat::gpu_peak_flops(row.gpu, dtype).value_or(0), "FLOP/s");
        }
    }
}

}  // namespace

void add_compat_cases(Cases& cases) {
    add_forward_analyses(cases);
    add_backward_plans(cases);
    add_peaks(cases);
}

}  // namespace isoflop::validation
