// Folders, files and token files to test with.
#pragma once

#include <gtest/gtest.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/data/token_file.hpp"
#include "isoflop/data/token_file_writer.hpp"

namespace isoflop::test {

namespace fs = std::filesystem;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr bool kHasSanitizer = true;
#else
inline constexpr bool kHasSanitizer = false;
#endif

class TemporaryDirectory {
public:
    TemporaryDirectory() {
        std::string pattern = (fs::temp_directory_path() / "isoflop-data-XXXXXX").string();
        if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
        path_ = pattern;
    }
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory() {
        std::error_code error;
        fs::remove_all(path_, error);
    }
    [[nodiscard]] fs::path operator/(std::string_view name) const { return path_ / name; }
    [[nodiscard]] const fs::path& path() const { return path_; }
    [[nodiscard]] std::size_t num_entries() const {
        return static_cast<std::size_t>(
            std::distance(fs::directory_iterator(path_), fs::directory_iterator()));
    }

private:
    fs::path path_;
};

inline void write_file(const fs::path& path, std::string_view bytes) {
    std::ofstream file(path, std::ios::binary);
    file.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.flush()) throw std::runtime_error("cannot write " + path.string());
}

inline std::string read_file(const fs::path& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
}

/// The bytes of numbers, as they lie in memory.
template <typename Stored, typename Number>
std::string bytes_of(const std::vector<Number>& numbers) {
    std::string bytes;
    for (const Number number : numbers) {
        const auto stored = static_cast<Stored>(number);
        bytes.append(reinterpret_cast<const char*>(&stored), sizeof stored);
    }
    return bytes;
}

/// As llm.c's data scripts write them.
inline std::string llmc_bytes(std::int32_t magic, std::int32_t version,
                              const std::vector<std::int32_t>& tokens, bool is_uint16) {
    std::vector<std::int32_t> header(256);
    header[0] = magic;
    header[1] = version;
    header[2] = static_cast<std::int32_t>(tokens.size());
    return bytes_of<std::int32_t>(header) +
           (is_uint16 ? bytes_of<std::uint16_t>(tokens) : bytes_of<std::uint32_t>(tokens));
}

inline std::vector<std::int32_t> random_tokens(std::size_t count, std::int32_t vocab_size,
                                               unsigned seed = 1) {
    std::mt19937 generator(seed);
    std::vector<std::int32_t> tokens(count);
    for (std::int32_t& token : tokens) {
        token = static_cast<std::int32_t>(generator() % static_cast<unsigned>(vocab_size));
    }
    return tokens;
}

inline std::vector<std::int32_t> counting_tokens(std::size_t count, std::int32_t first = 0) {
    std::vector<std::int32_t> tokens(count);
    for (std::size_t index = 0; index < count; ++index)
        tokens[index] = first + static_cast<std::int32_t>(index);
    return tokens;
}

inline void write_shard(const fs::path& path, const std::vector<std::int32_t>& tokens,
                        std::int64_t vocab_size, std::uint64_t tokenizer_hash = 0) {
    data::TokenFileWriter writer(path,
                                 {.vocab_size = vocab_size, .tokenizer_hash = tokenizer_hash});
    writer.append(tokens);
    writer.finish();
}

inline std::vector<std::int32_t> all_tokens(const data::TokenFile& file) {
    std::vector<std::int32_t> tokens(file.size());
    file.copy(0, tokens);
    return tokens;
}

/// Exit code and message of what a call throws; code 0 when it does not.
struct Refusal {
    int exit_code = 0;
    std::string message{};
};

template <typename Call>
Refusal refusal_of(const Call& call) {
    try {
        static_cast<void>(call());
    } catch (const Error& error) {
        return {static_cast<int>(error.exit_code()), error.what()};
    }
    return {};
}

}  // namespace isoflop::test
