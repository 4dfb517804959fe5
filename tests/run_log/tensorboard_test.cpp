// Event files, read back by a reader of their own: another CRC32C, another decoder. Where
// TensorBoard is installed, it reads them as well.
#include "isoflop/run_log/tensorboard.hpp"

#include <gmock/gmock.h>
#include <sys/wait.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdio>
#include <map>
#include <set>
#include <sstream>
#include <utility>

#include "run_log/run_log_test_support.hpp"
#include "source_dir.hpp"

namespace isoflop::run_log {
namespace {

using testing::HasSubstr;
/// By tag and step.
using Scalars = std::map<std::pair<std::string, std::int64_t>, double>;

/// Bit by bit, from the definition: reflected polynomial 0x1EDC6F41.
std::uint32_t reference_crc32c(std::string_view bytes) {
    std::uint32_t remainder = 0xFFFFFFFF;
    for (const char byte : bytes) {
        remainder ^= static_cast<unsigned char>(byte);
        for (int bit = 0; bit < 8; ++bit) {
            remainder = (remainder >> 1U) ^ ((remainder & 1U) != 0 ? 0x82F63B78U : 0U);
        }
    }
    return ~remainder;
}

std::uint32_t unmasked(std::uint32_t masked) {
    const std::uint32_t rotated = masked - 0xA282EAD8U;
    return (rotated >> 17U) | (rotated << 15U);
}

std::uint64_t little_endian(std::string_view bytes) {
    std::uint64_t value = 0;
    for (std::size_t i = bytes.size(); i-- > 0;) {
        value = (value << 8U) | static_cast<unsigned char>(bytes[i]);
    }
    return value;
}

/// The records of a file; every length and checksum is checked.
std::vector<std::string> records_of(const std::string& file) {
    std::vector<std::string> records;
    std::string_view rest = file;
    const auto take = [&](std::size_t count) {
        EXPECT_GE(rest.size(), count) << "a record is cut short";
        const std::string_view bytes = rest.substr(0, count);
        rest.remove_prefix(std::min(count, rest.size()));
        return bytes;
    };
    while (!rest.empty()) {
        const std::string_view length = take(8);
        EXPECT_EQ(unmasked(static_cast<std::uint32_t>(little_endian(take(4)))),
                  reference_crc32c(length));
        const std::string_view bytes = take(little_endian(length));
        EXPECT_EQ(unmasked(static_cast<std::uint32_t>(little_endian(take(4)))),
                  reference_crc32c(bytes));
        records.emplace_back(bytes);
    }
    return records;
}

/// The fields of a message in order: number, and the value as its bytes or as a number's bits.
struct Field {
    std::uint64_t number = 0;
    std::uint64_t bits = 0;
    std::string_view bytes;
};

std::vector<Field> fields_of(std::string_view message) {
    std::vector<Field> fields;
    const auto take = [&](std::size_t count) {
        const std::string_view bytes = message.substr(0, count);
        message.remove_prefix(std::min(count, message.size()));
        return bytes;
    };
    const auto varint = [&] {
        std::uint64_t value = 0;
        for (unsigned shift = 0; !message.empty(); shift += 7) {
            const auto byte = static_cast<unsigned char>(take(1)[0]);
            value |= static_cast<std::uint64_t>(byte & 0x7FU) << shift;
            if (byte < 0x80) break;
        }
        return value;
    };
    while (!message.empty()) {
        const std::uint64_t key = varint();
        Field field{.number = key >> 3U, .bits = 0, .bytes = {}};
        switch (key & 7U) {
            case 0: field.bits = varint(); break;
            case 1: field.bits = little_endian(take(8)); break;
            case 2: field.bytes = take(varint()); break;
            case 5: field.bits = little_endian(take(4)); break;
            default: ADD_FAILURE() << "unknown wire type in key " << key; return fields;
        }
        fields.push_back(field);
    }
    return fields;
}

struct Event {
    double wall_time = 0;
    std::int64_t step = 0;
    std::string file_version;
    std::optional<std::uint64_t> session_status;
    std::vector<std::pair<std::string, float>> values;
};

Event event_of(std::string_view record) {
    Event event;
    for (const Field& field : fields_of(record)) {
        if (field.number == 1) event.wall_time = std::bit_cast<double>(field.bits);
        if (field.number == 2) event.step = static_cast<std::int64_t>(field.bits);
        if (field.number == 3) event.file_version = field.bytes;
        if (field.number == 7) event.session_status = fields_of(field.bytes).at(0).bits;
        if (field.number != 5) continue;
        for (const Field& value : fields_of(field.bytes)) {
            std::pair<std::string, float> scalar;
            for (const Field& part : fields_of(value.bytes)) {
                if (part.number == 1) scalar.first = part.bytes;
                if (part.number == 2) {
                    scalar.second = std::bit_cast<float>(static_cast<std::uint32_t>(part.bits));
                }
            }
            event.values.push_back(scalar);
        }
    }
    return event;
}

Scalars scalars_of(const std::filesystem::path& path) {
    Scalars scalars;
    for (const std::string& record : records_of(text_of(path))) {
        const Event event = event_of(record);
        for (const auto& [tag, value] : event.values) scalars[{tag, event.step}] = value;
    }
    return scalars;
}

class TensorBoard : public RunLogTest {
protected:
    /// Iterations 0 to 10, with an evaluation at the end.
    void write_example(TensorBoardWriter& writer) {
        for (std::int64_t iter = 0; iter <= 10; ++iter) writer.add(example_iteration(iter));
        writer.add(example_evaluation(10, 3.5));
    }
};

TEST_F(TensorBoard, ReferenceChecksumHasItsPublishedValue) {
    EXPECT_EQ(reference_crc32c("123456789"), 0xE3069283U);
}

TEST_F(TensorBoard, FileStartsWithItsVersion) {
    const TensorBoardWriter writer(folder());
    EXPECT_THAT(writer.path().filename().string(),
                testing::MatchesRegex("events\\.out\\.tfevents\\.[0-9]{10}\\..+\\.[0-9]+"));
    const auto records = records_of(text_of(writer.path()));
    ASSERT_EQ(records.size(), 1U);
    const Event event = event_of(records[0]);
    EXPECT_EQ(event.file_version, "brain.Event:2");
    EXPECT_GT(event.wall_time, 1.7e9);
}

TEST_F(TensorBoard, EveryScalarComesBack) {
    TensorBoardWriter writer(folder());
    write_example(writer);
    const Scalars scalars = scalars_of(writer.path());
    const auto expect = [&](const std::string& tag, std::int64_t step, double value) {
        const auto found = scalars.find({tag, step});
        ASSERT_NE(found, scalars.end()) << tag;
        EXPECT_EQ(found->second, static_cast<double>(static_cast<float>(value))) << tag;
    };
    for (std::int64_t iter = 0; iter <= 10; ++iter) {
        expect("loss/train", iter, example_iteration(iter).loss);
        expect("lr", iter, 1e-3 / 3.0);
        expect("grad_norm", iter, 1.25);
        expect("memory/max_allocated_gb", iter, 0.375);
        EXPECT_EQ(scalars.count({"mfu", iter}), iter < 5 ? 0U : 1U);
    }
    expect("loss/val", 10, 3.5);
    expect("mfu", 10, 0.4);
    expect("hfu", 10, 0.45);
    expect("tokens_per_sec", 10, 10172.5);
    expect("gradients/std", 10, 1e-3);
}

TEST_F(TensorBoard, LargeStepsAndNumbersThatAreNotFinite) {
    TensorBoardWriter writer(folder());
    constexpr std::int64_t kStep = (std::int64_t{1} << 40) + 300;
    const std::array<TensorBoardScalar, 2> values{{{"nan", std::nan("")}, {"huge", 1e300}}};
    writer.add(kStep, values);
    Scalars scalars = scalars_of(writer.path());
    EXPECT_TRUE(std::isnan(scalars.at({"nan", kStep})));
    EXPECT_TRUE(std::isinf(scalars.at({"huge", kStep})));
}

TEST_F(TensorBoard, AResumedRunSaysWhereItStarts) {
    const TensorBoardWriter first(folder());
    const TensorBoardWriter second(folder(), 300);
    EXPECT_NE(first.path(), second.path());
    const auto records = records_of(text_of(second.path()));
    ASSERT_EQ(records.size(), 2U);
    EXPECT_EQ(event_of(records[1]).session_status, 1U);
    EXPECT_EQ(event_of(records[1]).step, 300);
}

/// Files in the order of their sessions, as TensorBoard reads them: the start of a session at a
/// step removes what earlier ones have from there on.
std::multiset<std::pair<std::string, std::int64_t>> shown_by_tensorboard(
    const std::filesystem::path& folder) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (entry.path().filename().string().starts_with("events.out.tfevents"))
            files.push_back(entry.path());
    }
    std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) {
        return std::filesystem::last_write_time(a) < std::filesystem::last_write_time(b);
    });
    std::multiset<std::pair<std::string, std::int64_t>> shown;
    for (const std::filesystem::path& file : files) {
        for (const std::string& record : records_of(text_of(file))) {
            const Event event = event_of(record);
            if (event.session_status) {
                std::erase_if(shown,
                              [&](const auto& scalar) { return scalar.second >= event.step; });
            }
            for (const auto& [tag, value] : event.values) shown.insert({tag, event.step});
        }
    }
    return shown;
}

TEST_F(TensorBoard, AResumeKeepsTheEvaluationOfItsCheckpointOnce) {
    const std::filesystem::path run = folder() / "run";
    RunLogOptions options;
    options.tensorboard = true;
    options.keep_boundary = true;
    {
        RunLog log = RunLog::create(run, "run", example_config(), example_metadata(),
                                    example_startup(), options);
        for (std::int64_t iter = 0; iter < 10; ++iter) {
            log.add(example_iteration(iter));
            if (iter % 3 == 2) log.add(example_evaluation(iter + 1, 4.0));
        }
    }
    for (const std::int64_t from : {6, 6, 9}) {  // evaluated; the later evaluations come again
        RunLog log = RunLog::resume(run, from, options);
        for (std::int64_t iter = from; iter < 10; ++iter) {
            log.add(example_iteration(iter));
            if (iter % 3 == 2) log.add(example_evaluation(iter + 1, 4.0));
        }
    }
    const auto shown = shown_by_tensorboard(run);
    for (const std::int64_t evaluated : {3, 6, 9})
        EXPECT_EQ(shown.count({"loss/val", evaluated}), 1U) << evaluated;
    for (std::int64_t iter = 0; iter < 10; ++iter)
        EXPECT_EQ(shown.count({"loss/train", iter}), 1U) << iter;
}

TEST_F(TensorBoard, TensorBoardItselfReadsEveryScalar) {
    Scalars written;
    {
        TensorBoardWriter writer(folder());
        write_example(writer);
        written = scalars_of(writer.path());
    }
    // Goes on at iteration 8: what was there after 8 is gone.
    TensorBoardWriter resumed(folder(), 8);
    resumed.add(example_iteration(8));
    const char* const python = std::getenv("ISOFLOP_TEST_PYTHON");
    const std::string command = std::string(python != nullptr ? python : "python3") + " '" +
                                ISOFLOP_SOURCE_DIR "/tests/run_log/read_event_file.py' '" +
                                folder().string() + "' 2>/dev/null";
    std::FILE* const pipe = ::popen(command.c_str(), "r");
    ASSERT_NE(pipe, nullptr);
    std::string output;
    std::array<char, 4096> piece{};
    while (const std::size_t count = std::fread(piece.data(), 1, piece.size(), pipe)) {
        output.append(piece.data(), count);
    }
    const int status = ::pclose(pipe);
    const int exit_status = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    if (exit_status == 77 || exit_status == 127) {
        GTEST_SKIP() << "no Python with TensorBoard; ISOFLOP_TEST_PYTHON can name one";
    }
    ASSERT_EQ(exit_status, 0);
    Scalars read;
    std::istringstream lines(output);
    std::string tag;
    std::int64_t step = 0;
    double value = 0;
    while (lines >> tag >> step >> value) read[{tag, step}] = value;
    std::erase_if(written, [](const auto& entry) { return entry.first.second > 8; });
    EXPECT_EQ(read, written);
}

}  // namespace
}  // namespace isoflop::run_log
