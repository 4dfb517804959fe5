#include "hardware/name_index.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/config/jsonc.hpp"

namespace isoflop::hardware {
namespace {

/// A row's name in the form of lookups, and where it was written.
struct IndexedName {
    std::string key;
    const WrittenName* written = nullptr;
};

/// The vendor is a property of the row, not of the lookup: a table may contain a new vendor, and
/// "AMD H100" finds nothing.
std::vector<IndexedName> index_names(const ParsedTable& table, const config::Document& document) {
    std::vector<IndexedName> index;
    index.reserve(2 * table.names.size());
    for (const WrittenName& written : table.names) {
        const NormalisedName vendor(table.gpus[written.row].vendor);
        const NormalisedName name(written.text);
        const std::string_view base = without_vendor(name.view(), vendor.view());
        const NormalisedName full(base, vendor.view());
        if (!full.fits() || base.empty()) {
            throw ConfigError(document.describe(
                written.location,
                base.empty() ? fmt::format("the name '{}' has no letters or digits", written.text)
                             : fmt::format("the name is longer than {} characters",
                                           NormalisedName::kMaximumLength)));
        }
        index.push_back({std::string(base), &written});
        index.push_back({std::string(full.view()), &written});
    }
    std::ranges::stable_sort(index, {}, &IndexedName::key);
    return index;
}

void check_unique(const std::vector<IndexedName>& index, const ParsedTable& table,
                  const config::Document& document) {
    for (std::size_t i = 1; i < index.size(); ++i) {
        if (index[i].key != index[i - 1].key) continue;
        const WrittenName& first = *index[i - 1].written;  // the sort kept the order of the file
        const WrittenName& second = *index[i].written;
        throw ConfigError(document.describe(
            second.location,
            fmt::format("'{}' is the same name as '{}' of '{}' in line {}: case, spaces, dashes, "
                        "underscores and the vendor do not count",
                        second.text, first.text, table.gpus[first.row].id, first.location.line)));
    }
}

/// Numbers of GPUs in a system, whose memory is then written as a sum: "DGX A100 640GB".
std::vector<double> gpu_counts(const NameReading& wanted) {
    if (wanted.system == "hgx") return {8, 4};
    if (wanted.system == "dgx") return {wanted.is_station ? 4.0 : 8.0};
    return {};
}

/// The letters and the number that tell a generation: "rtx" and "4090", "h" and "100".
std::pair<std::string_view, std::string_view> generation_of(std::string_view key) {
    const auto is_digit = [](char letter) { return letter >= '0' && letter <= '9'; };
    const auto* const begin = std::ranges::find_if(key, is_digit);
    const auto* const end = std::find_if_not(begin, key.end(), is_digit);
    return {{key.begin(), begin}, {begin, end}};
}

/// "gaudy" for "gaudi", "rtxx" for "rtx": never the letters of one chip for those of another, as in
/// "rtx" and "rtxa", nor the machine type of a cloud, whose letters name the chip.
bool is_typing_error(std::string_view letters, std::string_view known) {
    const bool is_cloud = known.starts_with("nd") || known.starts_with("nc");
    const std::size_t shorter_size = std::min(letters.size(), known.size());
    if (is_cloud || shorter_size < 3 || edit_distance(letters, known) != 1) return false;
    if (letters.size() == known.size() || shorter_size >= 6) return true;
    std::string longer(letters.size() > known.size() ? letters : known);
    const std::string_view shorter = letters.size() > known.size() ? known : letters;
    const auto doubled = std::ranges::adjacent_find(longer);
    if (doubled == longer.end()) return false;
    longer.erase(doubled);
    return longer == shorter;
}

/// What follows the number: "sxn" for "sxm", never "pro" for "ada", and nothing left out after a
/// short number ("p4" and "p4d", "g5g" and "g5" are different things).
bool is_same_end(std::string_view a, std::string_view b, std::string_view number) {
    if (a == b) return true;
    if (a.empty() || b.empty()) return number.size() >= 3;
    return edit_distance(a, b) < std::max(a.size(), b.size());
}

/// P100 is no H100, and words without a number say what they mean only when they are long.
bool is_same_generation(std::string_view a, std::string_view b) {
    constexpr std::size_t kLongWord = 5;
    const auto [letters, number] = generation_of(a);
    const auto [other_letters, other_number] = generation_of(b);
    if (number != other_number) return false;
    if (number.empty()) return std::min(a.size(), b.size()) >= kLongWord;
    if (letters != other_letters && !is_typing_error(letters, other_letters)) return false;
    return is_same_end(a.substr(letters.size() + number.size()),
                       b.substr(other_letters.size() + other_number.size()), number);
}

/// Other chips under the number of a card, or parts of one: laptops, MIG, "A100X-20C".
bool names_another_chip(std::string_view key) {
    for (const std::string_view word : {"laptop", "mobile", "mig"}) {
        if (key.find(word) != std::string_view::npos) return true;
    }
    const bool ends_as_profile = key.size() > 1 && (key.back() == 'c' || key.back() == 'q');
    return ends_as_profile && key[key.size() - 2] >= '0' && key[key.size() - 2] <= '9';
}

}  // namespace

NameIndex::NameIndex(const ParsedTable& table, const config::Document& document) {
    std::vector<IndexedName> index = index_names(table, document);
    check_unique(index, table, document);
    written_.reserve(index.size());
    for (IndexedName& name : index) written_.emplace_back(std::move(name.key), name.written->row);

    for (const Gpu& gpu : table.gpus) {
        sizes_gb_.push_back({gpu.memory_gb});
        vendors_.emplace_back(NormalisedName(gpu.vendor).view());
    }
    for (const WrittenName& written : table.names) {
        NameReading reading = read_name(written.text);
        std::string key = reading.system_key();
        (void)take_vendor(key);
        auto& sizes = sizes_gb_[written.row];
        sizes.insert(sizes.end(), reading.memory_gb.begin(), reading.memory_gb.end());
        if (!key.empty())
            said_.push_back({std::move(key), std::move(reading.memory_kind),
                             !reading.memory_gb.empty(), written.row});
    }
    std::ranges::stable_sort(said_, {}, &Said::key);
}

std::optional<std::size_t> NameIndex::find_as_written(const NormalisedName& wanted) const {
    const auto found = std::ranges::lower_bound(written_, wanted.view(), {}, [](const auto& entry) {
        return std::string_view(entry.first);
    });
    if (found == written_.end() || found->first != wanted.view()) return std::nullopt;
    return found->second;
}

NameMatch NameIndex::find(std::string_view name) const {
    const NormalisedName written(name);
    if (!written.fits()) return {};
    if (const auto row = find_as_written(written)) return {row, {}};
    const NameReading reading = read_name(name);
    NameMatch match = find_said(reading);
    const bool is_unknown = !match.row && match.candidates.empty();
    if (!is_unknown || !reading.ends_in_number) return match;
    return find_said(read_name(name, BareNumber::is_memory));
}

NameMatch NameIndex::find_said(const NameReading& wanted) const {
    std::string key = wanted.key;
    const std::string vendor = take_vendor(key);
    if (key.empty()) return {};
    if (!wanted.system.empty()) {
        NameMatch match = match_key(wanted.system + key, vendor, wanted);
        if (match.row || !match.candidates.empty()) return match;
    }
    return match_key(key, vendor, wanted);
}

NameMatch NameIndex::match_key(std::string_view key, const std::string& vendor,
                               const NameReading& wanted) const {
    // Not equal_range of std::ranges, whose view clang 14 cannot read.
    const auto key_of = [](const Said& name) { return std::string_view(name.key); };
    const auto first = std::ranges::lower_bound(said_, key, {}, key_of);
    const auto last = std::ranges::upper_bound(said_, key, {}, key_of);
    const bool says_kind =
        !wanted.memory_kind.empty() && std::any_of(first, last, [&](const Said& name) {
            return name.memory_kind == wanted.memory_kind;
        });
    const bool has_plain =
        std::any_of(first, last, [](const Said& name) { return name.memory_kind.empty(); });
    NameMatch match;
    std::vector<std::size_t> without_size;
    const auto add = [](std::vector<std::size_t>& rows, std::size_t row) {
        if (std::ranges::find(rows, row) == rows.end()) rows.push_back(row);
    };
    for (auto found = first; found != last; ++found) {
        const Said& name = *found;
        if (!vendor.empty() && vendors_[name.row] != vendor) continue;
        // A name with a kind of memory is for those who say it, and then no other is meant.
        const std::string_view kind = says_kind ? wanted.memory_kind : std::string_view();
        if ((says_kind || has_plain) && name.memory_kind != kind) continue;
        add(match.candidates, name.row);
        if (!name.has_size) add(without_size, name.row);
    }
    std::ranges::sort(match.candidates);

    std::vector<std::size_t> chosen = without_size.empty() ? match.candidates : without_size;
    if (!wanted.memory_gb.empty()) {
        chosen.clear();
        for (const std::size_t row : match.candidates) {
            if (has_sizes(row, wanted.memory_gb, 1)) chosen.push_back(row);
        }
        if (chosen.empty()) {
            for (const double gpus : gpu_counts(wanted)) {
                for (const std::size_t row : match.candidates) {
                    if (has_sizes(row, wanted.memory_gb, gpus)) add(chosen, row);
                }
            }
        }
    }
    if (chosen.size() == 1) return {chosen.front(), {}};
    return match;
}

bool NameIndex::has_sizes(std::size_t row, const std::vector<double>& sizes_gb, double gpus) const {
    return std::ranges::all_of(sizes_gb, [&](double wanted) {
        return std::ranges::any_of(sizes_gb_[row], [&](double size) {
            return std::abs(size * gpus - wanted) < 0.5;  // sizes are whole GB
        });
    });
}

std::string NameIndex::take_vendor(std::string& key) const {
    for (const std::string& vendor : vendors_) {
        if (key.size() > vendor.size() && key.starts_with(vendor)) {
            key.erase(0, vendor.size());
            return vendor;
        }
    }
    return {};
}

std::optional<std::size_t> NameIndex::nearest(std::string_view name) const {
    if (!NormalisedName(name).fits()) return std::nullopt;
    std::string key = read_name(name).key;
    const std::string vendor = take_vendor(key);
    if (names_another_chip(key)) return std::nullopt;

    std::vector<std::string_view> known;
    for (const Said& said : said_) {
        if (!vendor.empty() && vendors_[said.row] != vendor) continue;
        if (is_same_generation(key, said.key)) known.push_back(said.key);
    }
    const auto spelling = nearest_spelling(key, known);
    if (!spelling) return std::nullopt;
    // The name without a size is the usual one of its chip.
    std::optional<std::size_t> row;
    for (const Said& said : said_) {
        if (said.key == *spelling && (!row || !said.has_size)) row = said.row;
    }
    return row;
}

}  // namespace isoflop::hardware
