// Every rank compares its facts with those of rank 0, rank 0 collects the differences, and all
// ranks get the same result. Rank 0 waits until all ranks have read the result, as the store ends
// with rank 0.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>
#include <vector>

#include "comm/socket.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/comm/point_to_point.hpp"
#include "isoflop/comm/store.hpp"

namespace isoflop::comm {
namespace {

constexpr std::size_t kShownLines = 8;
constexpr std::size_t kShownRanks = 3;

using Lines = std::map<std::string, std::string, std::less<>>;

/// "key=value" lines by key.
Lines read_lines(std::string_view text) {
    Lines lines;
    while (!text.empty()) {
        const std::string_view line = text.substr(0, text.find('\n'));
        text.remove_prefix(std::min(text.size(), line.size() + 1));
        const std::size_t equals = std::min(line.find('='), line.size());
        if (line.empty()) continue;
        lines[std::string(line.substr(0, equals))] = line.substr(std::min(equals + 1, line.size()));
    }
    return lines;
}

std::string value_text(const Lines& lines, const std::string& key) {
    const auto found = lines.find(key);
    return found == lines.end() ? "not set" : found->second;
}

struct Side {
    std::string name;  ///< "rank 1 on node2"
    Handshake handshake;
};

std::string differing_lines(const Side& mine, const Side& first) {
    const Lines ours = read_lines(mine.handshake.config);
    const Lines theirs = read_lines(first.handshake.config);
    Lines keys = ours;
    keys.insert(theirs.begin(), theirs.end());
    std::string text;
    std::size_t count = 0;
    for (const auto& [key, unused] : keys) {
        const std::string our_value = value_text(ours, key);
        const std::string their_value = value_text(theirs, key);
        if (our_value == their_value || ++count > kShownLines) continue;
        text += fmt::format("\n  {}: {} has {}, {} has {}", key, mine.name, our_value, first.name,
                            their_value);
    }
    if (count > kShownLines) text += fmt::format("\n  and {} more", count - kShownLines);
    if (count == 0) {
        text =
            fmt::format("\n  {} and {} have their lines in different order", mine.name, first.name);
    }
    return text;
}

std::string difference(const Side& mine, const Side& first) {
    if (mine.handshake.version != first.handshake.version) {
        return fmt::format("\n  version: {} runs {}, {} runs {}", mine.name, mine.handshake.version,
                           first.name, first.handshake.version);
    }
    if (mine.handshake.config == first.handshake.config) return {};
    return differing_lines(mine, first);
}

std::string key_of(std::string_view what, int rank) {
    return fmt::format("agree/{}/{}", what, rank);
}

/// The differences of all ranks as one message; empty when they agree.
std::string collect(Store& store, int world_size) {
    std::string differences;
    std::size_t ranks = 0;
    for (int rank = 1; rank < world_size; ++rank) {
        const std::string found = store.get(key_of("difference", rank));
        if (!found.empty() && ++ranks <= kShownRanks) differences += found;
    }
    if (ranks == 0) return {};
    if (ranks > kShownRanks) {
        differences += fmt::format("\n  and {} more ranks differ", ranks - kShownRanks);
    }
    return "the ranks differ; start the same build with the same configuration and overrides on "
           "all of them" +
           differences;
}

/// Rank 0 waits until all ranks have read the result. A rank that dies during the wait does not
/// change it.
void wait_for_readers(Store& store, int world_size) {
    try {
        for (int rank = 1; rank < world_size; ++rank) {
            static_cast<void>(store.get(key_of("read", rank)));
        }
    } catch (const LostRank&) {
    }
}

}  // namespace

void agree(Store& store, const LaunchInfo& launch, const Handshake& handshake) {
    if (launch.world_size == 1) return;
    const Side mine{fmt::format("rank {} on {}", launch.rank, host_name()), handshake};
    std::string verdict;
    if (launch.rank == 0) {
        store.set("agree/name", mine.name);
        store.set("agree/version", handshake.version);
        store.set("agree/config", handshake.config);
        verdict = collect(store, launch.world_size);
        store.set("agree/verdict", verdict);
        wait_for_readers(store, launch.world_size);
    } else {
        const Side first{
            store.get("agree/name"),
            {.version = store.get("agree/version"), .config = store.get("agree/config")}};
        store.set(key_of("difference", launch.rank), difference(mine, first));
        verdict = store.get("agree/verdict");
        store.set(key_of("read", launch.rank), "yes");
    }
    if (!verdict.empty()) throw ConfigError(verdict);
}

}  // namespace isoflop::comm
