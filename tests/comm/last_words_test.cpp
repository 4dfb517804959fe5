// Who is to blame, from what the ranks of a group say.
#include "comm/last_words.hpp"

#include <gtest/gtest.h>

namespace isoflop::comm {
namespace {

LastWords words_of_four(int own_rank) {
    return {own_rank,
            {"rank 0 on a", "rank 1 on a", "rank 2 on b", "rank 3 on b"},
            std::chrono::milliseconds(60'000)};
}

TEST(LastWords, AConnectionClosedInSilenceOutweighsWhatOthersSay) {
    LastWords words = words_of_four(0);
    words.hear(1, 2);
    words.hear(3, kClosed);
    EXPECT_TRUE(words.is_certain(1));
    EXPECT_EQ(words.verdict(1).rank, 3);
    EXPECT_EQ(words.verdict(1).message, "rank 3 on b is lost: it closed its connection");
}

TEST(LastWords, TheChainOfWaitingEndsAtTheSilentRank) {
    LastWords words = words_of_four(0);
    words.hear(0, 1);
    words.hear(1, 3);
    EXPECT_FALSE(words.is_certain(1));
    EXPECT_EQ(words.verdict(1).rank, 3);
    EXPECT_EQ(words.verdict(1).message, "rank 3 on b is lost: it has not answered for 60 s");
}

TEST(LastWords, TheChainGoesThroughThisRank) {
    LastWords words = words_of_four(2);
    words.hear(0, 2);
    words.hear(2, 3);
    EXPECT_EQ(words.first_speaker(), 0);
    EXPECT_EQ(words.verdict(words.first_speaker()).rank, 3);
}

TEST(LastWords, ARankThatIsItselfToBlameIsToldSo) {
    LastWords words = words_of_four(2);
    words.hear(0, 2);
    EXPECT_EQ(words.verdict(0).rank, -1);
    EXPECT_EQ(words.verdict(0).message, "rank 0 on a gave up waiting for this one, rank 2 on b");
}

TEST(LastWords, WhoeverEndsTheCommunicationIsNamed) {
    LastWords words = words_of_four(0);
    words.hear(1, 2);
    words.hear(2, kEnded);
    EXPECT_TRUE(words.is_certain(1));
    EXPECT_EQ(words.verdict(1).message, "rank 2 on b has ended the communication");
}

TEST(LastWords, GoodbyeIsNoTrouble) {
    LastWords words = words_of_four(0);
    words.hear(1, kGoodbye);
    EXPECT_EQ(words.first_speaker(), -1);
    EXPECT_EQ(words.verdict(1).message, "rank 1 on a is lost: it has left the group");
}

TEST(LastWords, RanksThatWaitForEachOtherGiveAVerdictToo) {
    LastWords words = words_of_four(0);
    words.hear(1, 2);
    words.hear(2, 1);
    EXPECT_GE(words.verdict(1).rank, 1);
}

}  // namespace
}  // namespace isoflop::comm
