#include "hardware/name_reading.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <utility>

#include "isoflop/base/text.hpp"

namespace isoflop::hardware {
namespace {

using Words = std::vector<std::string>;

template <std::size_t N>
bool is_one_of(std::string_view word, const std::array<std::string_view, N>& words) {
    return std::ranges::find(words, word) != words.end();
}

bool is_digit(char letter) {
    return letter >= '0' && letter <= '9';
}

bool is_number(std::string_view word) {
    return !word.empty() && std::ranges::all_of(word, is_digit);
}

std::size_t leading_digits(std::string_view word) {
    return static_cast<std::size_t>(
        std::distance(word.begin(), std::ranges::find_if_not(word, is_digit)));
}

void erase_all(std::string& text, std::string_view part) {
    for (std::size_t at = text.find(part); at != std::string::npos; at = text.find(part, at)) {
        text.erase(at, part.size());
    }
}

Words words_of(std::string_view name) {
    std::string text = to_lower(name);
    for (const std::string_view mark : {"(r)", "(tm)", "\xc2\xae", "\xe2\x84\xa2"}) {
        erase_all(text, mark);
    }
    Words words(1);
    for (const char letter : text) {
        if (std::string_view(" -_\t,()[]").find(letter) == std::string_view::npos) {
            words.back() += letter;
        } else if (!words.back().empty()) {
            words.emplace_back();
        }
    }
    if (words.back().empty()) words.pop_back();
    return words;
}

// --- machine types of clouds: what says how many GPUs a machine has is left out
// ---------------------------------------------------------------------------------

/// "p5.48xlarge", "ml.g5.xlarge", "g4dn.metal".
void leave_out_amazon_size(std::string& word) {
    if (word.starts_with("ml.")) word.erase(0, 3);
    const std::size_t dot = word.find('.');
    if (dot == std::string::npos || dot == 0) return;
    std::string_view size = std::string_view(word).substr(dot + 1);
    size.remove_prefix(leading_digits(size));
    if (size == "xlarge" || size == "metal") word.erase(dot);
}

/// "a3-highgpu-8g", "a4x-maxgpu-4g-metal", "g2-standard-96".
void leave_out_google_size(Words& words) {
    if (words.size() > 1 && words.back() == "metal") words.pop_back();
    if (words.size() < 3) return;
    const std::string_view last = words.back();
    const std::string_view kind = words[words.size() - 2];
    const bool counts_gpus =
        kind.ends_with("gpu") && last.ends_with('g') && is_number(last.substr(0, last.size() - 1));
    if (counts_gpus || (kind == "standard" && is_number(last))) words.pop_back();
}

/// "Standard_ND96isr_H100_v5": the number of processors in the family's word, and whether machines
/// are joined by InfiniBand ("r").
void leave_out_azure_size(Words& words) {
    bool is_azure = words.size() > 1 && words.front() == "standard";
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
        std::string& word = words[i];
        const bool is_family = word.starts_with("nc") || word.starts_with("nd");
        const std::size_t digits = is_family ? leading_digits(std::string_view(word).substr(2)) : 0;
        if (digits == 0) continue;
        is_azure = true;
        word.erase(2, digits);
        if (word.ends_with("srf")) word.pop_back();
        if (word.ends_with("sr")) word.pop_back();
    }
    if (!is_azure) return;
    if (words.front() == "standard") words.erase(words.begin());
    constexpr std::array<std::string_view, 3> networks = {"ndr", "flex", "noib"};
    std::erase_if(words, [&](const std::string& word) { return is_one_of(word, networks); });
}

/// "BM.GPU.H100.8", "VM.GPU.A10.1".
void leave_out_oracle_size(Words& words) {
    constexpr std::size_t kFamily = 6;  // "bm.gpu", "vm.gpu"
    const auto shape = std::ranges::find_if(words, [](const std::string& word) {
        return word.starts_with("bm.gpu") || word.starts_with("vm.gpu");
    });
    if (shape == words.end()) return;
    std::string& last = words.back();
    const std::size_t dot = last.rfind('.');
    if (dot != std::string::npos && is_number(std::string_view(last).substr(dot + 1))) {
        last.erase(dot);
    }
    if (shape->size() > kFamily && (*shape)[kFamily] == '.') shape->erase(0, kFamily + 1);
}

bool says_size(const Words& words);

/// "gpu_8x_h100_sxm5". Lambda's older names leave out what it offers in one version only: V100 of
/// 16 GB, A100 of 40 GB (eight as SXM4, fewer as PCIe).
void take_lambda_type(Words& words) {
    if (words.size() < 3 || words.front() != "gpu") return;
    const std::string_view count = words[1];
    if (!count.ends_with('x') || !is_number(count.substr(0, count.size() - 1))) return;
    const bool is_board = count == "8x";
    words.erase(words.begin(), words.begin() + 2);
    if (says_size(words)) return;
    if (words.front() == "v100") words.emplace_back("16gb");
    if (words.front() != "a100") return;
    if (words.size() == 1 && !is_board) words.emplace_back("pcie");
    words.emplace_back("40gb");
}

/// Google's resource names of accelerators, for which other words name the larger cards.
void take_google_accelerator(std::string_view name, Words& words) {
    if (name == "nvidia-tesla-a100") words.emplace_back("40gb");
    if (name == "nvidia-tesla-v100") words.emplace_back("16gb");
}

void leave_out_machine_sizes(Words& words) {
    constexpr std::array<std::string_view, 13> clouds = {
        "aws",   "amazon", "ec2",    "azure", "microsoft", "gcp",   "google",
        "cloud", "gce",    "oracle", "oci",   "lambda",    "runpod"};
    while (words.size() > 1 && is_one_of(words.front(), clouds)) words.erase(words.begin());
    for (std::string& word : words) leave_out_amazon_size(word);
    leave_out_google_size(words);
    leave_out_azure_size(words);
    leave_out_oracle_size(words);
    take_lambda_type(words);
}

// --- memory sizes
// ---------------------------------------------------------------------------------

constexpr std::array<std::string_view, 3> kGigabytes = {"gb", "gib", "g"};

std::optional<double> number_of(std::string_view word) {
    double value = 0;
    const char* const end = word.data() + word.size();
    if (!is_number(word) || std::from_chars(word.data(), end, value).ptr != end)
        return std::nullopt;
    return value;
}

/// "80gb", "80g".
std::optional<double> size_of(std::string_view word) {
    for (const std::string_view unit : kGigabytes) {
        if (!word.ends_with(unit)) continue;
        if (const auto size = number_of(word.substr(0, word.size() - unit.size()))) return size;
    }
    return std::nullopt;
}

/// "a100pcie80gb": a size joined to a word that has a number of its own. The digit after "sxm" is
/// that of the socket when a size is left: "sxm480gb".
std::optional<double> take_joined_size(std::string& word) {
    if (!word.ends_with("gb")) return std::nullopt;
    std::size_t begin = word.size() - 2;
    while (begin > 0 && is_digit(word[begin - 1])) --begin;
    const std::string_view chip = std::string_view(word).substr(0, begin);
    if (std::ranges::none_of(chip, is_digit)) return std::nullopt;
    const bool has_socket = chip.ends_with("sxm") && word.size() - 2 - begin >= 3 &&
                            word[begin] >= '2' && word[begin] <= '6';
    if (has_socket) ++begin;
    const auto size = size_of(std::string_view(word).substr(begin));
    if (size) word.erase(begin);
    return size;
}

bool says_size(const Words& words) {
    return std::ranges::any_of(words,
                               [](const std::string& word) { return size_of(word).has_value(); });
}

void take_sizes(Words& words, NameReading& reading) {
    Words kept;
    for (std::size_t i = 0; i < words.size(); ++i) {
        if (const auto size = size_of(words[i])) {
            reading.memory_gb.push_back(*size);
        } else if (i + 1 < words.size() && is_one_of(words[i + 1], kGigabytes) &&
                   number_of(words[i])) {
            reading.memory_gb.push_back(*number_of(words[i]));
            ++i;
        } else {
            if (const auto joined = take_joined_size(words[i])) {
                reading.memory_gb.push_back(*joined);
            }
            kept.push_back(std::move(words[i]));
        }
    }
    words = std::move(kept);
}

// --- systems, forms and words that name no chip
// ---------------------------------------------------------------------------------

void take_system(Words& words, NameReading& reading) {
    const auto system = std::ranges::find_if(
        words, [](const std::string& word) { return word == "dgx" || word == "hgx"; });
    if (system == words.end()) return;
    reading.system = *system;
    words.erase(system);
    std::erase_if(words, [&](const std::string& word) {
        constexpr std::array<std::string_view, 4> parts = {"station", "superpod", "basepod",
                                                           "system"};
        reading.is_station |= word == "station";
        return is_one_of(word, parts);
    });
}

void leave_out_empty_words(Words& words) {
    constexpr std::array<std::string_view, 15> empty_words = {
        "gpu", "gpus", "card", "accelerator", "tensor", "core",  "geforce", "grid",
        "vf",  "ac",   "oam",  "memory",      "tesla",  "slice", "podslice"};
    std::erase_if(words, [&](const std::string& word) { return is_one_of(word, empty_words); });
}

void take_memory_kind(Words& words, NameReading& reading) {
    std::erase_if(words, [&](const std::string& word) {
        const bool is_kind = word.starts_with("hbm") || word.starts_with("gddr");
        if (is_kind) reading.memory_kind = word;
        return is_kind;
    });
}

/// Takes "sxm5", "pcie" or "nvl" from the end of a word, or the whole word.
std::string take_form(std::string& word) {
    for (const std::string_view form : {"pcie", "nvl", "sxm"}) {
        if (word.ends_with(form)) {
            word.erase(word.size() - form.size());
            return std::string(form);
        }
    }
    const bool has_socket = word.size() >= 4 && word.back() >= '2' && word.back() <= '6' &&
                            std::string_view(word).substr(0, word.size() - 1).ends_with("sxm");
    if (!has_socket) return {};
    word.erase(word.size() - 4);
    return "sxm";
}

}  // namespace

NameReading read_name(std::string_view name, BareNumber number) {
    NameReading reading;
    Words words = words_of(name);
    if (words.empty()) return reading;
    take_google_accelerator(name, words);
    leave_out_machine_sizes(words);
    take_sizes(words, reading);
    take_system(words, reading);
    leave_out_empty_words(words);
    take_memory_kind(words, reading);

    std::string forms;
    for (std::string& word : words) forms += take_form(word);
    std::erase(words, std::string());
    reading.ends_in_number = words.size() > 1 && is_number(words.back());
    if (reading.ends_in_number && number == BareNumber::is_memory) {
        reading.memory_gb.push_back(*number_of(words.back()));
        words.pop_back();
    }
    for (const std::string& word : words) reading.key += word;
    reading.key += forms;
    return reading;
}

}  // namespace isoflop::hardware
