// Ground truth that the planner must reproduce: published parameter counts, FLOPs, utilisation and
// scaling-law tables, built into the program so that any user can check their copy with
// `scaling-plan validate`.
#pragma once

#include <string>
#include <vector>

namespace isoflop::validation {

struct ValidationCase {
    std::string
        group;  ///< "parameters", "flops", "utilisation", "scaling laws", "compat dsc180_a06"
    std::string name;  ///< "LLaMA-7B total parameters"
    double expected = 0;
    double got = 0;
    double tolerance = 0;  ///< in the unit below, or relative
    bool relative = true;  ///< tolerance is a fraction of `expected`
    std::string unit;      ///< "parameters", "FLOP/token", "% MFU", "tokens", "nats"
    std::string source;    ///< paper and table, or public file
    std::string note;      ///< reason for the tolerance; may be empty

    [[nodiscard]] double error() const;  ///< got - expected, relative if `relative`
    [[nodiscard]] bool passed() const;   ///< false also for NaN
};

/// Computes every built-in case with the same code that plans use.
[[nodiscard]] std::vector<ValidationCase> run_validation();

/// The figures of the earlier system that `--compat dsc180_a06` must reproduce to the digit.
[[nodiscard]] std::vector<ValidationCase> run_compat_validation();

}  // namespace isoflop::validation
