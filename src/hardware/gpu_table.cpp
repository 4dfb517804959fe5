#include "isoflop/hardware/gpu_table.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "hardware/gpu_name.hpp"
#include "hardware/gpu_table_reader.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/config/jsonc.hpp"

namespace isoflop::hardware {

extern const std::string_view builtin_gpu_table_text;  // generated from configs/gpus.jsonc

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

std::string precisions_of(const Gpu& gpu) {
    std::vector<std::string_view> names;
    for (std::size_t index = 0; index < kDTypeCount; ++index) {
        if (gpu.dense_peak_flops[index]) names.push_back(short_name(static_cast<DType>(index)));
    }
    return join(names);
}

}  // namespace

const GpuTable& GpuTable::builtin() {
    static const GpuTable table =
        from_text(std::string(builtin_gpu_table_text), "configs/gpus.jsonc (built in)");
    return table;
}

GpuTable GpuTable::from_file(const std::filesystem::path& path) {
    return from_document(config::read_jsonc_file(path));
}

GpuTable GpuTable::from_text(std::string text, std::string file_name) {
    return from_document(config::parse_jsonc(std::move(text), std::move(file_name)));
}

GpuTable GpuTable::from_document(const config::Document& document) {
    ParsedTable parsed = read_gpu_rows(document);
    std::vector<IndexedName> index = index_names(parsed, document);
    check_unique(index, parsed, document);

    GpuTable table;
    table.names_.reserve(index.size());
    for (IndexedName& name : index) {
        table.names_.emplace_back(std::move(name.key), name.written->row);
    }
    table.gpus_ = std::move(parsed.gpus);
    table.source_name_ = document.file_name;
    return table;
}

const Gpu* GpuTable::find(std::string_view name) const {
    const NormalisedName wanted(name);
    if (!wanted.fits()) return nullptr;
    const auto found = std::ranges::lower_bound(
        names_, wanted.view(), {}, [](const auto& entry) { return std::string_view(entry.first); });
    if (found == names_.end() || found->first != wanted.view()) return nullptr;
    return &gpus_[found->second];
}

const Gpu& GpuTable::at(std::string_view name) const {
    if (const Gpu* gpu = find(name)) return *gpu;

    std::string hint;
    const NormalisedName wanted(name);
    if (wanted.fits()) {
        std::vector<std::string_view> known;
        known.reserve(names_.size());
        for (const auto& entry : names_) known.push_back(entry.first);
        if (const auto nearest = nearest_spelling(wanted.view(), known)) {
            hint = fmt::format("; did you mean '{}'?", find(*nearest)->id);
        }
    }
    throw ConfigError(fmt::format("unknown GPU '{}'{} ({} has {} rows; a row can be added there)",
                                  name.substr(0, NormalisedName::kMaximumLength), hint,
                                  source_name_, gpus_.size()));
}

double peak_flops(const Gpu& gpu, DType dtype) {
    const auto peak = gpu.dense_peak_flops[static_cast<std::size_t>(dtype)];
    if (!peak) {
        throw ConfigError(fmt::format("{} has no {} peak in the table; it has {}", gpu.id,
                                      short_name(dtype), precisions_of(gpu)));
    }
    return *peak;
}

PeakCheck check_peak(const Gpu& gpu, DType dtype, double given_peak_flops) {
    constexpr double tolerance = 0.05;  // clocks and rounding of data sheets differ by this much
    if (!std::isfinite(given_peak_flops) || given_peak_flops <= 0) {
        throw ConfigError(
            fmt::format("a peak must be a positive number of FLOP/s, not {}", given_peak_flops));
    }
    const double table_peak_flops = peak_flops(gpu, dtype);
    PeakCheck check{.ratio = given_peak_flops / table_peak_flops, .warning = {}};
    if (std::abs(check.ratio - 1) <= tolerance) return check;

    check.warning = fmt::format(
        "the given {} peak of {:.4g} TFLOP/s is {:.3g} times the dense peak "
        "of {} ({:.4g} TFLOP/s)",
        short_name(dtype), given_peak_flops / 1e12, check.ratio, gpu.id, table_peak_flops / 1e12);
    if (std::abs(check.ratio / 2 - 1) <= tolerance) {
        check.warning +=
            ": it looks like the 2:4-sparse figure of the data sheet, which dense "
            "training cannot reach";
    }
    return check;
}

}  // namespace isoflop::hardware
