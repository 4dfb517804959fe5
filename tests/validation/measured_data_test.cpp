// Every row of the published measurements, where their files are at hand: they are not part of the
// project, which carries single rows as facts (src/validation/*.cpp). ISOFLOP_SHARED_DATA
// names the folder.
#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "source_dir.hpp"

namespace isoflop::validation {
namespace {

using Row = std::map<std::string, std::string>;

/// Fields of one line; quoted fields may hold commas.
std::vector<std::string> split_csv(const std::string& line) {
    std::vector<std::string> fields(1);
    bool quoted = false;
    for (const char character : line) {
        if (character == '"') {
            quoted = !quoted;
        } else if (character == ',' && !quoted) {
            fields.emplace_back();
        } else if (character != '\r') {
            fields.back() += character;
        }
    }
    return fields;
}

std::optional<std::filesystem::path> find_data(const std::string& name) {
    const char* variable = std::getenv("ISOFLOP_SHARED_DATA");
    const std::filesystem::path root =
        variable != nullptr ? std::filesystem::path(variable)
                            : std::filesystem::path(ISOFLOP_SOURCE_DIR) / ".." / "shared";
    for (const std::filesystem::path& path : {root / name, root / "data" / name}) {
        if (std::filesystem::exists(path)) return path;
    }
    return std::nullopt;
}

std::vector<Row> read_csv(const std::filesystem::path& path) {
    std::ifstream file(path);
    std::string line;
    std::getline(file, line);
    const std::vector<std::string> header = split_csv(line);
    std::vector<Row> rows;
    while (std::getline(file, line)) {
        if (line.empty()) continue;
        const std::vector<std::string> fields = split_csv(line);
        Row row;
        for (std::size_t i = 0; i < header.size() && i < fields.size(); ++i)
            row[header[i]] = fields[i];
        rows.push_back(std::move(row));
    }
    return rows;
}

double number(const Row& row, const std::string& key) {
    return std::stod(row.at(key));
}

std::int64_t integer(const Row& row, const std::string& key) {
    return std::stoll(row.at(key));
}

// --- MosaicML llm-foundry ----------------------------------------------------------------------

model::ModelConfig mosaic_config(const Row& row) {
    const std::string text = R"({"model_type": "mpt", "expansion_ratio": 4, "vocab_size": 50368,
        "attn_config": {"alibi": false}, "no_bias": false, "tie_word_embeddings": true,
        "n_layers": )" + row.at("layers") +
                             R"(, "d_model": )" + row.at("d_model") + R"(, "n_heads": )" +
                             row.at("heads") + R"(, "max_seq_len": )" + row.at("seq_len") + "}";
    return model::parse_model(text).config;
}

TEST(MeasuredData, EveryMosaicRowHasItsParametersAndUtilisation) {
    const auto path = find_data("mosaic_mfu.csv");
    if (!path) GTEST_SKIP() << "measured data not present";
    const std::map<std::string, std::string> table_rows{
        {"h100_80gb", "H100-SXM"}, {"a100_80gb", "A100-SXM-80"}, {"a100_40gb", "A100-SXM-40"}};
    const std::vector<Row> rows = read_csv(*path);
    EXPECT_GE(rows.size(), 100U);
    double largest = 0;
    for (const Row& row : rows) {
        const model::ModelConfig config = mosaic_config(row);
        const model::ParameterTotals totals = model::parameter_layout(config).totals();
        EXPECT_EQ(totals.total, integer(row, "num_params"));
        cost::Execution execution;
        execution.sequence_length = integer(row, "seq_len");
        const double flops_per_token =
            cost::training_flops_per_token(config, totals, execution, cost::Convention::palm);
        const bool fp8 = row.at("precision").find("fp8") != std::string::npos;
        const double peak =
            hardware::peak_flops(hardware::GpuTable::builtin().at(table_rows.at(row.at("gpu"))),
                                 fp8 ? DType::float8 : DType::bfloat16);
        const double utilisation =
            100 * number(row, "tokens_per_s") * flops_per_token / (number(row, "gpus") * peak);
        EXPECT_NEAR(utilisation, number(row, "mfu_pct"), 0.3)
            << row.at("section") << ", " << row.at("model") << " at " << row.at("seq_len");
        largest = std::fmax(largest, std::abs(utilisation - number(row, "mfu_pct")));
    }
    RecordProperty("rows", static_cast<int>(rows.size()));
    RecordProperty("largest_error_in_points", std::to_string(largest));
}

// --- NVIDIA Megatron Bridge --------------------------------------------------------------------

const std::map<std::string, std::string>& bridge_configs() {
    static const std::map<std::string, std::string> configs{
        {"LLAMA3_8B", R"({"model_type": "llama", "num_hidden_layers": 32, "hidden_size": 4096,
            "intermediate_size": 14336, "num_attention_heads": 32, "num_key_value_heads": 8,
            "vocab_size": 128256})"},
        {"LLAMA3_70B", R"({"model_type": "llama", "num_hidden_layers": 80, "hidden_size": 8192,
            "intermediate_size": 28672, "num_attention_heads": 64, "num_key_value_heads": 8,
            "vocab_size": 128256})"},
        {"LLAMA3.1_405B", R"({"model_type": "llama", "num_hidden_layers": 126, "hidden_size": 16384,
            "intermediate_size": 53248, "num_attention_heads": 128, "num_key_value_heads": 8,
            "vocab_size": 128256})"},
        {"Qwen3_30B_a3B",
         R"({"model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048,
            "intermediate_size": 6144, "num_attention_heads": 32, "num_key_value_heads": 4,
            "head_dim": 128, "num_experts": 128, "num_experts_per_tok": 8,
            "moe_intermediate_size": 768, "vocab_size": 151936})"},
        {"Qwen3_235B_a22B", R"({"model_type": "qwen3_moe", "num_hidden_layers": 94,
            "hidden_size": 4096, "intermediate_size": 12288, "num_attention_heads": 64,
            "num_key_value_heads": 4, "head_dim": 128, "num_experts": 128,
            "num_experts_per_tok": 8, "moe_intermediate_size": 1536, "vocab_size": 151936})"},
        {"DeepSeekV3",
         R"({"model_type": "deepseek_v3", "num_hidden_layers": 61, "hidden_size": 7168,
            "intermediate_size": 18432, "num_attention_heads": 128, "num_key_value_heads": 128,
            "n_routed_experts": 256, "n_shared_experts": 1, "num_experts_per_tok": 8,
            "moe_intermediate_size": 2048, "first_k_dense_replace": 3, "q_lora_rank": 1536,
            "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64,
            "v_head_dim": 128, "vocab_size": 129280})"},
    };
    return configs;
}

double megatron_flops(const model::ModelConfig& config, std::int64_t sequence_length) {
    cost::Execution execution;
    execution.sequence_length = sequence_length;
    return cost::training_flops_per_token(config, model::parameter_layout(config).totals(),
                                          execution, cost::Convention::megatron);
}

/// What one multi-token prediction module adds in training: a mixture layer, the projection of 2 H
/// to H and the LM head once more.
double prediction_module_flops(const model::ModelConfig& config, std::int64_t sequence_length) {
    model::ModelConfig longer = config;
    ++longer.num_hidden_layers;
    const double layer =
        megatron_flops(longer, sequence_length) - megatron_flops(config, sequence_length);
    const auto H = static_cast<double>(config.hidden_size);
    const auto V = static_cast<double>(config.vocab_size);
    return layer + 3 * (2 * 2 * H * H) + 3 * (2 * H * V);
}

TEST(MeasuredData, EveryMegatronBridgeRowHasItsFlopsPerToken) {
    const auto path = find_data("megatron_bridge_perf.csv");
    if (!path) GTEST_SKIP() << "measured data not present";
    int compared = 0;
    for (const Row& row : read_csv(*path)) {
        const std::string name = row.at("model");
        // NVIDIA's own count of this model matches neither its windows nor its gated experts.
        if (name == "GPT_OSS_120B") continue;
        const model::ModelConfig config = model::parse_model(bridge_configs().at(name)).config;
        const std::int64_t S = integer(row, "seq_len");
        double ours = megatron_flops(config, S);
        // The B200 run of DeepSeek-V3 is the one with a prediction module: 260 GFLOP per token
        // against 250.
        if (name == "DeepSeekV3" && row.at("system") == "B200")
            ours += prediction_module_flops(config, S);
        const double tflops = number(row, "model_tflops_per_gpu");
        const double published = tflops * 1e12 / number(row, "tokens_per_s_per_gpu");
        const double tolerance = config.moe ? 0.003 : 0.001;
        EXPECT_NEAR(ours / published, 1, tolerance) << row.at("system") << " " << name;
        ++compared;
    }
    EXPECT_GE(compared, 15);
}

}  // namespace
}  // namespace isoflop::validation
