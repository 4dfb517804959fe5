// The CPUs that this process may use, by which ranks of one machine tell whether they share them.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

namespace isoflop::device {

struct UsableCpus {
    std::vector<std::uint32_t> mask;  ///< CPU c is bit c % 32 of word c / 32; as long as needed
    std::optional<double> quota;      ///< of the control group, CPU time per wall time

    /// CPUs of the mask, limited by the quota (rounded up), at least 1.
    [[nodiscard]] int count() const;
};

/// By affinity and control group. ISOFLOP_NUM_THREADS does not change it.
[[nodiscard]] UsableCpus usable_cpus();

}  // namespace isoflop::device
