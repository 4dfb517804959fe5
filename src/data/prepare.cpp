#include "isoflop/data/prepare.hpp"

#include <fmt/format.h>

#include <chrono>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>

#include "data/file_io.hpp"
#include "data/prepare_tokenizer.hpp"
#include "data/shard_sequence.hpp"
#include "data/temporary_folder.hpp"
#include "data/text_input.hpp"
#include "data/tokenizer_kinds.hpp"
#include "data/utf8_stream.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/fnv1a.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;

namespace {

void check_options(const PrepareOptions& options) {
    if (options.input.empty())
        throw ConfigError("--input: name a file, a folder, or - for standard input");
    if (options.output_directory.empty()) throw ConfigError("--out: name a folder for the tokens");
    if (!(options.validation_fraction >= 0 && options.validation_fraction < 1)) {
        throw ConfigError(fmt::format("--val-fraction must be at least 0 and below 1; found {}",
                                      options.validation_fraction));
    }
    if (options.shard_tokens == 0) throw ConfigError("--shard-tokens must be at least 1; found 0");
}

/// Standard input cannot be read twice: it goes to a file first.
void spool(TextInput& input, const fs::path& folder, const PrepareOptions& options) {
    InputDocument& document = input.documents.front();
    const fs::path path = folder / "spooled_input.tmp";
    FileDescriptor file = create_file(path);
    ProgressMeter meter(options, "reading the input", std::nullopt);
    read_document(document, [&](std::string_view piece) {
        write_all(file, std::as_bytes(std::span(piece)), path);
        meter.advance(piece.size());
    });
    meter.finish();
    document.path = path;
    document.bytes = meter.bytes_done();
    document.stream = -1;
    if (document.bytes == 0) fail(document.name, "it is empty");
}

struct Encoded {
    std::uint64_t input_hash = kFnvStart;
    std::uint64_t replaced_bytes = 0;
};

/// Tokens of one document, a piece at a time.
void encode_document(InputDocument& document, const Tokenizer& tokenizer, ShardSequence& shards,
                     Encoded& encoded, ProgressMeter& meter) {
    const bool counts_replaced = tokenizer.name() == "sentencepiece";
    constexpr std::size_t kContext = 64;
    std::string text;    // what is not encoded yet
    std::string before;  // the end of what is encoded
    std::uint64_t text_offset = 0;
    const auto encode = [&](std::size_t length) {
        const std::string_view part = std::string_view(text).substr(0, length);
        if (counts_replaced) static_cast<void>(replace_invalid_utf8(part, &encoded.replaced_bytes));
        try {
            shards.append(tokenizer.encode_after(before, part));
        } catch (const EncodeError& error) {
            fail_encoding(document, error.reason(), text_offset + error.byte_offset());
        }
        before.append(part.substr(part.size() - std::min(part.size(), kContext)));
        before.erase(0, before.size() - std::min(before.size(), kContext));
        text.erase(0, length);
        text_offset += length;
    };
    read_document(document, [&](std::string_view piece) {
        encoded.input_hash = fnv1a(piece, encoded.input_hash);
        text += piece;
        const std::uint64_t tokens_before = shards.size();
        encode(tokenizer.stream_boundary(text));
        meter.advance(piece.size(), shards.size() - tokens_before);
    });
    const std::uint64_t tokens_before = shards.size();
    encode(text.size());
    meter.advance(0, shards.size() - tokens_before);
    document.bytes = text_offset;
}

Encoded encode_all(TextInput& input, const Tokenizer& tokenizer, ShardSequence& shards,
                   const PrepareOptions& options) {
    Encoded encoded;
    ProgressMeter meter(options, "writing tokens", input.total_bytes());
    bool is_first = true;
    for (InputDocument& document : input.documents) {
        if (!is_first && tokenizer.end_of_text()) {
            const std::int32_t end_of_text = *tokenizer.end_of_text();
            shards.append(std::span(&end_of_text, 1));
        }
        is_first = false;
        encode_document(document, tokenizer, shards, encoded, meter);
    }
    meter.finish();
    return encoded;
}

nlohmann::json part_json(std::uint64_t tokens, const std::vector<PreparedShard>& shards) {
    nlohmann::json list = nlohmann::json::array();
    for (const PreparedShard& shard : shards)
        list.push_back({{"file", shard.file}, {"tokens", shard.tokens}});
    return {{"tokens", tokens}, {"shards", std::move(list)}};
}

/// No time and no host name: the same input gives the same folder, byte for byte.
void write_meta(const fs::path& folder, const PrepareReport& report, const TextInput& input,
                const Tokenizer& tokenizer, const Encoded& encoded, double validation_fraction) {
    constexpr std::size_t kMostSources = 1000;
    nlohmann::json sources = nlohmann::json::array();
    for (std::size_t index = 0; index < std::min(input.documents.size(), kMostSources); ++index) {
        const InputDocument& document = input.documents[index];
        sources.push_back({{"path", document.name}, {"bytes", document.bytes}});
    }
    nlohmann::json meta = {
        {"format", "isoflop-tokens"},
        {"version", 1},
        {"tokenizer", tokenizer.to_json()},
        {"tokenizer_hash", fmt::format("{:016x}", tokenizer.hash())},
        {"vocab_size", tokenizer.vocab_size()},
        {"end_of_text", nullptr},
        {"validation_fraction", validation_fraction},
        {"documents", report.documents},
        {"input_bytes", report.input_bytes},
        {"input_hash", fmt::format("{:016x}", encoded.input_hash)},
        {"sources", std::move(sources)},
        {"sources_left_out",
         input.documents.size() - std::min(input.documents.size(), kMostSources)},
        {file_prefix(Split::train), part_json(report.train_tokens, report.train_shards)},
        {file_prefix(Split::validation),
         part_json(report.validation_tokens, report.validation_shards)},
    };
    if (tokenizer.end_of_text()) meta["end_of_text"] = *tokenizer.end_of_text();
    if (!tokenizer.model_bytes().empty())
        write_text_file(folder / kModelFileName, tokenizer.model_bytes());
    // A path may hold bytes that are no UTF-8.
    write_text_file(folder / kMetaFileName,
                    meta.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
}

void split_tokens(const fs::path& folder, const PrepareOptions& options, ShardInfo info,
                  std::uint64_t size, PrepareReport& report) {
    // As nanoGPT: the first int(n * 0.9) characters are for training.
    const auto train_tokens =
        static_cast<std::uint64_t>(static_cast<double>(size) * (1.0 - options.validation_fraction));
    report.train_tokens = std::min(train_tokens, size);
    if (options.validation_fraction == 0) report.train_tokens = size;
    report.validation_tokens = size - report.train_tokens;
    if (report.train_tokens < 2) {
        fail(options.input, fmt::format("{} tokens are too few to train on", report.train_tokens));
    }
    if (report.validation_tokens > 0) {
        report.validation_shards = hold_out_tail(folder, report.train_shards, report.train_tokens,
                                                 info, options.shard_tokens);
    }
    if (report.validation_tokens < 2) {
        report.notes.push_back(
            fmt::format("only {} tokens are held out: there is nothing to validate on",
                        report.validation_tokens));
    }
}

void add_notes(const TextInput& input, const Tokenizer& tokenizer, PrepareReport& report) {
    if (input.skipped_links > 0)
        report.notes.push_back(fmt::format("{} links were left out", input.skipped_links));
    if (input.skipped_empty > 0) {
        report.notes.push_back(fmt::format("{} empty files were left out", input.skipped_empty));
    }
    if (report.replaced_bytes > 0) {
        report.notes.push_back(
            fmt::format("{} bytes are not UTF-8 and were read as U+FFFD", report.replaced_bytes));
    }
    if (report.documents > 1 && !tokenizer.end_of_text()) {
        report.notes.emplace_back(
            "this tokenizer has no end of text: documents follow each other without a mark");
    }
}

std::string part_text(std::uint64_t tokens, std::size_t shards) {
    return fmt::format("{} tokens in {} {}", with_separators(static_cast<std::int64_t>(tokens)),
                       shards, shards == 1 ? "shard" : "shards");
}

}  // namespace

PrepareReport prepare_data(const PrepareOptions& options) {
    const auto start = std::chrono::steady_clock::now();
    check_options(options);
    const TokenizerSpec spec = parse_tokenizer_spec(options.tokenizer);
    TextInput input = find_text(options);
    TemporaryFolder folder(options.output_directory);
    try {
        if (input.is_stream() && spec.reads_text_first()) spool(input, folder.path(), options);
        const std::unique_ptr<Tokenizer> tokenizer = make_tokenizer(spec, input, options);
        const ShardInfo info{.vocab_size = tokenizer->vocab_size(),
                             .tokenizer_hash = tokenizer->hash()};
        ShardSequence shards(folder.path(), Split::train, info, options.shard_tokens);
        const Encoded encoded = encode_all(input, *tokenizer, shards, options);
        const std::uint64_t size = shards.size();

        PrepareReport report{.output_directory = options.output_directory,
                             .tokenizer = tokenizer->name(),
                             .vocab_size = tokenizer->vocab_size(),
                             .documents = input.documents.size(),
                             .replaced_bytes = encoded.replaced_bytes,
                             .train_shards = shards.finish()};
        for (const InputDocument& document : input.documents) report.input_bytes += document.bytes;
        if (report.input_bytes == 0) fail(input.documents.front().name, "it is empty");
        split_tokens(folder.path(), options, info, size, report);
        add_notes(input, *tokenizer, report);
        fs::remove(folder.path() / "spooled_input.tmp");
        write_meta(folder.path(), report, input, *tokenizer, encoded, options.validation_fraction);
        folder.commit();
        report.seconds =
            std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
        return report;
    } catch (const fs::filesystem_error& error) {
        throw IoError(
            fmt::format("{}: error: {}", options.output_directory.string(), error.what()));
    }
}

std::string PrepareReport::to_text() const {
    std::string text = fmt::format("Prepared {}\n", output_directory.string());
    const auto add = [&](std::string_view label, const std::string& value) {
        text += fmt::format("  {:<12}{}\n", label, value);
    };
    add("Tokenizer", fmt::format("{}, {} tokens", tokenizer, with_separators(vocab_size)));
    add("Input", fmt::format("{} {}, {}", with_separators(static_cast<std::int64_t>(documents)),
                             documents == 1 ? "document" : "documents",
                             human_bytes(static_cast<double>(input_bytes))));
    add("Training", part_text(train_tokens, train_shards.size()));
    add("Validation", part_text(validation_tokens, validation_shards.size()));
    add("Time", human_seconds(seconds));
    for (const std::string& note : notes) text += fmt::format("  Note: {}\n", note);
    return text;
}

}  // namespace isoflop::data
