#include "isoflop/base/checksum.hpp"

#include <gtest/gtest.h>

#include <numeric>
#include <random>
#include <vector>

namespace isoflop {
namespace {

std::vector<std::byte> bytes_of(std::initializer_list<int> pattern, std::size_t count) {
    std::vector<std::byte> bytes;
    for (std::size_t i = 0; i < count; ++i) {
        bytes.push_back(static_cast<std::byte>(
            *(pattern.begin() + static_cast<std::ptrdiff_t>(i % pattern.size()))));
    }
    return bytes;
}

struct Implementation {
    const char* name;
    std::uint32_t (*function)(std::span<const std::byte>, std::uint32_t);
};

class Crc32c : public ::testing::TestWithParam<Implementation> {};

// RFC 3720, appendix B.4, and the usual check value.
TEST_P(Crc32c, GivesPublishedValues) {
    const auto crc = [&](const std::vector<std::byte>& bytes) {
        return GetParam().function(bytes, 0);
    };
    EXPECT_EQ(crc({}), 0U);
    EXPECT_EQ(crc(bytes_of({'1', '2', '3', '4', '5', '6', '7', '8', '9'}, 9)), 0xE3069283U);
    EXPECT_EQ(crc(bytes_of({0}, 32)), 0x8A9136AAU);
    EXPECT_EQ(crc(bytes_of({0xFF}, 32)), 0x62A8AB43U);
    std::vector<std::byte> ascending;
    for (int i = 0; i < 32; ++i) ascending.push_back(static_cast<std::byte>(i));
    EXPECT_EQ(crc(ascending), 0x46DD794EU);
    EXPECT_EQ(crc({ascending.rbegin(), ascending.rend()}), 0x113FDB5CU);
}

TEST_P(Crc32c, ContinuesAtAnyPlace) {
    std::mt19937 generator(3);
    std::vector<std::byte> bytes(200);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(generator());
    const std::span<const std::byte> all(bytes);
    const std::uint32_t whole = GetParam().function(all, 0);
    for (std::size_t cut = 0; cut <= all.size(); ++cut) {
        const std::uint32_t first = GetParam().function(all.first(cut), 0);
        ASSERT_EQ(GetParam().function(all.subspan(cut), first), whole) << cut;
    }
}

std::uint32_t by_default(std::span<const std::byte> bytes, std::uint32_t previous) {
    return crc32c(bytes, previous);
}

INSTANTIATE_TEST_SUITE_P(Implementations, Crc32c,
                         ::testing::Values(Implementation{"Default", by_default},
                                           Implementation{"Table", crc32c_by_table}),
                         [](const auto& instance) { return instance.param.name; });

TEST(Checksum, InstructionAndTableAgreeAtEveryLengthAndAlignment) {
    if (!has_crc32c_instruction()) GTEST_SKIP() << "this processor has no CRC-32C instruction";
    std::mt19937 generator(4);
    std::vector<std::byte> bytes(160);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(generator());
    const std::span<const std::byte> all(bytes);
    for (std::size_t begin = 0; begin < 16; ++begin) {
        for (std::size_t length = 0; length + begin <= all.size(); ++length) {
            const auto part = all.subspan(begin, length);
            ASSERT_EQ(crc32c(part, 7), crc32c_by_table(part, 7)) << begin << " " << length;
        }
    }
}

TEST(Checksum, OfBothPartsIsThatOfTheWhole) {
    std::mt19937 generator(5);
    std::vector<std::byte> bytes(70'000);
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(generator());
    const std::span<const std::byte> all(bytes);
    for (const std::size_t cut : {0U, 1U, 7U, 4096U, 65536U, 69'999U, 70'000U}) {
        EXPECT_EQ(
            crc32c_of_both(crc32c(all.first(cut)), crc32c(all.subspan(cut)), all.size() - cut),
            crc32c(all))
            << cut;
    }
}

TEST(Checksum, TextHasEightDigits) {
    EXPECT_EQ(checksum_text(0x1F), "0000001f");
    EXPECT_EQ(crc32c("123456789"), 0xE3069283U);
}

}  // namespace
}  // namespace isoflop
