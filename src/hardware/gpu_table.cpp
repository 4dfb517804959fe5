#include "isoflop/hardware/gpu_table.hpp"

#include <fmt/format.h>

#include <cmath>
#include <memory>
#include <utility>

#include "hardware/gpu_name.hpp"
#include "hardware/gpu_table_reader.hpp"
#include "hardware/name_index.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/config/jsonc.hpp"

namespace isoflop::hardware {

extern const std::string_view builtin_gpu_table_text;  // generated from configs/gpus.jsonc

namespace {

/// "A100-SXM-80 (80 GB), A100-SXM-40 (40 GB)".
std::string rows_with_sizes(const std::vector<Gpu>& gpus, const std::vector<std::size_t>& rows) {
    std::string text;
    for (const std::size_t row : rows) {
        text += fmt::format("{}{} ({:g} GB)", text.empty() ? "" : ", ", gpus[row].id,
                            gpus[row].memory_gb);
    }
    return text;
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
    GpuTable table;
    table.index_ = std::make_shared<const NameIndex>(parsed, document);
    table.gpus_ = std::move(parsed.gpus);
    table.source_name_ = document.file_name;
    return table;
}

const Gpu* GpuTable::find(std::string_view name) const {
    const NameMatch match = index_->find(name);
    return match.row ? &gpus_[*match.row] : nullptr;
}

const Gpu& GpuTable::at(std::string_view name) const {
    const NameMatch match = index_->find(name);
    if (match.row) return gpus_[*match.row];

    std::string hint;
    if (!match.candidates.empty()) {
        hint = fmt::format("; rows of that name: {}", rows_with_sizes(gpus_, match.candidates));
    } else if (const auto nearest = index_->nearest(name)) {
        hint = fmt::format("; did you mean '{}'?", gpus_[*nearest].id);
    }
    throw ConfigError(fmt::format(
        "unknown GPU '{}'{} (`scaling-plan gpus` lists the {} rows of {}; docs/hardware.md says "
        "how "
        "to add one)",
        printable(name.substr(0, NormalisedName::kMaximumLength)), hint, gpus_.size(),
        source_name_));
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
