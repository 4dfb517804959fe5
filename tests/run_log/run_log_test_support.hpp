// Records and folders for the tests of the run log and of what is derived from it.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "isoflop/run_log/run_log.hpp"

namespace isoflop::run_log {

/// A folder that is gone after the test.
class RunLogTest : public testing::Test {
protected:
    RunLogTest() {
        const auto* const test = testing::UnitTest::GetInstance()->current_test_info();
        folder_ = std::filesystem::temp_directory_path() /
                  ("isoflop_" + std::string(test->test_suite_name()) + "_" + test->name() + "_" +
                   std::to_string(::getpid()));
        std::filesystem::remove_all(folder_);
        std::filesystem::create_directories(folder_);
    }
    ~RunLogTest() override {
        std::error_code ignored;
        std::filesystem::remove_all(folder_, ignored);
    }

    [[nodiscard]] const std::filesystem::path& folder() const { return folder_; }

private:
    std::filesystem::path folder_;
};

inline nlohmann::ordered_json example_config(const std::string& preset = "llama") {
    return {{"arch_preset", preset},
            {"normalization", "rmsnorm"},
            {"position_encoding", "rope"},
            {"ffn_type", "swiglu"},
            {"attention_backend", "flash_attn_2"},
            {"learning_rate", 6e-4},
            {"max_iters", 20}};
}

inline nlohmann::ordered_json example_metadata() {
    return {{"world_size", 1},  {"device", "cpu"},    {"dtype", "float32"},
            {"compile", false}, {"use_zero1", false}, {"use_fsdp", false}};
}

inline StartupRecord example_startup() {
    StartupRecord startup;
    startup.timestamp = "2025-03-01T14:05:09+01:00";
    startup.total_params = 1'000'064;
    startup.trainable_params = 1'000'064;
    startup.non_embedding_params = 900'000;
    startup.param_groups = {"decayed: 9 tensors", "not decayed: 5 tensors"};
    startup.gpu_name = "a processor";
    startup.gpu_memory_gb = 15.5;
    startup.precision = "fp32";
    startup.parallelism = "none";
    startup.requested_backend = "flash_attn_2";
    startup.used_backend = "sdpa";
    startup.backend_reason = "the head dimension is odd";
    return startup;
}

inline IterationRecord example_iteration(std::int64_t iter) {
    IterationRecord record;
    record.iter = iter;
    record.loss = 10.0 / (1.0 + static_cast<double>(iter));
    record.time_ms = iter < 5 ? 400.0 : 100.0 + static_cast<double>(iter % 2);
    record.lr = 1e-3 / 3.0;
    record.grad_norm = 1.25;
    record.tokens = (iter + 1) * 1024;
    record.memory = MemoryRecord{0.25, 0.5, 0.375, 0.625};
    if (iter >= 5) {
        record.utilisation = UtilisationRecord{.mfu = 0.4,
                                               .hfu = 0.45,
                                               .flops_achieved = 6.4e10,
                                               .flops_per_token = 6'291'456,
                                               .tokens_per_sec = 10172.5,
                                               .hardware_peak_flops = 1.6e11,
                                               .attention_flops_per_layer = 1000,
                                               .ffn_flops_per_layer = 2000,
                                               .attention_to_ffn_ratio = 0.5,
                                               .gpu_name = "a processor",
                                               .precision = "fp32",
                                               .num_gpus = 1,
                                               .architecture = "2L-2H-64D-RoPE-RMS-SwiGLU-PreNorm"};
    }
    if (iter % 10 == 0)
        record.gradients = GradientRecord{1.25, 0.5, 0.9, 0.1, 1e-6, 1e-3, -0.5, 0.4};
    return record;
}

inline EvalRecord example_evaluation(std::int64_t iter, double val_loss) {
    return {.iter = iter,
            .train_loss = val_loss - 0.1,
            .val_loss = val_loss,
            .lr = 1e-3,
            .timestamp = "2025-03-01T14:06:00+01:00"};
}

inline RunLog example_log(const std::filesystem::path& run_dir, RunLogOptions options = {}) {
    return RunLog::create(run_dir, "test", example_config(), example_metadata(), example_startup(),
                          options);
}

inline std::string text_of(const std::filesystem::path& path) {
    std::ifstream file(path, std::ios::binary);
    EXPECT_TRUE(file) << path;
    return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline nlohmann::ordered_json json_of_file(const std::filesystem::path& path) {
    return nlohmann::ordered_json::parse(text_of(path));
}

inline void write_text(const std::filesystem::path& path, const std::string& text) {
    std::ofstream(path, std::ios::binary) << text;
}

inline std::vector<std::string> keys_of(const nlohmann::ordered_json& object) {
    std::vector<std::string> keys;
    for (const auto& [key, value] : object.items()) keys.push_back(key);
    return keys;
}

}  // namespace isoflop::run_log
