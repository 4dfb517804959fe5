// The accelerator table: dense peaks, memory, links and their sources. The shipped
// configs/gpus.jsonc is compiled in as the default; `--gpu-table FILE` replaces it. Adding a GPU is
// adding one row there.
//
// Only dense peaks are stored. Data sheets headline 2:4-sparse figures, twice the dense ones;
// taking those for a peak is the most common MFU error in the field.
#pragma once

#include <array>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "isoflop/base/dtype.hpp"

namespace isoflop::config {
struct Document;
}

namespace isoflop::hardware {

inline constexpr std::size_t kDTypeCount =
    8;  ///< float64 included; the table has no figures for it

/// One accelerator as the framework sees it (one CUDA device, one GCD-pair package, one TPU chip).
struct Gpu {
    std::string id;                    ///< canonical name, "H100-SXM"
    std::string vendor;                ///< "NVIDIA", "AMD", "Intel", "Google", "AWS"
    std::vector<std::string> aliases;  ///< other names, among them those that drivers print
    /// Dense peak in FLOP/s (int8: OP/s), indexed by DType; nullopt where the chip lacks the type
    /// or the vendor publishes no figure. float32 is the vector (non-tensor) rate; 16-bit and fp8
    /// rates are with fp32 accumulation.
    std::array<std::optional<double>, kDTypeCount> dense_peak_flops{};
    double memory_gb = 0;  ///< data-sheet capacity, "80" of an 80 GB card
    std::uint64_t usable_memory_bytes =
        0;  ///< memory available to a process: the figure of the driver, else memory_gb in GiB
    double memory_bandwidth_bytes_per_s = 0;  ///< peak device memory bandwidth
    std::string link_name;                    ///< "NVLink 4", "PCIe 5.0 x16", "ICI"
    double link_bytes_per_s = 0;              ///< per-GPU scale-up bandwidth, one direction
    std::optional<double> tdp_watts;
    std::string compute_capability;  ///< "9.0", "gfx942"; empty where there is none
    /// `train` cannot run on it: it needs CUDA and compute capability 8.0. Plans can be made.
    bool plan_only = false;
    std::string note;  ///< caveat shown by `scaling-plan gpus`, may be empty
    /// Source of each group of figures, as written in the table: key -> citation.
    std::vector<std::pair<std::string, std::string>> sources;

    bool operator==(const Gpu&) const = default;
};

class NameIndex;

/// A loaded table. Lookup reads names as drivers, clouds and people write them: "h100", "80GB
/// H100", "NVIDIA H100 80GB HBM3", "DGX H100" and "p5.48xlarge" all find the H100-SXM. A stated
/// size chooses among the rows of a name.
class GpuTable {
public:
    /// The table compiled in from configs/gpus.jsonc (parsed once, on first use).
    [[nodiscard]] static const GpuTable& builtin();
    /// Reads a table of the same form; the ConfigError of a fault names file, line and key.
    [[nodiscard]] static GpuTable from_file(const std::filesystem::path& path);
    [[nodiscard]] static GpuTable from_text(std::string text, std::string file_name);

    [[nodiscard]] const std::vector<Gpu>& gpus() const { return gpus_; }
    [[nodiscard]] const std::string& source_name() const {
        return source_name_;
    }  ///< file shown in messages

    /// nullptr when no row has this name.
    [[nodiscard]] const Gpu* find(std::string_view name) const;
    /// Throws ConfigError when unknown; it names the rows of other sizes, or a row of the same
    /// generation with a similar name.
    [[nodiscard]] const Gpu& at(std::string_view name) const;

private:
    GpuTable() = default;
    [[nodiscard]] static GpuTable from_document(const config::Document& document);

    std::vector<Gpu> gpus_;
    std::shared_ptr<const NameIndex> index_;  ///< of rows by position, so that copies share it
    std::string source_name_;
};

/// Dense peak of one GPU in FLOP/s. Throws ConfigError that lists the precisions the GPU has.
[[nodiscard]] double peak_flops(const Gpu& gpu, DType dtype);

/// Comparison of a given peak with the peak of the table.
struct PeakCheck {
    double ratio = 1;     ///< given / table
    std::string warning;  ///< empty within 5 %; says "2:4-sparse" when the ratio is 2
};
[[nodiscard]] PeakCheck check_peak(const Gpu& gpu, DType dtype, double given_peak_flops);

}  // namespace isoflop::hardware
