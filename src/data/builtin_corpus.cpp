#include "isoflop/data/builtin_corpus.hpp"

#include <fmt/format.h>

#include <array>
#include <string_view>

#include "isoflop/base/philox.hpp"

namespace isoflop::data {
namespace {

constexpr std::uint64_t kCorpusSeed = 0x49736F666C6F70;
constexpr std::uint64_t kFirstValidationDocument = 1ULL << 32U;
constexpr std::uint16_t kEndOfText = 256;

/// Draws for one document.
class Draws {
public:
    explicit Draws(std::uint64_t document) : document_(document) {}

    /// Uniform in 0 .. count-1.
    std::uint32_t below(std::uint32_t count) {
        const PhiloxCounter words = philox({drawn_++, 0, static_cast<std::uint32_t>(document_),
                                            static_cast<std::uint32_t>(document_ >> 32U)},
                                           philox_key(kCorpusSeed));
        return static_cast<std::uint32_t>((std::uint64_t{words[0]} * count) >> 32U);
    }

    template <std::size_t size>
    std::string_view one_of(const std::array<std::string_view, size>& words) {
        return words[below(static_cast<std::uint32_t>(size))];
    }

private:
    std::uint64_t document_;
    std::uint32_t drawn_ = 0;
};

constexpr std::array<std::string_view, 12> kAdjectives = {"small",  "old",    "red",    "quiet",
                                                          "brave",  "hungry", "green",  "happy",
                                                          "sleepy", "tall",   "clever", "young"};
constexpr std::array<std::string_view, 12> kAnimals = {"fox",   "bird",  "cat",  "dog",
                                                       "horse", "mouse", "bear", "frog",
                                                       "duck",  "sheep", "goat", "rabbit"};
constexpr std::array<std::string_view, 8> kVerbs = {"sees",    "follows", "finds", "helps",
                                                    "watches", "meets",   "hears", "calls"};
constexpr std::array<std::string_view, 8> kPlaces = {
    "in the forest", "near the river", "on the hill",    "behind the house",
    "in the garden", "by the lake",    "under the tree", "at the market"};
constexpr std::array<std::string_view, 20> kNumbers = {
    "one",     "two",     "three",     "four",     "five",     "six",      "seven",
    "eight",   "nine",    "ten",       "eleven",   "twelve",   "thirteen", "fourteen",
    "fifteen", "sixteen", "seventeen", "eighteen", "nineteen", "twenty"};

/// Sentences about one animal, which is named at the start and remembered at the end.
std::string story(Draws& draws) {
    const std::string_view adjective = draws.one_of(kAdjectives);
    const std::string_view hero = draws.one_of(kAnimals);
    std::string text = fmt::format("Once there was a {} {}.\n", adjective, hero);
    const std::uint32_t sentences = 3 + draws.below(3);
    for (std::uint32_t sentence = 0; sentence < sentences; ++sentence) {
        const std::string_view verb = draws.one_of(kVerbs);
        const std::string_view other_adjective = draws.one_of(kAdjectives);
        const std::string_view other = draws.one_of(kAnimals);
        text += fmt::format("The {} {} the {} {} {}.\n", hero, verb, other_adjective, other,
                            draws.one_of(kPlaces));
    }
    return text + fmt::format("That was the day of the {} {}.\n", adjective, hero);
}

std::string sums(Draws& draws) {
    std::string text;
    for (int line = 0; line < 16; ++line) {
        const std::uint32_t left = draws.below(50);
        const std::uint32_t right = draws.below(50);
        text += left >= right && draws.below(2) == 1
                    ? fmt::format("{} - {} = {}\n", left, right, left - right)
                    : fmt::format("{} + {} = {}\n", left, right, left + right);
    }
    return text;
}

std::string counting(Draws& draws) {
    std::string text;
    for (int line = 0; line < 8; ++line) {
        const std::uint32_t first = draws.below(15);
        text +=
            fmt::format("{} comes before {}: {}", kNumbers[first], kNumbers[first + 1], first + 1);
        for (std::uint32_t step = 1; step < 6; ++step)
            text += fmt::format(", {}", first + 1 + step);
        text += ".\n";
    }
    return text;
}

std::string spelling(Draws& draws) {
    std::string text;
    for (int line = 0; line < 8; ++line) {
        const std::string_view word =
            draws.below(2) == 0 ? draws.one_of(kAnimals) : draws.one_of(kAdjectives);
        text += fmt::format("{} is spelled", word);
        for (const char letter : word) text += fmt::format(" {}", letter);
        text += ".\n";
    }
    return text;
}

}  // namespace

std::string builtin_document(std::uint64_t index) {
    Draws draws(index);
    switch (draws.below(6)) {
        case 0: return sums(draws);
        case 1: return counting(draws);
        case 2: return spelling(draws);
        default: return story(draws);
    }
}

std::vector<std::uint16_t> builtin_tokens(Split split) {
    const bool is_train = split == Split::train;
    const std::uint64_t size = is_train ? kBuiltinTrainTokens : kBuiltinValidationTokens;
    std::vector<std::uint16_t> tokens;
    tokens.reserve(size + 4096);
    for (std::uint64_t index = is_train ? 0 : kFirstValidationDocument; tokens.size() < size;
         ++index) {
        for (const char byte : builtin_document(index))
            tokens.push_back(static_cast<unsigned char>(byte));
        tokens.push_back(kEndOfText);
    }
    tokens.resize(size);
    return tokens;
}

}  // namespace isoflop::data
