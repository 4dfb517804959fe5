// What a name of an accelerator says: the chip, its form (SXM, PCIe, NVL), memory sizes and the
// system around it. Drivers, clouds and people write one chip in many ways; names that say the same
// have the same reading.
//
//   "NVIDIA A100-SXM4-80GB", "80 GB A100 sxm"   key "nvidiaa100sxm" and "a100sxm", size 80
//   "DGX A100 640GB"                            system "dgx", key "a100", size 640
//   "ml.p5.48xlarge", "Standard_NC24ads_A100_v4"   key "p5", "ncadsa100v4": the size of a machine
//                                                  says how many GPUs it has, not which
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace isoflop::hardware {

struct NameReading {
    std::string key;                ///< the words that name the chip, joined, then the form
    std::vector<double> memory_gb;  ///< sizes stated anywhere in the name
    std::string memory_kind;        ///< "hbm2e" or "gddr6"; empty where the name has neither
    std::string system;             ///< "dgx" or "hgx"; empty where the name has neither
    bool is_station = false;        ///< "DGX Station": four GPUs, not eight
    bool ends_in_number = false;    ///< the last word of the chip is a number, perhaps a size

    /// Key of names that belong to a system as a whole, "dgxspark".
    [[nodiscard]] std::string system_key() const { return system + key; }
};

enum class BareNumber { is_part_of_the_chip, is_memory };

/// With BareNumber::is_memory the last number is a size in GB: "A100-40".
[[nodiscard]] NameReading read_name(std::string_view name,
                                    BareNumber number = BareNumber::is_part_of_the_chip);

}  // namespace isoflop::hardware
