// The commands of train.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "isoflop/comm/launcher.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::tools {

struct TrainOptions {
    std::vector<std::string> files;
    std::vector<std::string> overrides;  ///< "key=value"
    bool dry_run = false;
    bool doctor = false;
    bool selfcheck = false;
    std::vector<std::string> shapes;  ///< of compare-attention, "B,S,H,Hkv,D"
    int repeats = 9;
    std::string html;
    std::string print_keys;  ///< "markdown" or "schema"
    bool launch = false;     ///< start ranks, as `launcher` says, that run `rank_command`
    comm::LauncherOptions launcher;
    std::vector<std::string> rank_command;
    bool json = false;
    std::size_t latest = 0;
    std::string out_dir = "out";
    std::string input;
    std::string tokenizer = "byte";
    double validation_fraction = 0.1;
    std::uint64_t shard_tokens = 100'000'000;
    std::string out;
    std::string checkpoint;
    std::string prompt = "\n";
    std::int64_t tokens = 200;
    double temperature = 0.8;
    std::int64_t top_k = 200;
    std::uint64_t seed = 1337;
    std::string tokenizer_folder;
    std::string format = "hf";
    std::string dtype = "float32";
    text::Colour colour = text::Colour::off;
    std::size_t width = text::kReportWidth;  ///< columns of reports
};

/// The one config that is given, read once.
[[nodiscard]] config::Document config_file(const TrainOptions& options);
/// Of that config, and the overrides.
[[nodiscard]] recipe::TrainKeys keys_of(const TrainOptions& options);
/// Starts the ranks of `launcher`, which run `rank_command`.
[[nodiscard]] int launch_train(const TrainOptions& options);
/// A run, --dry-run, --doctor or --selfcheck.
[[nodiscard]] int run_train(const TrainOptions& options);
[[nodiscard]] int run_selfcheck(const TrainOptions& options);
[[nodiscard]] int run_compare_attention(const TrainOptions& options);
[[nodiscard]] int run_prepare(const TrainOptions& options);
[[nodiscard]] int run_sample(const TrainOptions& options);
[[nodiscard]] int run_export(const TrainOptions& options);
[[nodiscard]] int run_import(const TrainOptions& options);
[[nodiscard]] int run_compare(const TrainOptions& options);

}  // namespace isoflop::tools
