// Lists and checks as text and JSON: GPUs, laws, validation, sweeps.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <span>
#include <string>
#include <vector>

#include "isoflop/hardware/gpu_table.hpp"
#include "isoflop/planner/sweep.hpp"
#include "isoflop/scaling_law/law.hpp"
#include "isoflop/text/text_report.hpp"
#include "isoflop/validation/validation.hpp"

namespace isoflop::report {

[[nodiscard]] std::string gpus_text(const hardware::GpuTable& table, text::Colour colour);
[[nodiscard]] nlohmann::ordered_json gpus_json(const hardware::GpuTable& table);

[[nodiscard]] std::string laws_text(std::span<const scaling_law::Law> laws, text::Colour colour);
[[nodiscard]] nlohmann::ordered_json laws_json(std::span<const scaling_law::Law> laws);

/// Expected, got, error and source of every case; the last line counts those out of tolerance.
[[nodiscard]] std::string validation_text(std::span<const validation::ValidationCase> cases,
                                          text::Colour colour, bool quiet);
[[nodiscard]] nlohmann::ordered_json validation_json(
    std::span<const validation::ValidationCase> cases);

/// A sweep's table may have a million rows: rows are written one by one, with columns of fixed
/// width.
class SweepTable {
public:
    /// `axes` must outlive the table.
    explicit SweepTable(std::span<const planner::SweepAxis> axes);
    [[nodiscard]] std::string header() const;
    void append_row(std::string& out, const planner::SweepRow& row) const;
    /// One JSON object, without line end.
    void append_json(std::string& out, const planner::SweepRow& row) const;

private:
    struct Axis {
        const planner::SweepAxis* axis;
        std::size_t width;      ///< of the widest cell
        std::string json_path;  ///< quoted
    };
    std::vector<Axis> axes_;
};

}  // namespace isoflop::report
