#include "isoflop/checkpoint/safetensors.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "checkpoint_test_support.hpp"
#include "isoflop/base/checksum.hpp"
#include "isoflop/base/half_precision.hpp"

namespace isoflop::checkpoint {
namespace {

using test::error_of;
using test::TemporaryDirectory;
using ::testing::HasSubstr;

std::string safetensors_text(const std::string& header, const std::string& data) {
    std::string text(8, '\0');
    const std::uint64_t length = header.size();
    std::memcpy(text.data(), &length, sizeof length);
    return text + header + data;
}

/// A file of two tensors.
FileSummary write_sample(const std::filesystem::path& path) {
    SafetensorsWriter writer(
        path,
        {{.name = "a", .type = ElementType::f32, .shape = {2, 3}},
         {.name = "b \"quoted\" \xC3\xA4", .type = ElementType::f32, .shape = {4}}},
        {{"format", "pt"}});
    writer.write(std::vector<float>{1, 2, 3, 4, 5, 6});
    writer.write(std::vector<float>{7, 8});
    writer.write(std::vector<float>{9, 10});
    return writer.finish();
}

std::vector<float> values_of(const SafetensorsFile& file, const std::string& name) {
    const TensorEntry* tensor = file.find(name);
    if (tensor == nullptr) throw std::logic_error(name);
    std::vector<float> values(static_cast<std::size_t>(tensor->elements()));
    file.read(*tensor, 0, std::span<float>(values));
    return values;
}

TEST(Safetensors, ReadsWhatItWrote) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    const FileSummary summary = write_sample(path);
    const SafetensorsFile file(path);
    ASSERT_EQ(file.tensors().size(), 2U);
    EXPECT_EQ(file.tensors()[0].name, "a");
    EXPECT_THAT(file.tensors()[0].shape, ::testing::ElementsAre(2, 3));
    EXPECT_EQ(file.metadata().at("format"), "pt");
    EXPECT_THAT(values_of(file, "a"), ::testing::ElementsAre(1, 2, 3, 4, 5, 6));
    EXPECT_THAT(values_of(file, "b \"quoted\" \xC3\xA4"), ::testing::ElementsAre(7, 8, 9, 10));
    EXPECT_EQ(file.find("c"), nullptr);
    EXPECT_EQ(summary.bytes, std::filesystem::file_size(path));
    EXPECT_EQ(summary.checksum, crc32c(test::read_file(path)));
}

TEST(Safetensors, HeaderIsPaddedToEightBytes) {
    const TemporaryDirectory folder;
    for (std::size_t length = 1; length < 20; ++length) {
        const auto path = folder.path() / "x.safetensors";
        SafetensorsWriter writer(
            path, {{.name = std::string(length, 'n'), .type = ElementType::u8, .shape = {0}}});
        static_cast<void>(writer.finish());
        EXPECT_EQ(std::filesystem::file_size(path) % 8, 0U);
        EXPECT_EQ(test::read_file(path)[8], '{');
    }
}

TEST(Safetensors, StoresEveryFloatingType) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    const std::vector<float> values = test::random_values(10000, 5);
    SafetensorsWriter writer(path,
                             {{.name = "f64", .type = ElementType::f64, .shape = {100, 100}},
                              {.name = "f32", .type = ElementType::f32, .shape = {10000}},
                              {.name = "bf16", .type = ElementType::bf16, .shape = {10000}},
                              {.name = "f16", .type = ElementType::f16, .shape = {10, 1000}}});
    for (int i = 0; i < 4; ++i) writer.write(values);
    static_cast<void>(writer.finish());
    const SafetensorsFile file(path);
    EXPECT_EQ(values_of(file, "f64"), values);
    EXPECT_EQ(values_of(file, "f32"), values);
    const std::vector<float> bfloat16 = values_of(file, "bf16");
    const std::vector<float> float16 = values_of(file, "f16");
    std::vector<double> wide(3);
    file.read(*file.find("f64"), 9997, std::span<double>(wide));
    EXPECT_EQ(wide[2], static_cast<double>(values.back()));
    for (std::size_t i = 0; i < values.size(); ++i) {
        ASSERT_EQ(bfloat16[i], bfloat16_to_float(float_to_bfloat16(values[i])));
        ASSERT_EQ(float16[i], float16_to_float(float_to_float16(values[i])));
    }
}

TEST(Safetensors, KeepsIntegersScalarsAndEmptyTensors) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    SafetensorsWriter writer(path, {{.name = "i64", .type = ElementType::i64, .shape = {2}},
                                    {.name = "empty", .type = ElementType::f32, .shape = {3, 0}},
                                    {.name = "scalar", .type = ElementType::f32, .shape = {}}});
    const std::array<std::int64_t, 2> integers = {-1, std::int64_t{1} << 60};
    writer.write_bytes(std::as_bytes(std::span(integers)));
    writer.write(std::vector<float>{0.5F});
    static_cast<void>(writer.finish());
    const SafetensorsFile file(path);
    std::array<std::int64_t, 2> stored{};
    file.read_bytes(*file.find("i64"), 0, std::as_writable_bytes(std::span(stored)));
    EXPECT_EQ(stored, integers);
    EXPECT_THROW(file.read_bytes(*file.find("i64"), 1, std::as_writable_bytes(std::span(stored))),
                 std::out_of_range);
    EXPECT_EQ(file.find("empty")->elements(), 0);
    EXPECT_THAT(values_of(file, "scalar"), ::testing::ElementsAre(0.5F));
    EXPECT_THAT(error_of([&] { static_cast<void>(values_of(file, "i64")); }), HasSubstr("I64"));
}

TEST(Safetensors, RangesOutsideTheTensorAreRefused) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    write_sample(path);
    const SafetensorsFile file(path);
    std::vector<float> values(3);
    const TensorEntry& tensor = *file.find("a");
    file.read(tensor, 3, std::span<float>(values));
    EXPECT_THAT(values, ::testing::ElementsAre(4, 5, 6));
    EXPECT_THROW(file.read(tensor, 4, std::span<float>(values)), std::out_of_range);
    EXPECT_THROW(file.read(tensor, -1, std::span<float>(values)), std::out_of_range);
    EXPECT_THROW(file.read(tensor, 7, std::span<float>(values).first(0)), std::out_of_range);
}

TEST(Safetensors, WriterChecksThatTheValuesFitTheDeclarations) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    const std::vector<TensorDeclaration> two = {
        {.name = "a", .type = ElementType::f32, .shape = {2}},
        {.name = "b", .type = ElementType::f32, .shape = {2}}};
    {
        SafetensorsWriter writer(path, two);
        EXPECT_THROW(writer.write(std::vector<float>{1, 2, 3}), std::logic_error);
        writer.write(std::vector<float>{1, 2});
        EXPECT_THROW(static_cast<void>(writer.finish()), std::logic_error);
        writer.write(std::vector<float>{3, 4});
        EXPECT_THROW(writer.write(std::vector<float>{5}), std::logic_error);
        EXPECT_FALSE(std::filesystem::exists(path)) << "it must have its name only when complete";
    }
    EXPECT_TRUE(std::filesystem::is_empty(folder.path())) << "an abandoned writer leaves nothing";
    EXPECT_THROW(SafetensorsWriter(path, {two[0], two[0]}), std::logic_error);
    EXPECT_THROW(
        SafetensorsWriter(path, {{.name = "h", .type = ElementType::f16, .shape = {1}}, two[0]}),
        std::logic_error);
    EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(Safetensors, AFileThatCannotBeWrittenIsAnIoErrorThatNamesIt) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    std::filesystem::create_directory(path.string() + ".writing");
    EXPECT_THAT(error_of([&] { write_sample(path); }), HasSubstr("x.safetensors"));
    EXPECT_FALSE(std::filesystem::exists(path));
}

/// As a run in a folder that others can write to: what they linked is not written to.
TEST(Safetensors, NothingIsWrittenThroughALink) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    test::write_file(folder.path() / "precious", "precious");
    std::filesystem::create_symlink(folder.path() / "precious", path.string() + ".writing");
    std::filesystem::create_symlink(folder.path() / "precious", path);
    write_sample(path);
    EXPECT_EQ(test::read_file(folder.path() / "precious"), "precious");
    EXPECT_EQ(SafetensorsFile(path).tensors().size(), 2U);
}

TEST(Safetensors, TruncatedWhileInUseIsAnIoErrorThatNamesIt) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    write_sample(path);
    const SafetensorsFile file(path);
    std::filesystem::resize_file(path, 100);
    const std::string message = error_of([&] { static_cast<void>(values_of(file, "a")); });
    EXPECT_THAT(message, HasSubstr("x.safetensors"));
    EXPECT_THAT(message, HasSubstr("truncated while it was in use"));
}

TEST(Safetensors, MissingFileAndFolderAreIoErrors) {
    const TemporaryDirectory folder;
    EXPECT_THAT(error_of([&] { SafetensorsFile file(folder.path() / "none"); }),
                HasSubstr("No such file"));
    EXPECT_THAT(error_of([&] { SafetensorsFile file(folder.path()); }), HasSubstr("not a file"));
    EXPECT_THROW(SafetensorsWriter(folder.path() / "no" / "x", {}), IoError);
}

struct Malformed {
    std::string name;
    std::string text;
    std::string complaint;
};

std::string entry(const std::string& name, const std::string& begin, const std::string& end,
                  const std::string& shape = "[1]", const std::string& type = "\"F32\"") {
    return "\"" + name + R"(":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":[)" +
           begin + "," + end + "]}";
}

std::vector<Malformed> malformed_files() {
    const std::string four(4, 'x');
    const std::string eight(8, 'x');
    const auto one = [&](const std::string& header, const std::string& data) {
        return safetensors_text(header, data);
    };
    return {
        {"Empty", "", "0 bytes"},
        {"ShorterThanItsLength", "1234567", "7 bytes"},
        {"LengthBeyondTheFile", std::string("\xFF\xFF\0\0\0\0\0\0", 8) + "{}",
         "header claims 65535"},
        {"LengthBeyondAnyFile", std::string(8, '\xFF') + "{}", "header claims"},
        {"NoJson", one("hello", ""), "not JSON"},
        {"HeaderIsAList", one("[]", ""), "not a JSON object"},
        {"InvalidUtf8", one("{\"\xFF\":1}", ""), "not JSON"},
        {"DeepNesting", one(std::string(5000, '[') + std::string(5000, ']'), ""), "nested"},
        {"DuplicateName", one("{" + entry("a", "0", "4") + "," + entry("a", "4", "8") + "}", eight),
         "'a' twice"},
        {"DuplicateKey",
         one(R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", four),
         "'dtype' twice"},
        {"Overlap",
         one("{" + entry("a", "0", "4") + "," + entry("b", "2", "6") + "}", std::string(6, 'x')),
         "overlap"},
        {"SameBytesTwice", one("{" + entry("a", "0", "4") + "," + entry("b", "0", "4") + "}", four),
         "overlap"},
        {"Gap",
         one("{" + entry("a", "0", "4") + "," + entry("b", "5", "9") + "}", std::string(9, 'x')),
         "a gap"},
        {"GapAtTheBegin", one("{" + entry("a", "4", "8") + "}", eight), "a gap"},
        {"BytesLeftOver", one("{" + entry("a", "0", "4") + "}", eight), "the file holds 8"},
        {"BytesMissing", one("{" + entry("a", "0", "4") + "}", "xx"), "truncated"},
        {"OffsetsReversed", one("{" + entry("a", "4", "0") + "}", four), "truncated or damaged"},
        {"OffsetOverflow", one("{" + entry("a", "0", "18446744073709551615") + "}", four),
         "not a size"},
        {"NegativeOffset", one("{" + entry("a", "-4", "0") + "}", four), "not a size"},
        {"FractionalOffset", one("{" + entry("a", "0", "4.0") + "}", four), "not a size"},
        {"ShapeDisagrees", one("{" + entry("a", "0", "4", "[2]") + "}", four),
         "has 4 bytes of data"},
        {"ShapeOverflows", one("{" + entry("a", "0", "4", "[4294967296,4294967297]") + "}", four),
         "has 4 bytes of data"},
        {"NegativeExtent", one("{" + entry("a", "0", "4", "[-1]") + "}", four), "not a size"},
        {"ShapeIsNoList", one("{" + entry("a", "0", "4", "1") + "}", four), "not a list"},
        {"UnknownType", one("{" + entry("a", "0", "4", "[1]", "\"F33\"") + "}", four),
         "unknown dtype"},
        {"TypeIsNoText", one("{" + entry("a", "0", "4", "[1]", "32") + "}", four), "unknown dtype"},
        {"EntryIsNoObject", one(R"({"a":1})", ""), "not an object"},
        {"NoOffsets", one(R"({"a":{"dtype":"F32","shape":[1]}})", four), "no 'data_offsets'"},
        {"ThreeOffsets", one(R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,2,4]}})", four),
         "not a pair"},
        {"MetadataOfNumbers", one(R"({"__metadata__":{"a":1}})", ""), "not a string"},
        {"MetadataIsAList", one(R"({"__metadata__":[]})", ""), "not an object"},
        {"TrailingText", one("{} x", ""), "not JSON"},
    };
}

class SafetensorsMalformed : public ::testing::TestWithParam<Malformed> {};

TEST_P(SafetensorsMalformed, IsRefusedWithItsName) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "bad.safetensors";
    test::write_file(path, GetParam().text);
    const std::string message = error_of([&] { SafetensorsFile file(path); });
    EXPECT_THAT(message, HasSubstr("bad.safetensors"));
    EXPECT_THAT(message, HasSubstr(GetParam().complaint));
}

INSTANTIATE_TEST_SUITE_P(Files, SafetensorsMalformed, ::testing::ValuesIn(malformed_files()),
                         [](const auto& instance) { return instance.param.name; });

TEST(Safetensors, EveryTruncationIsRefused) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    write_sample(path);
    for (std::uintmax_t size = std::filesystem::file_size(path); size-- > 0;) {
        std::filesystem::resize_file(path, size);
        ASSERT_THROW(SafetensorsFile file(path), IoError) << size;
    }
}

/// A flipped bit in the header gives an error or another valid file, never a read outside the file.
TEST(Safetensors, AnyBitOfTheHeaderMayFlip) {
    const TemporaryDirectory folder;
    const auto path = folder.path() / "x.safetensors";
    write_sample(path);
    const std::size_t header_bits = (std::filesystem::file_size(path) - 40) * 8;
    std::size_t refused = 0;
    for (std::size_t bit = 0; bit < header_bits; ++bit) {
        test::flip_bit(path, bit);
        try {
            const SafetensorsFile file(path);
            for (const TensorEntry& tensor : file.tensors()) {
                std::vector<std::byte> bytes(tensor.end - tensor.begin);
                EXPECT_LE(bytes.size(), 40U);
                file.read_bytes(tensor, 0, bytes);
            }
        } catch (const IoError&) {
            ++refused;
        }
        test::flip_bit(path, bit);
    }
    EXPECT_GT(refused, header_bits / 2);
}

}  // namespace
}  // namespace isoflop::checkpoint
