#include "isoflop/planner/batch_size.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

#include "isoflop/base/text.hpp"

namespace isoflop::planner {
namespace {

/// The nearest power of two, at least 1.
std::int64_t nearest_power_of_two(double value) {
    constexpr double kMost = 19;  // 2^19 is within the range of both keys
    const double exponent = std::clamp(std::round(std::log2(value)), 0.0, kMost);
    return std::int64_t{1} << static_cast<int>(exponent);
}

}  // namespace

double usual_batch_tokens(double n_tokens) {
    return 0.58 * std::pow(n_tokens, 0.571);
}

bool BatchAdvice::is_unusual() const {
    return ratio() > kUnusualBatchFactor || ratio() < 1 / kUnusualBatchFactor;
}

BatchAdvice batch_advice(const cost::Execution& execution, double n_tokens) {
    const auto micro_batch = static_cast<double>(execution.micro_batch_size);
    const double tokens_of_all = static_cast<double>(execution.sequence_length) *
                                 static_cast<double>(execution.world_size);  // one sequence a GPU
    BatchAdvice advice;
    advice.batch_tokens =
        tokens_of_all * micro_batch * static_cast<double>(execution.grad_accum_steps);
    advice.usual_tokens = usual_batch_tokens(n_tokens);
    const double sequences = advice.usual_tokens / tokens_of_all;
    advice.micro_batch_size = execution.micro_batch_size;
    if (sequences * std::numbers::sqrt2 < micro_batch) {
        advice.micro_batch_size =
            std::min(nearest_power_of_two(sequences), execution.micro_batch_size);
    } else {
        advice.grad_accum_steps = nearest_power_of_two(sequences / micro_batch);
    }
    advice.advised_tokens = tokens_of_all * static_cast<double>(advice.micro_batch_size) *
                            static_cast<double>(advice.grad_accum_steps);
    return advice;
}

std::string batch_setting(const BatchAdvice& advice, const cost::Execution& given) {
    std::string text = fmt::format("gradient_accumulation_steps={}", advice.grad_accum_steps);
    if (advice.micro_batch_size != given.micro_batch_size)
        text = fmt::format("batch_size={}, {}", advice.micro_batch_size, text);
    return text;
}

std::string batch_warning(const BatchAdvice& advice, const cost::Execution& given) {
    if (!advice.is_unusual()) return {};
    const bool small = advice.ratio() < 1;
    const double factor = small ? 1 / advice.ratio() : advice.ratio();
    std::string text = fmt::format(
        "the global batch of {} tokens is {:.{}f} times {} than the usual {} for this many tokens "
        "(0.58 D^0.571, arXiv 2503.04715)",
        human_count(advice.batch_tokens), factor, factor < 10 ? 1 : 0, small ? "smaller" : "larger",
        human_count(advice.usual_tokens));
    const bool can_change = advice.grad_accum_steps != given.grad_accum_steps ||
                            advice.micro_batch_size != given.micro_batch_size;
    if (can_change) {
        text += fmt::format("; {} makes it {}", batch_setting(advice, given),
                            human_count(advice.advised_tokens));
    }
    if (advice.advised_tokens > kUnusualBatchFactor * advice.usual_tokens)
        text += "; one sequence per GPU is too many: fewer GPUs or shorter sequences would do";
    return text;
}

double step_law_learning_rate(double non_embedding_params, double n_tokens) {
    return 1.79 * std::pow(non_embedding_params, -0.713) * std::pow(n_tokens, 0.307);
}

double matched_learning_rate(double non_embedding_params, double n_tokens, double batch_tokens) {
    const double share = std::sqrt(batch_tokens / usual_batch_tokens(n_tokens));
    return step_law_learning_rate(non_embedding_params, n_tokens) * std::min(1.0, share);
}

}  // namespace isoflop::planner
