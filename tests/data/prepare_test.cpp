// Text to shards: what comes out, and that nothing is left behind when it fails.
#include "isoflop/data/prepare.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <nlohmann/json.hpp>
#include <thread>

#include "data/data_test_support.hpp"
#include "isoflop/data/builtin_corpus.hpp"
#include "isoflop/data/token_dataset.hpp"
#include "source_dir.hpp"

namespace isoflop::data {
namespace {

using test::refusal_of;
using test::TemporaryDirectory;
using testing::HasSubstr;

std::vector<std::int32_t> tokens_of(const std::filesystem::path& folder, Split split) {
    const TokenSource source = TokenSource::open(folder.string(), split);
    std::vector<std::int32_t> tokens(source.size());
    source.copy(0, tokens);
    return tokens;
}

/// Training and validation tokens, joined and decoded.
std::string text_of(const std::filesystem::path& folder) {
    auto tokens = tokens_of(folder, Split::train);
    const auto rest = tokens_of(folder, Split::validation);
    tokens.insert(tokens.end(), rest.begin(), rest.end());
    return load_tokenizer(folder)->decode_bytes(tokens);
}

/// A pipe that a thread fills with `count` copies of a text.
class Pipe {
public:
    Pipe(std::string text, std::size_t count = 1) {
        std::array<int, 2> ends{};
        if (::pipe(ends.data()) != 0) throw std::runtime_error("pipe failed");
        read_end_ = ends[0];
        writer_ = std::jthread([write_end = ends[1], text = std::move(text), count] {
            for (std::size_t copy = 0; copy < count; ++copy) {
                for (std::size_t done = 0; done < text.size();) {
                    const ssize_t written =
                        ::write(write_end, text.data() + done, text.size() - done);
                    if (written <= 0) break;
                    done += static_cast<std::size_t>(written);
                }
            }
            ::close(write_end);
        });
    }
    Pipe(const Pipe&) = delete;
    Pipe& operator=(const Pipe&) = delete;
    ~Pipe() { ::close(read_end_); }
    [[nodiscard]] int read_end() const { return read_end_; }

private:
    int read_end_ = -1;
    std::jthread writer_;
};

std::string sample_text(std::size_t documents) {
    std::string text;
    for (std::uint64_t index = 0; index < documents; ++index) text += builtin_document(index);
    return text;
}

TEST(PrepareData, BytesComeBackAsTheyWere) {
    const TemporaryDirectory folder;
    std::string text;
    for (int byte = 0; byte < 1000; ++byte) text += static_cast<char>(byte * 7);
    test::write_file(folder / "input", text);
    const PrepareReport report =
        prepare_data({.input = (folder / "input").string(), .output_directory = folder / "out"});
    EXPECT_EQ(report.train_tokens, 900U);
    EXPECT_EQ(report.validation_tokens, 100U);
    EXPECT_EQ(report.vocab_size, 257);
    EXPECT_EQ(report.documents, 1U);
    EXPECT_EQ(report.input_bytes, 1000U);
    EXPECT_EQ(text_of(folder / "out"), text);
    EXPECT_THAT(report.to_text(), HasSubstr("900 tokens in 1 shard"));
}

TEST(PrepareData, ShardsAndHeldOutTailAreExactForAnySizes) {
    const TemporaryDirectory folder;
    const std::string text = sample_text(3).substr(0, 700);
    test::write_file(folder / "input", text);
    int run = 0;
    for (const std::uint64_t shard_tokens : {77U, 350U, 699U, 700U, 701U}) {
        for (const double fraction : {0.0, 0.1, 0.5, 0.95}) {
            const std::filesystem::path out = folder / ("out" + std::to_string(run++));
            const PrepareReport report = prepare_data({.input = (folder / "input").string(),
                                                       .validation_fraction = fraction,
                                                       .output_directory = out,
                                                       .shard_tokens = shard_tokens});
            EXPECT_EQ(report.train_tokens, static_cast<std::uint64_t>(700 * (1 - fraction)));
            EXPECT_EQ(report.train_tokens + report.validation_tokens, 700U);
            const auto shards_for = [&](std::uint64_t tokens) {
                return (tokens + shard_tokens - 1) / shard_tokens;
            };
            EXPECT_EQ(report.train_shards.size(), shards_for(report.train_tokens));
            EXPECT_EQ(report.validation_shards.size(), shards_for(report.validation_tokens));
            const auto entries = std::distance(std::filesystem::directory_iterator(out), {});
            EXPECT_EQ(static_cast<std::size_t>(entries),
                      report.train_shards.size() + report.validation_shards.size() + 1);
            if (fraction > 0) {
                EXPECT_EQ(text_of(out), text);
            } else {
                EXPECT_THAT(refusal_of([&] { return tokens_of(out, Split::validation); }).message,
                            HasSubstr("no validation tokens"));
                EXPECT_EQ(tokens_of(out, Split::train).size(), 700U);
            }
        }
    }
}

TEST(PrepareData, SameInputGivesTheSameFolder) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", sample_text(50));
    for (const char* out : {"a", "b"}) {
        (void)prepare_data({.input = (folder / "input").string(),
                            .tokenizer = "char",
                            .output_directory = folder / out});
    }
    for (const char* name : {"meta.json", "train_000.bin", "val_000.bin"}) {
        EXPECT_EQ(test::read_file(folder / "a" / name), test::read_file(folder / "b" / name))
            << name;
        EXPECT_FALSE(test::read_file(folder / "a" / name).empty()) << name;
    }
}

TEST(PrepareData, MetaSaysWhatIsInTheFolder) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", "hello hello hello");
    (void)prepare_data({.input = (folder / "input").string(),
                        .tokenizer = "char",
                        .output_directory = folder / "out"});
    const auto meta = nlohmann::json::parse(test::read_file(folder / "out" / "meta.json"));
    EXPECT_EQ(meta["vocab_size"], 5);
    EXPECT_EQ(meta["tokenizer"]["type"], "char");
    EXPECT_EQ(meta["tokenizer"]["symbols"].dump(), R"([" ","e","h","l","o"])");
    EXPECT_EQ(meta["end_of_text"], nullptr);
    EXPECT_EQ(meta["train"]["tokens"], 15);
    EXPECT_EQ(meta["val"]["shards"][0]["file"], "val_000.bin");
    EXPECT_EQ(meta["sources"][0]["bytes"], 17);
}

TEST(PrepareData, FolderIsReadInSortedOrderWithDocumentsSeparated) {
    const TemporaryDirectory folder;
    const auto input = folder / "input";
    std::filesystem::create_directories(input / "b");
    test::write_file(input / "c.txt", "third");
    test::write_file(input / "a.txt", "first");
    test::write_file(input / "b" / "x.txt", "second");
    test::write_file(input / "empty.txt", "");
    std::filesystem::create_symlink("a.txt", input / "link.txt");
    const PrepareReport report = prepare_data(
        {.input = input.string(), .validation_fraction = 0, .output_directory = folder / "out"});
    EXPECT_EQ(report.documents, 3U);
    const auto tokens = tokens_of(folder / "out", Split::train);
    std::string shown;
    for (const std::int32_t token : tokens) shown += token == 256 ? '|' : static_cast<char>(token);
    EXPECT_EQ(shown, "first|second|third");
    EXPECT_THAT(report.to_text(),
                testing::AllOf(HasSubstr("1 links were left out"), HasSubstr("1 empty files")));

    (void)prepare_data(
        {.input = input.string(), .tokenizer = "char", .output_directory = folder / "chars"});
    const auto tokenizer = load_tokenizer(folder / "chars");
    ASSERT_TRUE(tokenizer->end_of_text());
    const auto chars = tokens_of(folder / "chars", Split::train);
    EXPECT_EQ(std::count(chars.begin(), chars.end(), *tokenizer->end_of_text()), 2);
}

TEST(PrepareData, ReadsStandardInput) {
    const TemporaryDirectory folder;
    const std::string text = sample_text(400) + "é😀";
    for (const char* tokenizer : {"byte", "char"}) {
        const Pipe pipe(text);
        const auto out = folder / tokenizer;
        const PrepareReport report = prepare_data({.input = "-",
                                                   .tokenizer = tokenizer,
                                                   .output_directory = out,
                                                   .standard_input = pipe.read_end()});
        EXPECT_EQ(report.input_bytes, text.size());
        EXPECT_EQ(text_of(out), text);
        EXPECT_FALSE(std::filesystem::exists(out / "spooled_input.tmp"));
    }
}

TEST(PrepareData, EmptyInputIsAnIoError) {
    const TemporaryDirectory folder;
    test::write_file(folder / "empty", "");
    test::write_file(folder / "one", "x");
    std::filesystem::create_directory(folder / "nothing");
    for (const char* name : {"empty", "one", "nothing", "missing"}) {
        const auto refusal = refusal_of([&] {
            return prepare_data(
                {.input = (folder / name).string(), .output_directory = folder / "out"});
        });
        EXPECT_EQ(refusal.exit_code, 3) << name;
        EXPECT_THAT(refusal.message, HasSubstr(name));
    }
    for (const char* tokenizer : {"byte", "char"}) {
        const Pipe pipe("");
        const auto refusal = refusal_of([&] {
            return prepare_data({.input = "-",
                                 .tokenizer = tokenizer,
                                 .output_directory = folder / "out",
                                 .standard_input = pipe.read_end()});
        });
        EXPECT_EQ(refusal.exit_code, 3);
        EXPECT_THAT(refusal.message, HasSubstr("standard input: error: it is empty"));
    }
    EXPECT_EQ(folder.num_entries(), 3U);
}

TEST(PrepareData, CharRefusesInvalidUtf8WithFileAndOffset) {
    const TemporaryDirectory folder;
    // The bad byte is far behind the first piece that is read, and a character lies across its end.
    std::string text(65535, 'a');
    text += "é";
    text += std::string(70000, 'b');
    const std::size_t offset = text.size();
    for (const char* ending : {"\xFF rest", "\xC3"}) {
        test::write_file(folder / "input", text + ending);
        const auto refusal = refusal_of([&] {
            return prepare_data({.input = (folder / "input").string(),
                                 .tokenizer = "char",
                                 .output_directory = folder / "out"});
        });
        EXPECT_EQ(refusal.exit_code, 3);
        EXPECT_THAT(refusal.message, HasSubstr("at byte " + std::to_string(offset) + ":"));
        EXPECT_THAT(refusal.message, HasSubstr("--tokenizer byte"));
    }
    EXPECT_EQ(folder.num_entries(), 1U);
}

TEST(PrepareData, NothingIsOverwritten) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", "some text that is long enough");
    const PrepareOptions options{.input = (folder / "input").string(),
                                 .output_directory = folder / "out"};
    std::filesystem::create_directory(folder / "out");
    EXPECT_NO_THROW((void)prepare_data(options));  // an empty folder is fine
    const std::string meta = test::read_file(folder / "out/meta.json");
    const auto refusal = refusal_of([&] { return prepare_data(options); });
    EXPECT_EQ(refusal.exit_code, 2);
    EXPECT_THAT(refusal.message, HasSubstr("not empty"));
    EXPECT_EQ(test::read_file(folder / "out/meta.json"), meta);
    PrepareOptions onto_file = options;
    onto_file.output_directory = folder / "input";
    EXPECT_EQ(refusal_of([&] { return prepare_data(onto_file); }).exit_code, 2);
    EXPECT_EQ(folder.num_entries(), 2U);
}

TEST(PrepareData, OutputMayEndInASlashAndHaveNewParents) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", "some text that is long enough");
    (void)prepare_data(
        {.input = (folder / "input").string(), .output_directory = folder / "new/parents/out/"});
    EXPECT_TRUE(std::filesystem::exists(folder / "new/parents/out/meta.json"));
}

TEST(PrepareData, BadOptionsAreUsageErrors) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", "some text that is long enough");
    const PrepareOptions good{.input = (folder / "input").string(),
                              .output_directory = folder / "out"};
    const auto refusal_with = [&](const std::function<void(PrepareOptions&)>& change) {
        PrepareOptions options = good;
        change(options);
        const auto refusal = refusal_of([&] { return prepare_data(options); });
        EXPECT_EQ(refusal.exit_code, 2) << refusal.message;
        return refusal.message;
    };
    refusal_with([](PrepareOptions& options) { options.input.clear(); });
    refusal_with([](PrepareOptions& options) { options.output_directory.clear(); });
    refusal_with([](PrepareOptions& options) { options.shard_tokens = 0; });
    for (const double fraction : {-0.1, 1.0, 2.0, std::nan("")}) {
        const auto message =
            refusal_with([&](PrepareOptions& options) { options.validation_fraction = fraction; });
        EXPECT_THAT(message, HasSubstr("--val-fraction"));
    }
    const auto message = refusal_with([](PrepareOptions& options) { options.tokenizer = "bite"; });
    EXPECT_THAT(message, testing::AllOf(HasSubstr("sentencepiece:MODEL"),
                                        HasSubstr("did you mean 'byte'?")));
    for (const char* tokenizer :
         {"", "sentencepiece", "sentencepiece:", "sentencepiece-train:", "sentencepiece-train:x",
          "sentencepiece-train:5", "sentencepiece-train:1e9"}) {
        refusal_with([&](PrepareOptions& options) { options.tokenizer = tokenizer; });
    }
    EXPECT_EQ(folder.num_entries(), 1U);
}

/// While it lives, files of this process cannot grow beyond `bytes`: a full disk for a test.
class FileSizeLimit {
public:
    explicit FileSizeLimit(rlim_t bytes) : old_handler_(std::signal(SIGXFSZ, SIG_IGN)) {
        ::getrlimit(RLIMIT_FSIZE, &old_limit_);
        const rlimit limit{.rlim_cur = bytes, .rlim_max = old_limit_.rlim_max};
        ::setrlimit(RLIMIT_FSIZE, &limit);
    }
    FileSizeLimit(const FileSizeLimit&) = delete;
    FileSizeLimit& operator=(const FileSizeLimit&) = delete;
    ~FileSizeLimit() {
        ::setrlimit(RLIMIT_FSIZE, &old_limit_);
        std::signal(SIGXFSZ, old_handler_);
    }

private:
    void (*old_handler_)(int);
    rlimit old_limit_{};
};

TEST(PrepareData, FullDiskLeavesNothingBehind) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", sample_text(2000));
    for (const rlim_t bytes : {10U, 100'000U, 500'000U}) {
        test::Refusal refusal;
        {
            const FileSizeLimit limit(bytes);
            refusal = refusal_of([&] {
                return prepare_data(
                    {.input = (folder / "input").string(), .output_directory = folder / "out"});
            });
        }
        EXPECT_EQ(refusal.exit_code, 3) << bytes;
        EXPECT_THAT(refusal.message, HasSubstr("train_000.bin': File too large"));
        EXPECT_EQ(folder.num_entries(), 1U);
    }
}

TEST(PrepareData, StopsOnRequestAndLeavesNothingBehind) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", sample_text(2000));
    std::stop_source stop;
    stop.request_stop();
    const auto refusal = refusal_of([&] {
        return prepare_data({.input = (folder / "input").string(),
                             .output_directory = folder / "out",
                             .stop = stop.get_token()});
    });
    EXPECT_THAT(refusal.message, HasSubstr("stopped on request"));
    EXPECT_EQ(folder.num_entries(), 1U);
}

TEST(PrepareData, ReportsProgressUpToTheEnd) {
    const TemporaryDirectory folder;
    const std::string text = sample_text(3000);
    test::write_file(folder / "input", text);
    std::vector<PrepareProgress> calls;
    (void)prepare_data(
        {.input = (folder / "input").string(),
         .tokenizer = "char",
         .output_directory = folder / "out",
         .progress = [&](const PrepareProgress& progress) { calls.push_back(progress); }});
    ASSERT_GE(calls.size(), 2U);
    EXPECT_EQ(calls.front().stage, "reading the alphabet");
    EXPECT_EQ(calls.back().stage, "writing tokens");
    EXPECT_EQ(calls.back().bytes_done, text.size());
    EXPECT_EQ(calls.back().bytes_total, text.size());
    EXPECT_EQ(calls.back().tokens, text.size());
    EXPECT_TRUE(calls.back().finished);
    EXPECT_GT(calls.back().bytes_per_second, 0);
    EXPECT_EQ(calls.back().seconds_left, 0.0);
}

std::uint64_t anonymous_memory_bytes() {
    std::ifstream status("/proc/self/status");
    for (std::string line; std::getline(status, line);) {
        if (line.starts_with("RssAnon:")) return std::stoull(line.substr(8)) * 1024;
    }
    return 0;
}

TEST(PrepareData, FiftyMegabytesPassThroughInConstantMemory) {
    if (test::kHasSanitizer) GTEST_SKIP() << "a sanitizer keeps freed memory";
    if (anonymous_memory_bytes() == 0) GTEST_SKIP() << "this system does not report RssAnon";
    const TemporaryDirectory folder;
    const std::string text = sample_text(200);
    const std::size_t copies = 50'000'000 / text.size() + 1;
    for (const char* tokenizer : {"byte", "char"}) {
        const Pipe pipe(text, copies);
        const std::uint64_t before = anonymous_memory_bytes();
        std::uint64_t peak = before;
        const PrepareReport report = prepare_data(
            {.input = "-",
             .tokenizer = tokenizer,
             .output_directory = folder / tokenizer,
             .shard_tokens = 10'000'000,
             .progress =
                 [&](const PrepareProgress&) { peak = std::max(peak, anonymous_memory_bytes()); },
             .standard_input = pipe.read_end()});
        EXPECT_EQ(report.train_tokens + report.validation_tokens, text.size() * copies);
        EXPECT_LT(peak - before, 8U << 20U);  // buffers of 64 KiB, and 50 MB would be seen
    }
}

std::filesystem::path tiny_shakespeare() {
    if (const char* path = std::getenv("ISOFLOP_TINYSHAKESPEARE")) return path;
    const std::filesystem::path source = ISOFLOP_SOURCE_DIR;
    const auto inside = source / "data/tinyshakespeare.txt";
    return std::filesystem::exists(inside)
               ? inside
               : source.parent_path() / "shared/data/tinyshakespeare.txt";
}

// Figures that nanoGPT's data/shakespeare_char/prepare.py prints.
TEST(PrepareData, TinyShakespeareHasNanoGptsFigures) {
    if (!std::filesystem::exists(tiny_shakespeare())) {
        GTEST_SKIP() << "no tinyshakespeare.txt; name it in ISOFLOP_TINYSHAKESPEARE";
    }
    const TemporaryDirectory folder;
    const PrepareReport report = prepare_data({.input = tiny_shakespeare().string(),
                                               .tokenizer = "char",
                                               .output_directory = folder / "out"});
    EXPECT_EQ(report.vocab_size, 65);
    EXPECT_EQ(report.train_tokens, 1'003'854U);
    EXPECT_EQ(report.validation_tokens, 111'540U);
    EXPECT_EQ(text_of(folder / "out"), test::read_file(tiny_shakespeare()));
    EXPECT_TRUE(load_tokenizer(folder / "out")
                    ->decode(tokens_of(folder / "out", Split::train))
                    .starts_with("First Citizen:"));
}

TEST(PreparedFolder, DamageIsFound) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", sample_text(20));
    const auto out = folder / "out";
    (void)prepare_data(
        {.input = (folder / "input").string(), .output_directory = out, .shard_tokens = 1000});
    const std::string meta = test::read_file(out / "meta.json");
    const auto refusal = [&] { return refusal_of([&] { return tokens_of(out, Split::train); }); };
    EXPECT_EQ(refusal().exit_code, 0);

    test::write_file(out / "meta.json", meta.substr(0, meta.size() / 2));
    EXPECT_THAT(refusal().message, HasSubstr("meta.json' is damaged"));
    auto changed = nlohmann::json::parse(meta);
    changed["train"]["shards"][0]["tokens"] = 999;
    test::write_file(out / "meta.json", changed.dump());
    EXPECT_THAT(refusal().message, HasSubstr("the meta.json beside it gives 999"));
    changed = nlohmann::json::parse(meta);
    changed["train"]["shards"][0]["file"] = "../input";
    test::write_file(out / "meta.json", changed.dump());
    EXPECT_THAT(refusal().message, HasSubstr("not a plain file name"));
    changed = nlohmann::json::parse(meta);
    changed["tokenizer_hash"] = "zz";
    test::write_file(out / "meta.json", changed.dump());
    EXPECT_EQ(refusal().exit_code, 3);
    changed["tokenizer_hash"] = "12";
    test::write_file(out / "meta.json", changed.dump());
    EXPECT_THAT(refusal().message, HasSubstr("another tokenizer"));

    test::write_file(out / "meta.json", meta);
    EXPECT_EQ(refusal().exit_code, 0);
    std::filesystem::remove(out / "train_001.bin");
    EXPECT_THAT(refusal().message, HasSubstr("train_001.bin: error: no such file"));
}

TEST(PreparedFolder, GlobOfItsShardsFindsTheTokenizer) {
    const TemporaryDirectory folder;
    test::write_file(folder / "input", sample_text(20));
    (void)prepare_data({.input = (folder / "input").string(),
                        .tokenizer = "char",
                        .output_directory = folder / "out"});
    const TokenDataset dataset =
        TokenDataset::open((folder / "out/train*.bin").string(), Split::train);
    ASSERT_NE(dataset.tokenizer(), nullptr);
    EXPECT_EQ(dataset.tokenizer()->name(), "char");
    EXPECT_EQ(dataset.tokenizer()->vocab_size(), dataset.vocab_size());
}

}  // namespace
}  // namespace isoflop::data
