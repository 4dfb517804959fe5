#include "isoflop/data/token_file.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <limits>
#include <stdexcept>
#include <string_view>
#include <utility>
#include <vector>

#include "data/file_io.hpp"
#include "data/token_file_layout.hpp"
#include "isoflop/base/checksum.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;

const char* to_string(TokenFormat format) {
    switch (format) {
        case TokenFormat::isoflop: return "isoflop";
        case TokenFormat::llmc: return "llm.c";
        case TokenFormat::nanogpt: return "nanoGPT";
    }
    return "unknown";
}

struct TokenFile::State {
    explicit State(RandomAccessFile opened) : file(std::move(opened)) {}

    RandomAccessFile file;
    TokenFormat format = TokenFormat::nanogpt;
    std::uint64_t tokens_begin = 0;  ///< offset in the file
    std::uint64_t size = 0;
    int bytes_per_token = 2;
    std::int64_t vocab_size = 0;
    std::uint64_t tokenizer_hash = 0;
    std::vector<std::uint32_t> checksums;  ///< of the blocks; empty when the format has none
    std::unique_ptr<std::atomic<bool>[]> is_block_verified;  // NOLINT(modernize-avoid-c-arrays)

    [[nodiscard]] const fs::path& path() const { return file.path(); }
    [[nodiscard]] std::uint64_t length() const { return file.size(); }
    [[nodiscard]] std::uint64_t token_bytes() const {
        return size * static_cast<std::uint64_t>(bytes_per_token);
    }
    template <typename T>
    [[nodiscard]] T load(std::uint64_t offset) const {
        T value{};
        file.read(offset, std::as_writable_bytes(std::span(&value, 1)));
        return value;
    }
    void read_header();
    void read_isoflop_header();
    void read_llmc_header(std::uint32_t magic);
    void read_bare_tokens();
    [[nodiscard]] int bare_width() const;
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
int distance_to_magic(std::uint64_t first_bytes) {
    return std::popcount(first_bytes ^ std::bit_cast<std::uint64_t>(layout::kMagic));
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

void TokenFile::State::check_length(std::uint64_t expected, std::uint64_t count) const {
    if (length() == expected) return;
    fail(path(),
         fmt::format("{}: its header says {} tokens, which is {} bytes with the header; the "
                     "file has {} bytes",
                     length() < expected ? "truncated" : "longer than it should be", count,
                     expected, length()));
}

void TokenFile::State::read_header() {
    std::array<char, sizeof layout::kMagic> first{};
    const auto there = std::span(first).first(std::min<std::uint64_t>(length(), first.size()));
    file.read(0, std::as_writable_bytes(there));
    if (there.size() < first.size() && there.size() >= 2 &&
        std::equal(there.begin(), there.end(), layout::kMagic.begin())) {
        fail(path(), fmt::format("truncated: only {} bytes of a token shard are left", length()));
    }
    const auto first_word = length() >= 4 ? load<std::uint32_t>(0) : 0;
    if (there.size() == first.size()) {
        constexpr int kMostDamagedBits = 8;
        const int distance = distance_to_magic(std::bit_cast<std::uint64_t>(first));
        if (distance == 0) return read_isoflop_header();
        if (distance <= kMostDamagedBits) {
            fail(path(),
                 "damaged: the first bytes are almost, but not quite, those of a token shard");
        }
    }
    if (first_word == layout::kLlmcUint16Magic || first_word == layout::kLlmcUint32Magic) {
        return read_llmc_header(first_word);
    }
    if (const std::string_view kind = llmc_file_kind(first_word); !kind.empty()) {
        fail(path(), fmt::format("this is {}, not tokens", kind));
    }
    if (path().extension() != ".bin") fail(path(), fmt::format("no token file; {}", kHowToMakeOne));
    read_bare_tokens();
}

void TokenFile::State::read_isoflop_header() {
    if (length() < sizeof(layout::Header)) {
        fail(path(), fmt::format("truncated: the header has {} bytes, the file {}",
                                 sizeof(layout::Header), length()));
    }
    const auto header = load<layout::Header>(0);
    if (crc32c(layout::checked_bytes(header)) != header.header_crc) {
        fail(path(), "damaged: the checksum of the header does not match");
    }
    if (header.version != layout::kVersion) {
        fail(path(), fmt::format("shard version {}; this build reads version {}", header.version,
                                 layout::kVersion));
    }
    constexpr std::uint64_t kLargestVocabulary = 1ULL << 31U;
    const bool is_width_known = header.bytes_per_token == 2 || header.bytes_per_token == 4;
    if (!is_width_known || header.block_bytes != layout::kBlockBytes ||
        header.vocab_size > kLargestVocabulary ||
        header.token_count > std::numeric_limits<std::uint64_t>::max() / 16) {
        fail(path(), "damaged: the header contradicts itself");
    }
    format = TokenFormat::isoflop;
    tokens_begin = sizeof(layout::Header);
    size = header.token_count;
    bytes_per_token = static_cast<int>(header.bytes_per_token);
    vocab_size = static_cast<std::int64_t>(header.vocab_size);
    tokenizer_hash = header.tokenizer_hash;

    const std::uint64_t blocks = layout::num_blocks(token_bytes());
    check_length(sizeof(layout::Header) + token_bytes() + blocks * sizeof(std::uint32_t), size);
    checksums.resize(blocks);
    file.read(tokens_begin + token_bytes(), std::as_writable_bytes(std::span(checksums)));
    if (crc32c(std::as_bytes(std::span(checksums))) != header.table_crc) {
        fail(path(), "damaged: the checksum table at its end does not match");
    }
    is_block_verified =
        std::make_unique<std::atomic<bool>[]>(blocks);  // NOLINT(modernize-avoid-c-arrays)
}

void TokenFile::State::read_llmc_header(std::uint32_t magic) {
    if (length() < layout::kLlmcHeaderBytes) {
        fail(path(), fmt::format("truncated: an llm.c header has {} bytes, the file {}",
                                 layout::kLlmcHeaderBytes, length()));
    }
    const bool is_uint16 = magic == layout::kLlmcUint16Magic;
    const auto version = load<std::int32_t>(4);
    const auto count = load<std::int32_t>(8);
    const std::uint32_t expected =
        is_uint16 ? layout::kLlmcUint16Version : layout::kLlmcUint32Version;
    if (version < 0 || static_cast<std::uint32_t>(version) != expected) {
        fail(path(),
             fmt::format("llm.c token file with magic {} and version {}; that magic has version {}",
                         magic, version, expected));
    }
    if (count < 0) fail(path(), fmt::format("damaged: its header gives {} tokens", count));
    format = TokenFormat::llmc;
    tokens_begin = layout::kLlmcHeaderBytes;
    size = static_cast<std::uint64_t>(count);
    bytes_per_token = is_uint16 ? 2 : 4;
    check_length(layout::kLlmcHeaderBytes + token_bytes(), size);
}

namespace {

/// What words of 16 bits look like, in groups of four from places all over a file.
struct WordCounts {
    std::uint64_t groups = 0;      ///< of four words
    std::uint64_t low_large = 0;   ///< groups in which word 0 or 2 could not be the high half
    std::uint64_t high_large = 0;  ///< groups in which word 1 or 3 could not be
    std::uint64_t high_any = 0;    ///< groups in which word 1 or 3 is not zero
    std::uint64_t third_any = 0;   ///< groups in which word 2 is not zero
    std::uint64_t low_wide = 0;    ///< groups in which word 0 or 2 has more than 8 bits
    std::uint16_t highest = 0;     ///< of words 1 and 3
};

/// 2^20 tokens, more than any vocabulary has: the high half of a 32-bit token is below 16.
constexpr std::uint16_t kLargestHighHalf = 15;
constexpr std::uint16_t kEightBits = 255;

}  // namespace

/// Bytes per token of a file without a header. In text of any tokenizer small numbers do not stand
/// at every second place only, so both widths are told apart by a few thousand tokens; what is
/// neither is asked for.
int TokenFile::State::bare_width() const {
    constexpr std::uint64_t kFewest = 32;  // groups; smaller files are nanoGPT's
    constexpr std::uint64_t kPlaces = 64;
    constexpr std::uint64_t kGroupsPerPlace = 64;
    using Group = std::array<std::uint16_t, 4>;
    const std::uint64_t all = length() / sizeof(Group);
    if (length() % 4 != 0 || all < kFewest) return 2;
    WordCounts counts;
    std::vector<Group> groups(std::min(all, kGroupsPerPlace));
    const std::uint64_t places = std::min(kPlaces, all / groups.size());
    for (std::uint64_t place = 0; place < places; ++place) {
        const std::uint64_t last_place = std::max<std::uint64_t>(places - 1, 1);
        const std::uint64_t first = (all - groups.size()) * place / last_place;
        file.read(first * sizeof(Group), std::as_writable_bytes(std::span(groups)));
        for (const Group& group : groups) {
            ++counts.groups;
            if (std::max(group[0], group[2]) > kLargestHighHalf) ++counts.low_large;
            if (std::max(group[1], group[3]) > kLargestHighHalf) ++counts.high_large;
            if (group[1] != 0 || group[3] != 0) ++counts.high_any;
            if (group[2] != 0) ++counts.third_any;
            if (std::max(group[0], group[2]) > kEightBits) ++counts.low_wide;
            counts.highest = std::max({counts.highest, group[1], group[3]});
        }
    }
    const auto convert = [&](std::string_view what) {
        fail(path(), fmt::format("{}: write the tokens as uint16 or uint32, as numpy's "
                                 "astype(numpy.uint32).tofile does, or with llm.c's header",
                                 what));
    };
    // Small numbers at most places are a small vocabulary in 16 bits.
    if (counts.low_large < counts.groups / 2) return 2;
    if (counts.high_any == 0 && counts.third_any == 0 && length() % 8 == 0)
        convert("this looks like tokens of 64 bits");
    if (counts.high_large == 0) return 4;
    // Never more than 8 bits at these places, and often at the others: 32-bit tokens that no
    // vocabulary has.
    if (counts.highest <= kEightBits && counts.low_wide >= counts.groups / 2)
        convert("this has neither the look of 16-bit tokens nor of valid 32-bit tokens");
    // Some large numbers there: negative or wrong 32-bit tokens, where 16 bits have many.
    if (counts.high_large * 8 < counts.low_large)
        convert("this has neither the look of 16-bit tokens nor of valid 32-bit tokens");
    return 2;
}

void TokenFile::State::read_bare_tokens() {
    if (length() % 2 != 0) {
        fail(path(), fmt::format("{} bytes are not a whole number of uint16 tokens: truncated, or "
                                 "not a token file; {}",
                                 length(), kHowToMakeOne));
    }
    format = TokenFormat::nanogpt;
    tokens_begin = 0;
    bytes_per_token = bare_width();
    size = length() / static_cast<std::uint64_t>(bytes_per_token);
}

TokenFile::TokenFile(std::unique_ptr<State> state) : state_(std::move(state)) {}
TokenFile::TokenFile(TokenFile&&) noexcept = default;
TokenFile& TokenFile::operator=(TokenFile&&) noexcept = default;
TokenFile::~TokenFile() = default;

TokenFile TokenFile::open(const fs::path& path) {
    auto state = std::make_unique<State>(open_regular(path));
    if (state->length() == 0) fail(path, "the file is empty");
    state->read_header();
    if (state->size == 0) fail(path, "the file holds no tokens");
    return TokenFile(std::move(state));
}

std::uint64_t TokenFile::size() const {
    return state_->size;
}
std::int64_t TokenFile::vocab_size() const {
    return state_->vocab_size;
}
std::uint64_t TokenFile::tokenizer_hash() const {
    return state_->tokenizer_hash;
}
TokenFormat TokenFile::format() const {
    return state_->format;
}
int TokenFile::bytes_per_token() const {
    return state_->bytes_per_token;
}
const fs::path& TokenFile::path() const {
    return state_->path();
}

void TokenFile::State::verify_block(std::uint64_t block) const {
    // Two threads may check the same block at the same time; both find the same.
    if (is_block_verified[block].load(std::memory_order_relaxed)) return;
    const std::uint64_t first_byte = block * layout::kBlockBytes;
    const std::uint64_t count =
        std::min<std::uint64_t>(layout::kBlockBytes, token_bytes() - first_byte);
    std::vector<std::byte> bytes(count);
    file.read(tokens_begin + first_byte, bytes);
    if (crc32c(bytes) != checksums[block]) {
        const auto width = static_cast<std::uint64_t>(bytes_per_token);
        fail(path(), fmt::format("damaged: the checksum of tokens {} to {} does not match",
                                 first_byte / width, (first_byte + count) / width - 1));
    }
    is_block_verified[block].store(true, std::memory_order_relaxed);
}

void TokenFile::State::verify_blocks_of(std::uint64_t first, std::uint64_t count) const {
    if (checksums.empty() || count == 0) return;
    const auto width = static_cast<std::uint64_t>(bytes_per_token);
    const std::uint64_t last_block = ((first + count) * width - 1) / layout::kBlockBytes;
    for (std::uint64_t block = first * width / layout::kBlockBytes; block <= last_block; ++block) {
        verify_block(block);
    }
}

void TokenFile::State::fail_out_of_vocabulary(std::uint64_t position, std::uint32_t token,
                                              std::uint32_t limit) const {
    fail(path(), fmt::format("token {} at position {} is outside the vocabulary of {} tokens",
                             token, with_separators(static_cast<std::int64_t>(position)), limit));
}

template <typename Token>
void TokenFile::State::copy_checked(std::uint64_t first, std::span<std::int32_t> result,
                                    std::uint32_t limit) const {
    constexpr std::size_t kPieceTokens = std::size_t{1} << 15U;
    std::vector<Token> piece(std::min(result.size(), kPieceTokens));
    while (!result.empty()) {
        const auto read = std::span(piece).first(std::min(result.size(), piece.size()));
        file.read(tokens_begin + first * sizeof(Token), std::as_writable_bytes(read));
        std::uint32_t largest = 0;
        for (std::size_t index = 0; index < read.size(); ++index) {
            const std::uint32_t token = read[index];
            largest = std::max(largest, token);
            result[index] = static_cast<std::int32_t>(token);
        }
        for (std::size_t index = 0; largest >= limit && index < read.size(); ++index) {
            if (read[index] >= limit) fail_out_of_vocabulary(first + index, read[index], limit);
        }
        result = result.subspan(read.size());
        first += read.size();
    }
}

void TokenFile::copy(std::uint64_t first, std::span<std::int32_t> tokens,
                     std::int64_t vocab_limit) const {
    if (first > state_->size || tokens.size() > state_->size - first) {
        throw std::out_of_range(fmt::format("{}: tokens {} to {} of {}", state_->path().string(),
                                            first, first + tokens.size(), state_->size));
    }
    constexpr std::int64_t kNoLimit = 1LL << 31U;  // what an int32 token can hold
    std::int64_t limit = vocab_limit > 0 ? vocab_limit : state_->vocab_size;
    if (limit <= 0 || limit > kNoLimit) limit = kNoLimit;
    state_->verify_blocks_of(first, tokens.size());
    if (state_->bytes_per_token == 2) {
        state_->copy_checked<std::uint16_t>(first, tokens, static_cast<std::uint32_t>(limit));
    } else {
        state_->copy_checked<std::uint32_t>(first, tokens, static_cast<std::uint32_t>(limit));
    }
}

TokenFile::Fingerprint TokenFile::fingerprint() const {
    constexpr std::uint64_t kPieceBytes = 65536;
    constexpr std::uint64_t kPlaces = 1024;
    const std::uint64_t bytes = state_->token_bytes();
    Fingerprint result;
    if (!state_->checksums.empty()) {
        std::uint64_t left = bytes;
        for (const std::uint32_t checksum : state_->checksums) {
            const std::uint64_t length = std::min<std::uint64_t>(left, layout::kBlockBytes);
            result.checksum = crc32c_of_both(result.checksum, checksum, length);
            left -= length;
        }
        return result;
    }
    result.is_of_all = bytes <= kWholeChecksumBytes;
    std::vector<std::byte> piece(std::min(bytes, kPieceBytes));
    const auto add = [&](std::uint64_t first, std::uint64_t count) {
        const std::span<std::byte> read = std::span(piece).first(count);
        state_->file.read(state_->tokens_begin + first, read);
        result.checksum = crc32c(read, result.checksum);
    };
    if (result.is_of_all) {
        for (std::uint64_t first = 0; first < bytes; first += kPieceBytes)
            add(first, std::min(kPieceBytes, bytes - first));
        return result;
    }
    for (std::uint64_t place = 0; place < kPlaces; ++place)
        add((bytes - kPieceBytes) / (kPlaces - 1) * place, kPieceBytes);
    return result;
}

void TokenFile::verify() const {
    state_->verify_blocks_of(0, state_->size);
}

}  // namespace isoflop::data
