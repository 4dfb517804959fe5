#include "isoflop/data/token_file.hpp"

#include <fmt/format.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <limits>
#include <stdexcept>
#include <string_view>

#include "data/file_io.hpp"
#include "data/token_file_layout.hpp"
#include "isoflop/base/checksum.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;
using layout::load;

const char* to_string(TokenFormat format) {
    switch (format) {
        case TokenFormat::isoflop: return "isoflop";
        case TokenFormat::llmc: return "llm.c";
        case TokenFormat::nanogpt: return "nanoGPT";
    }
    return "unknown";
}

struct TokenFile::Mapping {
    fs::path path;
    const std::byte* base = nullptr;
    std::uint64_t length = 0;

    TokenFormat format = TokenFormat::nanogpt;
    const std::byte* tokens = nullptr;
    std::uint64_t size = 0;
    int bytes_per_token = 2;
    std::int64_t vocab_size = 0;
    std::uint64_t tokenizer_hash = 0;
    const std::byte* checksums = nullptr;                    ///< null when the format has none
    std::unique_ptr<std::atomic<bool>[]> is_block_verified;  // NOLINT(modernize-avoid-c-arrays)

    Mapping() = default;
    Mapping(const Mapping&) = delete;
    Mapping& operator=(const Mapping&) = delete;
    Mapping(Mapping&&) = delete;
    Mapping& operator=(Mapping&&) = delete;
    ~Mapping() {
        if (base != nullptr) ::munmap(const_cast<std::byte*>(base), length);
    }

    [[nodiscard]] std::uint64_t token_bytes() const {
        return size * static_cast<std::uint64_t>(bytes_per_token);
    }
    void read_header();
    void read_isoflop_header();
    void read_llmc_header(std::uint32_t magic);
    void read_bare_tokens();
    void check_length(std::uint64_t expected, std::uint64_t count) const;
    void verify_block(std::uint64_t block) const;
    void verify_blocks_of(std::uint64_t first, std::uint64_t count) const;
    template <typename Token>
    void copy_checked(std::uint64_t first, std::span<std::int32_t> result,
                      std::uint32_t limit) const;
    [[noreturn]] void fail_out_of_vocabulary(std::uint64_t position, std::uint32_t token,
                                             std::uint32_t limit) const;
};

namespace {

constexpr std::string_view kHowToMakeOne = "token files are made by `train prepare-data`";

/// Bits that differ from a magic number; a few mean a damaged file rather than one of another kind.
int distance_to_magic(const std::byte* bytes) {
    return std::popcount(load<std::uint64_t>(bytes) ^ std::bit_cast<std::uint64_t>(layout::kMagic));
}

/// Other files that llm.c writes.
std::string_view llmc_file_kind(std::uint32_t magic) {
    switch (magic) {
        case 20240326: return "an llm.c model checkpoint";
        case 20240327: return "an llm.c debug state";
        case 20240328: return "an llm.c tokenizer";
        case 20240522: return "an llm.c HellaSwag evaluation file";
        case 20240527: return "an llm.c optimizer state";
        default: return {};
    }
}

}  // namespace

void TokenFile::Mapping::check_length(std::uint64_t expected, std::uint64_t count) const {
    if (length == expected) return;
    fail(path, fmt::format("{}: its header says {} tokens, which is {} bytes with the header; the "
                           "file has {} bytes",
                           length < expected ? "truncated" : "longer than it should be", count,
                           expected, length));
}

void TokenFile::Mapping::read_header() {
    const auto magic_bytes = std::as_bytes(std::span(layout::kMagic));
    if (length < magic_bytes.size() && length >= 2 &&
        std::equal(base, base + length, magic_bytes.begin())) {
        fail(path, fmt::format("truncated: only {} bytes of a token shard are left", length));
    }
    const std::uint32_t first_word = length >= 4 ? load<std::uint32_t>(base) : 0;
    if (length >= magic_bytes.size()) {
        constexpr int kMostDamagedBits = 8;
        const int distance = distance_to_magic(base);
        if (distance == 0) return read_isoflop_header();
        if (distance <= kMostDamagedBits) {
            fail(path,
                 "damaged: the first bytes are almost, but not quite, those of a token shard");
        }
    }
    if (first_word == layout::kLlmcUint16Magic || first_word == layout::kLlmcUint32Magic) {
        return read_llmc_header(first_word);
    }
    if (const std::string_view kind = llmc_file_kind(first_word); !kind.empty()) {
        fail(path, fmt::format("this is {}, not tokens", kind));
    }
    if (path.extension() != ".bin") fail(path, fmt::format("no token file; {}", kHowToMakeOne));
    read_bare_tokens();
}

void TokenFile::Mapping::read_isoflop_header() {
    if (length < sizeof(layout::Header)) {
        fail(path, fmt::format("truncated: the header has {} bytes, the file {}",
                               sizeof(layout::Header), length));
    }
    const auto header = load<layout::Header>(base);
    if (crc32c(layout::checked_bytes(header)) != header.header_crc) {
        fail(path, "damaged: the checksum of the header does not match");
    }
    if (header.version != layout::kVersion) {
        fail(path, fmt::format("shard version {}; this build reads version {}", header.version,
                               layout::kVersion));
    }
    constexpr std::uint64_t kLargestVocabulary = 1ULL << 31U;
    const bool is_width_known = header.bytes_per_token == 2 || header.bytes_per_token == 4;
    if (!is_width_known || header.block_bytes != layout::kBlockBytes ||
        header.vocab_size > kLargestVocabulary ||
        header.token_count > std::numeric_limits<std::uint64_t>::max() / 16) {
        fail(path, "damaged: the header contradicts itself");
    }
    format = TokenFormat::isoflop;
    tokens = base + sizeof(layout::Header);
    size = header.token_count;
    bytes_per_token = static_cast<int>(header.bytes_per_token);
    vocab_size = static_cast<std::int64_t>(header.vocab_size);
    tokenizer_hash = header.tokenizer_hash;

    const std::uint64_t blocks = layout::num_blocks(token_bytes());
    check_length(sizeof(layout::Header) + token_bytes() + blocks * sizeof(std::uint32_t), size);
    checksums = tokens + token_bytes();
    if (crc32c({checksums, blocks * sizeof(std::uint32_t)}) != header.table_crc) {
        fail(path, "damaged: the checksum table at its end does not match");
    }
    is_block_verified =
        std::make_unique<std::atomic<bool>[]>(blocks);  // NOLINT(modernize-avoid-c-arrays)
}

void TokenFile::Mapping::read_llmc_header(std::uint32_t magic) {
    if (length < layout::kLlmcHeaderBytes) {
        fail(path, fmt::format("truncated: an llm.c header has {} bytes, the file {}",
                               layout::kLlmcHeaderBytes, length));
    }
    const bool is_uint16 = magic == layout::kLlmcUint16Magic;
    const auto version = load<std::int32_t>(base + 4);
    const auto count = load<std::int32_t>(base + 8);
    const std::uint32_t expected =
        is_uint16 ? layout::kLlmcUint16Version : layout::kLlmcUint32Version;
    if (version < 0 || static_cast<std::uint32_t>(version) != expected) {
        fail(path,
             fmt::format("llm.c token file with magic {} and version {}; that magic has version {}",
                         magic, version, expected));
    }
    if (count < 0) fail(path, fmt::format("damaged: its header gives {} tokens", count));
    format = TokenFormat::llmc;
    tokens = base + layout::kLlmcHeaderBytes;
    size = static_cast<std::uint64_t>(count);
    bytes_per_token = is_uint16 ? 2 : 4;
    check_length(layout::kLlmcHeaderBytes + token_bytes(), size);
}

void TokenFile::Mapping::read_bare_tokens() {
    if (length % 2 != 0) {
        fail(path, fmt::format("{} bytes are not a whole number of uint16 tokens: truncated, or "
                               "not a token file; {}",
                               length, kHowToMakeOne));
    }
    format = TokenFormat::nanogpt;
    tokens = base;
    size = length / 2;
    bytes_per_token = 2;
}

TokenFile::TokenFile(std::unique_ptr<Mapping> mapping) : mapping_(std::move(mapping)) {}
TokenFile::TokenFile(TokenFile&&) noexcept = default;
TokenFile& TokenFile::operator=(TokenFile&&) noexcept = default;
TokenFile::~TokenFile() = default;

TokenFile TokenFile::open(const fs::path& path) {
    const FileDescriptor descriptor = open_for_reading(path);
    struct stat status {};
    if (::fstat(descriptor.get(), &status) != 0) fail_system(path, "cannot be read", errno);
    if (!S_ISREG(status.st_mode))
        fail(path, "token files are mapped into memory, which needs a regular file");
    if (status.st_size == 0) fail(path, "the file is empty");

    auto mapping = std::make_unique<Mapping>();
    mapping->path = path;
    mapping->length = static_cast<std::uint64_t>(status.st_size);
    void* const address =
        ::mmap(nullptr, mapping->length, PROT_READ, MAP_SHARED, descriptor.get(), 0);
    if (address == MAP_FAILED) fail_system(path, "cannot be mapped into memory", errno);
    mapping->base = static_cast<const std::byte*>(address);
    mapping->read_header();
    if (mapping->size == 0) fail(path, "the file holds no tokens");
    return TokenFile(std::move(mapping));
}

std::uint64_t TokenFile::size() const {
    return mapping_->size;
}
std::int64_t TokenFile::vocab_size() const {
    return mapping_->vocab_size;
}
std::uint64_t TokenFile::tokenizer_hash() const {
    return mapping_->tokenizer_hash;
}
TokenFormat TokenFile::format() const {
    return mapping_->format;
}
int TokenFile::bytes_per_token() const {
    return mapping_->bytes_per_token;
}
const fs::path& TokenFile::path() const {
    return mapping_->path;
}

void TokenFile::Mapping::verify_block(std::uint64_t block) const {
    // Two threads may check the same block at the same time; both find the same.
    if (is_block_verified[block].load(std::memory_order_relaxed)) return;
    const std::uint64_t first_byte = block * layout::kBlockBytes;
    const std::uint64_t count =
        std::min<std::uint64_t>(layout::kBlockBytes, token_bytes() - first_byte);
    const auto expected = load<std::uint32_t>(checksums + block * sizeof(std::uint32_t));
    if (crc32c({tokens + first_byte, count}) != expected) {
        const auto width = static_cast<std::uint64_t>(bytes_per_token);
        fail(path, fmt::format("damaged: the checksum of tokens {} to {} does not match",
                               first_byte / width, (first_byte + count) / width - 1));
    }
    is_block_verified[block].store(true, std::memory_order_relaxed);
}

void TokenFile::Mapping::verify_blocks_of(std::uint64_t first, std::uint64_t count) const {
    if (checksums == nullptr || count == 0) return;
    const auto width = static_cast<std::uint64_t>(bytes_per_token);
    const std::uint64_t last_block = ((first + count) * width - 1) / layout::kBlockBytes;
    for (std::uint64_t block = first * width / layout::kBlockBytes; block <= last_block; ++block) {
        verify_block(block);
    }
}

void TokenFile::Mapping::fail_out_of_vocabulary(std::uint64_t position, std::uint32_t token,
                                                std::uint32_t limit) const {
    fail(path, fmt::format("token {} at position {} is outside the vocabulary of {} tokens", token,
                           with_separators(static_cast<std::int64_t>(position)), limit));
}

template <typename Token>
void TokenFile::Mapping::copy_checked(std::uint64_t first, std::span<std::int32_t> result,
                                      std::uint32_t limit) const {
    const std::byte* const source = tokens + first * sizeof(Token);
    std::uint32_t largest = 0;
    for (std::size_t index = 0; index < result.size(); ++index) {
        const std::uint32_t token = load<Token>(source + index * sizeof(Token));
        largest = std::max(largest, token);
        result[index] = static_cast<std::int32_t>(token);
    }
    if (result.empty() || largest < limit) return;
    for (std::size_t index = 0; index < result.size(); ++index) {
        const std::uint32_t token = load<Token>(source + index * sizeof(Token));
        if (token >= limit) fail_out_of_vocabulary(first + index, token, limit);
    }
}

void TokenFile::copy(std::uint64_t first, std::span<std::int32_t> tokens,
                     std::int64_t vocab_limit) const {
    if (first > mapping_->size || tokens.size() > mapping_->size - first) {
        throw std::out_of_range(fmt::format("{}: tokens {} to {} of {}", mapping_->path.string(),
                                            first, first + tokens.size(), mapping_->size));
    }
    constexpr std::int64_t kNoLimit = 1LL << 31U;  // what an int32 token can hold
    std::int64_t limit = vocab_limit > 0 ? vocab_limit : mapping_->vocab_size;
    if (limit <= 0 || limit > kNoLimit) limit = kNoLimit;
    mapping_->verify_blocks_of(first, tokens.size());
    if (mapping_->bytes_per_token == 2) {
        mapping_->copy_checked<std::uint16_t>(first, tokens, static_cast<std::uint32_t>(limit));
    } else {
        mapping_->copy_checked<std::uint32_t>(first, tokens, static_cast<std::uint32_t>(limit));
    }
}

void TokenFile::verify() const {
    mapping_->verify_blocks_of(0, mapping_->size);
}

}  // namespace isoflop::data
