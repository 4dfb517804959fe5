// The table of a sweep as text, JSON, CSV and Markdown, all from one list of figures. A sweep may
// have a million rows: text, JSON and CSV are written row by row, with columns of fixed width.
#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <string>

#include "isoflop/planner/sweep.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::report {

/// Columns that the text has only where they are of interest. JSON and CSV always have them, and
/// Markdown always has the energy.
struct OptionalColumns {
    bool num_gpus = false;
    bool available_hours = false;
    bool costs = false;
    bool data = false;  ///< epochs, and what limits the optimum
};

class SweepTable {
public:
    /// `axes` must outlive the table.
    /// `axes` must outlive the table. The text leaves out what does not fit in `width`.
    explicit SweepTable(std::span<const planner::SweepAxis> axes, OptionalColumns columns = {},
                        std::size_t width = text::kAnyWidth);
    [[nodiscard]] std::string header() const;
    void append_row(std::string& out, const planner::SweepRow& row) const;
    /// Names the columns that the text leaves out, in a line of its own; empty when there is none.
    [[nodiscard]] std::string footer() const;
    /// One JSON object, without line end.
    void append_json(std::string& out, const planner::SweepRow& row) const;

    /// Swept keys, figures and the reason of a refusal, each with its unit.
    [[nodiscard]] std::string csv_header() const;
    void append_csv(std::string& out, const planner::SweepRow& row) const;

    /// The columns of the text, with the energy; cost and refusal only where there is one.
    [[nodiscard]] std::string markdown(std::span<const planner::SweepRow> rows) const;

private:
    struct Parts;
    std::shared_ptr<const Parts> parts_;
};

/// Rows that a Markdown table may have.
inline constexpr std::size_t kMaxMarkdownRows = 10'000;

}  // namespace isoflop::report
