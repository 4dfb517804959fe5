// One function per part of a row, in the order in which a row is written. Keys are checked
// strictly: a skipped misspelled key would silently omit a figure.
#include "hardware/gpu_table_reader.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string_view>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::hardware {
namespace {

using config::Document;
using config::SourceLocation;
using config::Value;
using Keys = std::span<const std::string_view>;

constexpr std::array<std::string_view, 2> kTableKeys = {"$schema", "gpus"};
constexpr std::array<std::string_view, 13> kRowKeys = {"id",
                                                       "vendor",
                                                       "aliases",
                                                       "plan_only",
                                                       "compute_capability",
                                                       "dense_tflops",
                                                       "memory_gb",
                                                       "usable_mib",
                                                       "memory_bandwidth_gb_per_s",
                                                       "tdp_watts",
                                                       "link",
                                                       "note",
                                                       "sources"};
constexpr std::array<std::string_view, 2> kLinkKeys = {"name", "gb_per_s"};
constexpr std::array<std::string_view, 5> kSourceKeys = {"peaks", "memory", "usable_memory", "link",
                                                         "tdp"};
constexpr std::array<std::string_view, kDTypeCount> kPeakKeys = [] {
    std::array<std::string_view, kDTypeCount> keys{};
    for (std::size_t index = 0; index < kDTypeCount; ++index) {
        keys[index] = short_name(static_cast<DType>(index));
    }
    return keys;
}();

// No device reaches these: a larger figure was given in another unit (FLOP/s, bytes, milliwatts).
constexpr double kMaximumTflops = 1e6;
constexpr double kMaximumMemoryGb = 1e5;
constexpr double kMaximumGbPerSecond = 1e6;
constexpr double kMaximumWatts = 1e5;

constexpr double kMiB = 1024.0 * 1024.0;

class TableReader {
public:
    explicit TableReader(const Document& document) : document_(document) {}

    ParsedTable read() {
        const Value& root = document_.root;
        require_object(root, "the table");
        check_keys(root, kTableKeys, "the table");
        if (const Value* schema = root.find("$schema")) (void)read_text(*schema, "$schema");

        const Value& rows = required(root, "gpus", "the table");
        if (!rows.is_array()) fail_type(rows, "gpus", "an array");
        if (rows.as_array().empty()) fail(rows.location(), "gpus has no rows");
        for (const Value& row : rows.as_array()) read_row(row);
        return std::move(table_);
    }

private:
    void read_row(const Value& row) {
        std::string where = fmt::format("row {}", table_.gpus.size() + 1);
        require_object(row, where);
        const Value* named = row.find("id");
        if (named != nullptr && named->is_string()) where = fmt::format("'{}'", named->as_string());
        check_keys(row, kRowKeys, where);

        Gpu gpu;
        const Value& id = required(row, "id", where);
        gpu.id = read_text(id, "id");
        const std::size_t index = table_.gpus.size();
        table_.names.push_back({gpu.id, index, id.location()});
        gpu.vendor = read_text(required(row, "vendor", where), "vendor");
        read_aliases(row, gpu, index);

        read_peaks(required(row, "dense_tflops", where), gpu);
        read_memory(row, gpu, where);
        read_link(required(row, "link", where), gpu);
        const Value* tdp = row.find("tdp_watts");
        if (tdp != nullptr && !tdp->is_null()) {
            gpu.tdp_watts = read_positive(*tdp, "tdp_watts", kMaximumWatts, "watts");
        }
        if (const Value* capability = row.find("compute_capability")) {
            gpu.compute_capability = read_text(*capability, "compute_capability");
        }
        if (const Value* plan_only = row.find("plan_only")) {
            if (!plan_only->is_bool()) fail_type(*plan_only, "plan_only", "true or false");
            gpu.plan_only = plan_only->as_bool();
        }
        if (const Value* note = row.find("note")) gpu.note = read_text(*note, "note");
        read_sources(required(row, "sources", where), row, gpu);
        table_.gpus.push_back(std::move(gpu));
    }

    void read_aliases(const Value& row, Gpu& gpu, std::size_t index) {
        const Value* aliases = row.find("aliases");
        if (aliases == nullptr) return;
        if (!aliases->is_array()) fail_type(*aliases, "aliases", "an array of strings");
        for (const Value& alias : aliases->as_array()) {
            gpu.aliases.push_back(read_text(alias, "an alias"));
            table_.names.push_back({gpu.aliases.back(), index, alias.location()});
        }
    }

    void read_peaks(const Value& peaks, Gpu& gpu) const {
        require_object(peaks, "dense_tflops");
        check_keys(peaks, kPeakKeys, "dense_tflops");
        bool has_any = false;
        for (std::size_t index = 0; index < kDTypeCount; ++index) {
            const Value* peak = peaks.find(kPeakKeys[index]);
            if (peak == nullptr || peak->is_null()) continue;
            const double tflops = read_positive(*peak, kPeakKeys[index], kMaximumTflops, "TFLOP/s");
            gpu.dense_peak_flops[index] = tflops * 1e12;
            has_any = true;
        }
        if (!has_any) {
            fail(peaks.location(), fmt::format("dense_tflops of '{}' has no figure", gpu.id));
        }
    }

    void read_memory(const Value& row, Gpu& gpu, std::string_view where) const {
        const Value& capacity = required(row, "memory_gb", where);
        gpu.memory_gb = read_positive(capacity, "memory_gb", kMaximumMemoryGb, "GB");
        // Data sheets count some capacities in 2^30 and some in 10^9 bytes; without the figure of
        // the driver the larger reading is used.
        const auto largest_bytes = static_cast<std::uint64_t>(std::llround(gpu.memory_gb * kGiB));
        gpu.usable_memory_bytes = largest_bytes;
        if (const Value* usable = row.find("usable_mib")) {
            if (!usable->is_integer()) fail_type(*usable, "usable_mib", "an integer (MiB)");
            const double mebibytes =
                read_positive(*usable, "usable_mib", kMaximumMemoryGb * 1024, "MiB");
            gpu.usable_memory_bytes = static_cast<std::uint64_t>(std::llround(mebibytes * kMiB));
            if (gpu.usable_memory_bytes > largest_bytes) {
                fail(usable->location(),
                     fmt::format("usable_mib is more than the {} GB of memory_gb", gpu.memory_gb));
            }
        }
        constexpr std::string_view bandwidth_key = "memory_bandwidth_gb_per_s";
        const Value& bandwidth = required(row, bandwidth_key, where);
        gpu.memory_bandwidth_bytes_per_s =
            read_positive(bandwidth, bandwidth_key, kMaximumGbPerSecond, "GB/s") * 1e9;
    }

    void read_link(const Value& link, Gpu& gpu) const {
        require_object(link, "link");
        check_keys(link, kLinkKeys, "link");
        gpu.link_name = read_text(required(link, "name", "link"), "link.name");
        gpu.link_bytes_per_s = 1e9 * read_positive(required(link, "gb_per_s", "link"),
                                                   "link.gb_per_s", kMaximumGbPerSecond, "GB/s");
    }

    /// A figure without a source cannot be checked, so each group needs a source.
    void read_sources(const Value& sources, const Value& row, Gpu& gpu) const {
        require_object(sources, "sources");
        check_keys(sources, kSourceKeys, "sources");
        for (const auto& member : sources.as_object()) {
            gpu.sources.emplace_back(member.key, read_text(member.value, member.key));
        }
        for (const std::string_view group : kSourceKeys) {
            const bool is_given = group == "tdp"             ? gpu.tdp_watts.has_value()
                                  : group == "usable_memory" ? row.find("usable_mib") != nullptr
                                                             : true;
            if (is_given && sources.find(group) == nullptr) {
                fail(sources.location(),
                     fmt::format("sources of '{}' lacks '{}': say where the figure was read",
                                 gpu.id, group));
            }
        }
    }

    // --- checks
    // ------------------------------------------------------------------------------------

    [[noreturn]] void fail(SourceLocation location, std::string_view message) const {
        throw ConfigError(document_.describe(location, message));
    }

    [[noreturn]] void fail_type(const Value& value, std::string_view key,
                                std::string_view wanted) const {
        fail(value.location(),
             fmt::format("{} must be {}, not {}", key, wanted, value.type_name()));
    }

    void require_object(const Value& value, std::string_view name) const {
        if (!value.is_object()) fail_type(value, name, "an object");
    }

    void check_keys(const Value& object, Keys allowed, std::string_view where) const {
        for (const auto& member : object.as_object()) {
            if (std::ranges::find(allowed, std::string_view(member.key)) != allowed.end()) continue;
            fail(member.key_location,
                 fmt::format("unknown key '{}' in {}{} (known keys: {})", member.key, where,
                             suggestion(member.key, allowed), join(allowed)));
        }
    }

    const Value& required(const Value& object, std::string_view key, std::string_view where) const {
        const Value* value = object.find(key);
        if (value == nullptr) {
            fail(object.location(), fmt::format("{} lacks the key '{}'", where, key));
        }
        return *value;
    }

    std::string read_text(const Value& value, std::string_view key) const {
        if (!value.is_string()) fail_type(value, key, "a string");
        if (value.as_string().empty()) fail(value.location(), fmt::format("{} is empty", key));
        return value.as_string();
    }

    double read_positive(const Value& value, std::string_view key, double maximum,
                         std::string_view unit) const {
        if (!value.is_number()) fail_type(value, key, fmt::format("a number ({})", unit));
        const double number = value.as_number();
        if (!std::isfinite(number) || number <= 0) {
            fail(value.location(),
                 fmt::format("{} must be a positive number, not {}", key, value.to_text()));
        }
        if (number > maximum) {
            fail(value.location(), fmt::format("{} = {} is out of range: the unit is {}", key,
                                               value.to_text(), unit));
        }
        return number;
    }

    const Document& document_;
    ParsedTable table_;
};

}  // namespace

ParsedTable read_gpu_rows(const config::Document& document) {
    return TableReader(document).read();
}

}  // namespace isoflop::hardware
