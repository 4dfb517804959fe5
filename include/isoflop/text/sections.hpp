// Rows that several reports share.
#pragma once

#include <array>
#include <string>
#include <vector>

#include "isoflop/cost/execution.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/text/text_report.hpp"

namespace isoflop::text {

/// "32L 4096H 32 heads (8 kv) x 128, FFN 14336 swiglu, vocabulary 128256, untied"
[[nodiscard]] std::string architecture_line(const model::ModelConfig& config);
/// "bfloat16, flash_attn_2, recompute none, ddp over 8, micro-batch 1 x 2048"
[[nodiscard]] std::string execution_line(const cost::Execution& execution);

/// "43.31 GFLOP", "6.12 MFLOP": FLOPs in the unit of their size.
[[nodiscard]] std::string flop_count(double flops, int decimals = 2);
/// With its sign: "+3.22 GFLOP".
[[nodiscard]] std::string flop_difference(double flops);

void parameter_rows(TextReport& report, const model::ParameterTotals& totals);
void flop_rows(TextReport& report, const std::vector<cost::MatrixProduct>& products,
               std::int64_t tokens);
void memory_rows(TextReport& report, const cost::MemoryPlan& plan);
void convention_row(TextReport& report, const std::array<double, cost::kConventionCount>& flops,
                    cost::Convention convention);
void convention_table(TextReport& report, const std::array<double, cost::kConventionCount>& flops);

}  // namespace isoflop::text
