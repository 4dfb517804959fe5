// The usual global batch of a run, and a learning rate for the batch that is used.
//
//   usual batch     B = 0.58 D^0.571 tokens            Step Law, arXiv 2503.04715: D tokens of the run
//   usual rate      eta = 1.79 N^-0.713 D^0.307        the same; N non-embedding parameters
//   matched rate    eta min(1, sqrt(b / B))            square-root rule of Adam, Malladi 2022, arXiv
//                                                      2205.10782; b tokens of the batch used
//
// The law was fitted to models of 60M to 1B parameters and 2B to 100B tokens; its batch has a broad
// minimum, so that only one over four times away from it is called unusual.
#pragma once

#include <cstdint>
#include <string>

#include "isoflop/cost/execution.hpp"

namespace isoflop::planner {

/// A batch that is so many times larger or smaller than usual is warned of.
inline constexpr double kUnusualBatchFactor = 4;

/// Tokens of a global batch by the Step Law.
[[nodiscard]] double usual_batch_tokens(double n_tokens);

/// The batch of a plan beside the usual one, and the nearest that its GPUs and micro-batch allow.
struct BatchAdvice {
    double batch_tokens = 0;
    double usual_tokens = 0;
    std::int64_t micro_batch_size = 1;  ///< advised; at most the given one
    std::int64_t grad_accum_steps = 1;  ///< advised, per GPU: a power of two
    double advised_tokens = 0;

    [[nodiscard]] double ratio() const { return batch_tokens / usual_tokens; }
    [[nodiscard]] bool is_unusual() const;
};

[[nodiscard]] BatchAdvice batch_advice(const cost::Execution& execution, double n_tokens);

/// "gradient_accumulation_steps=64", with batch_size where that changes too.
[[nodiscard]] std::string batch_setting(const BatchAdvice& advice, const cost::Execution& given);

/// What is said of an unusual batch; empty for a usual one.
[[nodiscard]] std::string batch_warning(const BatchAdvice& advice, const cost::Execution& given);

/// Step Law: the learning rate at the usual batch.
[[nodiscard]] double step_law_learning_rate(double non_embedding_params, double n_tokens);

/// That rate, lowered for a batch below the usual one.
[[nodiscard]] double matched_learning_rate(double non_embedding_params, double n_tokens,
                                           double batch_tokens);

}  // namespace isoflop::planner
