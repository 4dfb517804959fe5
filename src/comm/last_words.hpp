// What the ranks of a group have said before they closed their connections, and who is to blame.
//
// A connection that closes without a last word is a dead rank. After a timeout the words lead from
// rank to rank (0 waited for 1, 1 waited for 3, 3 says nothing) to the one that hangs.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace isoflop::comm {

/// The rank that the speaker was waiting for, or one of these.
using LastWord = std::int64_t;
inline constexpr LastWord kGoodbye = -1;  ///< all is done here
inline constexpr LastWord kEnded = -2;    ///< the speaker ends the communication
inline constexpr LastWord kSilent = -3;   ///< nothing said yet
inline constexpr LastWord kClosed = -4;   ///< the connection closed without one

struct Lost {
    int rank = -1;
    std::string message;
};

class LastWords {
public:
    /// `names[r]` is what messages call rank r: "rank 3 on node7".
    LastWords(int own_rank, std::vector<std::string> names, std::chrono::milliseconds timeout);

    void hear(int rank, LastWord word);
    /// The first rank in trouble or that told of trouble; -1 when there is none.
    [[nodiscard]] int first_speaker() const { return first_speaker_; }
    [[nodiscard]] const std::string& name(int rank) const {
        return names_[static_cast<std::size_t>(rank)];
    }

    /// A rank whose connection closed without a word.
    [[nodiscard]] std::optional<int> closed() const;
    /// Whether more words could not change the verdict.
    [[nodiscard]] bool is_certain(int suspect) const;
    /// Who is lost, from a rank that is to blame unless it blames another.
    [[nodiscard]] Lost verdict(int suspect) const;

private:
    struct Chain {
        int accuser;
        int end;
    };
    [[nodiscard]] Chain follow(int suspect) const;
    [[nodiscard]] LastWord said(int rank) const { return said_[static_cast<std::size_t>(rank)]; }

    int own_rank_;
    std::vector<std::string> names_;
    std::chrono::milliseconds timeout_;
    std::vector<LastWord> said_;
    int first_speaker_ = -1;
};

}  // namespace isoflop::comm
