// `train prepare-data`: text of any size becomes token shards and a meta.json, in constant memory.
// Input is a file, a folder (its regular files in sorted order, each one document; links and empty
// files are left out) or standard input. Documents are separated by the tokenizer's end of text.
// The last part of the tokens is held out for validation: the first floor(N (1 - fraction)) of N
// tokens are for training, which is nanoGPT's split. Bytes that are not UTF-8: the byte tokenizer
// takes them, char refuses the file with the byte offset, sentencepiece reads each as U+FFFD and
// the report counts them. The finished folder is renamed to its final name at the end; a failed run
// leaves no files.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <optional>
#include <stop_token>
#include <string>
#include <string_view>
#include <vector>

namespace isoflop::data {

struct PrepareProgress {
    /// "reading the input", "reading the alphabet", "training the tokenizer" or "writing tokens".
    std::string_view stage{};
    std::uint64_t bytes_done = 0;                ///< of this stage
    std::optional<std::uint64_t> bytes_total{};  ///< unknown for standard input
    std::uint64_t tokens = 0;
    double bytes_per_second = 0;
    std::optional<double> seconds_left{};
    bool finished = false;  ///< last call of the stage
};

struct PrepareOptions {
    std::string input{};  ///< a file, a folder, or "-"
    /// byte, char, sentencepiece:MODEL or sentencepiece-train:VOCAB_SIZE
    std::string tokenizer = "byte";
    double validation_fraction = 0.1;
    std::filesystem::path output_directory{};
    std::uint64_t shard_tokens = 100'000'000;
    std::function<void(const PrepareProgress&)> progress{};  ///< about ten times a second
    /// Asks the run to stop, from another thread; everything is cleaned up.
    std::stop_token stop{};
    int standard_input = 0;  ///< descriptor that "-" reads
    /// Text that sentencepiece-train may hold in memory.
    std::uint64_t tokenizer_sample_bytes = 32U << 20U;
};

struct PreparedShard {
    std::string file{};
    std::uint64_t tokens = 0;
};

struct PrepareReport {
    std::filesystem::path output_directory{};
    std::string tokenizer{};
    std::int64_t vocab_size = 0;
    std::uint64_t documents = 0;
    std::uint64_t input_bytes = 0;
    std::uint64_t replaced_bytes = 0;  ///< not UTF-8, read as U+FFFD
    std::uint64_t train_tokens = 0;
    std::uint64_t validation_tokens = 0;
    std::vector<PreparedShard> train_shards{};
    std::vector<PreparedShard> validation_shards{};
    std::vector<std::string> notes{};  ///< remarks for the user
    double seconds = 0;

    [[nodiscard]] std::string to_text() const;
};

/// Throws ConfigError (exit 2) on a bad option or when the output folder is not empty, IoError
/// (exit 3) on unreadable or empty input, text that the tokenizer cannot represent, or a full disk.
[[nodiscard]] PrepareReport prepare_data(const PrepareOptions& options);

}  // namespace isoflop::data
