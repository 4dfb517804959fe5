// Formulas and GPU figures of the earlier Python system, in this file only. Their errors are kept
// on purpose, so that a user who published a figure of that system can reproduce it and see the
// difference. A comment marks each deviation from the exact count; the exact counts are in
// cost/flop_count.cpp, model/parameter_layout.cpp and configs/gpus.jsonc.
//
// Symbols: L layers, H hidden, F feed-forward width, V vocabulary, a query heads, g key/value
// heads, S sequence length, N parameters; latent attention: rq, rkv ranks, dn, dr, dv head widths;
// experts: E routed, k active, sh shared, Fm width.
//
// All counts are integers; in doubles they are exact up to 2^53 and, being multiples of high powers
// of two, beyond it.
#include "isoflop/planner/compat_dsc180_a06.hpp"

#include <array>
#include <cmath>

#include "isoflop/base/text.hpp"

namespace isoflop::planner::compat {
namespace {

constexpr double kTokensPerTrillion = 1e12;

struct Sizes {
    double L = 0, H = 0, F = 0, V = 0, a = 0, g = 0;
};

Sizes sizes_of(const model::ModelConfig& config) {
    return {.L = static_cast<double>(config.num_hidden_layers),
            .H = static_cast<double>(config.hidden_size),
            .F = static_cast<double>(config.intermediate_size),
            .V = static_cast<double>(config.vocab_size),
            .a = static_cast<double>(config.num_attention_heads),
            .g = static_cast<double>(config.num_key_value_heads)};
}

double embedding_parameters(const model::ModelConfig& config) {
    const Sizes size = sizes_of(config);
    return config.tie_word_embeddings ? size.V * size.H : 2 * size.V * size.H;
}

// --- LLaMA formulas ----------------------------------------------------------------------------

/// Exact for plain LLaMA. Wrong elsewhere: takes head_dim = H / a instead of the head_dim of the
/// configuration, and knows no biases, QK norms, position embeddings, two-matrix feed-forwards or
/// experts.
double llama_parameters(const model::ModelConfig& config) {
    const Sizes size = sizes_of(config);
    const double attention = 2 * size.H * size.H + 2 * size.H * (size.H * size.g / size.a);
    const double feed_forward = 3 * size.H * size.F;
    const double norms = 2 * size.H;
    return embedding_parameters(config) + size.L * (attention + feed_forward + norms) + size.H;
}

double llama_forward_flops(const model::ModelConfig& config, double S) {
    const Sizes size = sizes_of(config);
    // Right only for g = a: grouped keys and values are charged as if every query head had its own.
    const double projections = 8 * S * size.H * size.H;
    // Each head attends with H / a values, not H: should be 4 S^2 H (all pairs), so this is a / 2
    // times too much. At LLaMA-7B's 32 heads and S = 2048 it doubles the model's total; it also
    // makes few heads look cheap.
    const double attention_core = 2 * size.a * S * S * size.H;
    const double feed_forward = 6 * S * size.H * size.F;
    // The LM head's 2 S H V is missing (7B: -0.26 GFLOP per token). S H stands for the embedding, a
    // lookup without FLOPs.
    const double embedding = S * size.H;
    return size.L * (projections + attention_core + feed_forward) + embedding;
}

/// 12 bytes per parameter: 16-bit weights and gradients, fp32 moments. Mixed-precision AdamW also
/// holds an fp32 master copy of the weights: 16 bytes, or 18 with fp32 gradients, are right.
Memory state_memory(double n_params) {
    return {.model_gib = 2 * n_params / kGiB,
            .gradient_gib = 2 * n_params / kGiB,
            .optimizer_gib = 8 * n_params / kGiB,
            .activation_gib = 0};
}

/// 16-bit activations of one sequence. Norms, residual stream, the product of the gated
/// feed-forward (F is there once instead of three times) and logits are left out: 3.3 GiB instead
/// of 8.0 GiB for LLaMA-7B at S = 2048.
double activation_bytes(const Sizes& size, double S) {
    return 2 * (4 * size.H + size.F) * S * size.L;
}

ModelAnalysis analyze_llama(const model::ModelConfig& config, bool use_flash_attention) {
    const Sizes size = sizes_of(config);
    const auto S = static_cast<double>(config.max_position_embeddings);
    ModelAnalysis analysis;
    analysis.n_params = llama_parameters(config);
    analysis.sequence_length = S;
    analysis.forward_flops = llama_forward_flops(config, S);
    analysis.forward_flops_per_token = analysis.forward_flops / S;
    analysis.training_flops_per_token = 3 * analysis.forward_flops_per_token;
    analysis.training_flops_1t_tokens = analysis.training_flops_per_token * kTokensPerTrillion;
    analysis.memory = state_memory(analysis.n_params);
    // One copy of the scores; eager attention saves the probabilities as well, in fp32 or with a
    // dropout mask.
    const double score_bytes = use_flash_attention ? 0 : 2 * size.a * S * S * size.L;
    analysis.memory.activation_gib = (activation_bytes(size, S) + score_bytes) / kGiB;
    // A breakdown that does not add up to the total above: attention omits its projections (8 H^2)
    // and keeps the a / 2, the feed-forward is 12 H^2 for every F, where 6 H F is correct.
    analysis.attention_flops = 2 * size.a * S * size.H;
    analysis.ffn_flops = 12 * size.H * size.H;
    analysis.attention_ffn_ratio = analysis.attention_flops / analysis.ffn_flops;
    return analysis;
}

// --- DeepSeek formulas -------------------------------------------------------------------------

struct ExpertSizes {
    double dense_layers = 0, moe_layers = 0, E = 0, Fm = 0;
    double active = 0;  ///< k + sh
    double shared = 0;
};

ExpertSizes expert_sizes_of(const model::ModelConfig& config) {
    const auto L = static_cast<double>(config.num_hidden_layers);
    if (!config.moe) return {.dense_layers = L};
    const model::MixtureOfExperts& moe = *config.moe;
    const auto dense_layers = static_cast<double>(moe.first_dense_layers);
    return {.dense_layers = dense_layers,
            .moe_layers = L - dense_layers,
            .E = static_cast<double>(moe.num_experts),
            .Fm = static_cast<double>(moe.intermediate_size),
            .active = static_cast<double>(moe.num_experts_per_token + moe.num_shared_experts),
            .shared = static_cast<double>(moe.num_shared_experts)};
}

/// 671,478,019,072 for DeepSeek-V3, whose checkpoint has 671,026,419,200.
double deepseek_parameters(const model::ModelConfig& config) {
    const Sizes size = sizes_of(config);
    const ExpertSizes experts = expert_sizes_of(config);
    const model::LatentAttention& mla = *config.mla;
    const auto rkv = static_cast<double>(mla.kv_lora_rank);
    const auto dn = static_cast<double>(mla.qk_nope_head_dim);
    const auto dr = static_cast<double>(mla.qk_rope_head_dim);
    const auto dv = static_cast<double>(mla.v_head_dim);
    const double query_width = size.a * (dn + dr);
    // The down-projection H rkv is shared by keys and values but paid for by both; the rotary part
    // of the key is one head for all (H dr), but is counted per head and from the latent. The norms
    // of both latents are left out.
    const double keys = size.H * rkv + rkv * query_width;
    const double values = size.H * rkv + rkv * size.a * dv;
    double queries = size.H * query_width;
    if (mla.q_lora_rank) {
        const auto rq = static_cast<double>(*mla.q_lora_rank);
        queries = size.H * rq + rq * query_width;
    }
    const double attention = keys + values + queries + size.a * dv * size.H;
    const double feed_forward = 3 * size.H * size.F;
    // The router's score-correction bias (E values) is left out.
    const double mixture =
        3 * size.H * experts.Fm * (experts.E + experts.shared) + size.H * experts.E;
    const double norms = 2 * size.H;
    return embedding_parameters(config) + size.L * (attention + norms) +
           experts.dense_layers * feed_forward + experts.moe_layers * mixture + size.H;
}

double deepseek_forward_flops_per_token(const model::ModelConfig& config, double S) {
    const Sizes size = sizes_of(config);
    const ExpertSizes experts = expert_sizes_of(config);
    // Ordinary attention of width H: the latent projections are not counted, and of the core, whose
    // width is a (dn + dr + dv), only 4 S H.
    const double attention = 8 * size.H * size.H + 4 * S * size.H;
    const double feed_forward = 6 * size.H * size.F;
    const double mixture = 6 * size.H * experts.Fm * experts.active + 2 * size.H * experts.E;
    // The LM head's 2 H V is missing.
    return size.L * attention + experts.dense_layers * feed_forward + experts.moe_layers * mixture;
}

ModelAnalysis analyze_deepseek(const model::ModelConfig& config) {
    const Sizes size = sizes_of(config);
    const ExpertSizes experts = expert_sizes_of(config);
    const auto S = static_cast<double>(config.max_position_embeddings);
    ModelAnalysis analysis;
    analysis.n_params = deepseek_parameters(config);
    // Two of the three matrices of the active experts of a single layer: 0.26B for DeepSeek-V3,
    // where 37.55B is right.
    if (config.moe) analysis.active_params = experts.active * 2 * size.H * experts.Fm;
    analysis.sequence_length = S;
    analysis.forward_flops_per_token = deepseek_forward_flops_per_token(config, S);
    analysis.forward_flops = analysis.forward_flops_per_token * S;
    analysis.training_flops_per_token = 3 * analysis.forward_flops_per_token;
    // Its function was defined twice and the later, wrong one won: the FLOPs of a whole sequence
    // (of 2048, for every model) times the number of tokens, which is 2048 times too much.
    constexpr double kTrainingLength = 2048;
    analysis.training_flops_1t_tokens = 3 *
                                        deepseek_forward_flops_per_token(config, kTrainingLength) *
                                        kTrainingLength * kTokensPerTrillion;
    analysis.memory = state_memory(analysis.n_params);
    // Dense activations even in the mixture layers, and never the scores of eager attention.
    analysis.memory.activation_gib = activation_bytes(size, S) / kGiB;
    // 4 H Fm per expert counts two matrices of three; the attention core is left out.
    analysis.attention_flops = 8 * size.H * size.H;
    analysis.ffn_flops = 4 * size.H * experts.Fm * experts.active;
    analysis.attention_ffn_ratio = analysis.attention_flops / analysis.ffn_flops;
    return analysis;
}

// --- GPU figures -------------------------------------------------------------------------------

/// TFLOP/s; 0 where the earlier table had no entry. It knew neither tf32 nor int8 for any GPU.
struct GpuRow {
    std::string_view name;
    double fp8, bf16, fp16, fp32;
};

constexpr auto kGpuTable = std::to_array<GpuRow>({
    // fp32 is the TF32 rate; the vector rate is 80.
    {"b200", 4500, 2250, 2250, 1125},
    // fp32 is the TF32 rate; the vector rate is 67. 16 bit is 989.4 rounded.
    {"h200", 1979, 989, 989, 495},
    // fp8 and 16 bit were halved twice: 1979 and 989.4 are the dense rates, not the sparse ones.
    {"h100", 989, 495, 495, 67},
    {"h100-sxm", 989, 495, 495, 67},
    // Halved twice as well: 1513 and 756.
    {"h100-pcie", 756, 378, 378, 51},
    {"a100", 0, 312, 312, 19.5},
    {"a100-80gb", 0, 312, 312, 19.5},
    {"a100-40gb", 0, 312, 312, 19.5},
    // 154.8 with its last digit cut off.
    {"a6000", 0, 154, 154, 38.7},
    {"v100", 0, 0, 125, 15.7},
    {"v100-32gb", 0, 0, 125, 15.7},
    // The shader rate for every type; the tensor cores do 165.2 in 16 bit and 330.3 in fp8, which
    // is missing.
    {"rtx4090", 0, 82.6, 82.6, 82.6},
    {"rtx-4090", 0, 82.6, 82.6, 82.6},
});

double tera_flops(const GpuRow& row, DType dtype) {
    switch (dtype) {
        case DType::float8: return row.fp8;
        case DType::bfloat16: return row.bf16;
        case DType::float16: return row.fp16;
        case DType::float32: return row.fp32;
        case DType::tf32:
        case DType::float4:
        case DType::int8:
        case DType::float64: return 0;
    }
    return 0;
}

}  // namespace

double Memory::total_gib() const {
    return model_gib + gradient_gib + optimizer_gib + activation_gib;
}

ModelAnalysis analyze_model(const model::ModelConfig& config, bool use_flash_attention) {
    return config.mla ? analyze_deepseek(config) : analyze_llama(config, use_flash_attention);
}

std::optional<double> gpu_peak_flops(std::string_view gpu_type, DType dtype) {
    const std::string name = to_lower(gpu_type);
    for (const GpuRow& row : kGpuTable) {
        if (row.name != name) continue;
        const double peak = tera_flops(row, dtype);
        if (peak > 0) return peak * 1e12;
        return std::nullopt;
    }
    return std::nullopt;
}

// Titled "optimal (N, D)" there, but nothing is optimised: N is the given architecture and D what
// the budget then pays for. Batch size, memory and the form of attention are ignored.
BackwardResult backward(const model::ModelConfig& config, const BackwardInput& input) {
    constexpr double kSecondsPerHour = 3600;
    BackwardResult result;
    // LLaMA formulas even for mixtures, latent attention and GPT-2.
    result.n_params = llama_parameters(config);
    result.forward_flops_per_token =
        llama_forward_flops(config, input.sequence_length) / input.sequence_length;
    result.training_flops_per_token = 3 * result.forward_flops_per_token;
    result.compute_flops = input.num_gpus * input.peak_flops_per_gpu * input.expected_mfu *
                           input.available_hours * kSecondsPerHour;
    result.n_tokens = result.compute_flops / result.training_flops_per_token;
    result.compute_used_flops = result.compute_flops;
    // Repeated tokens count as new ones, up to 100 epochs in its examples, where their worth is
    // that of 16 (Muennighoff 2023); and a budget that exceeds the data is left unspent rather than
    // given to a larger model.
    const double available_tokens = input.dataset_size * input.max_epochs;
    if (result.n_tokens > available_tokens) {
        result.constrained = true;
        result.n_tokens = available_tokens;
        result.compute_used_flops = result.n_tokens * result.training_flops_per_token;
    }
    result.epochs = result.n_tokens / input.dataset_size;
    const scaling_law::ChinchillaConstants& law = input.law;
    result.loss = law.E + law.A / std::pow(result.n_params, law.alpha) +
                  law.B / std::pow(result.n_tokens, law.beta);
    return result;
}

}  // namespace isoflop::planner::compat
