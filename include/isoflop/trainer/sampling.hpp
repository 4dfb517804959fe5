// Text from a model: a prompt is encoded, continued token by token, and decoded.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/cost/state_layout.hpp"
#include "isoflop/data/tokenizer.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"
#include "isoflop/transformer/generator.hpp"

namespace isoflop::trainer {

struct SampleRequest {
    std::string prompt;
    std::int64_t max_new_tokens = 200;
    transformer::SamplingOptions sampling;
    std::optional<std::int32_t> beginning = {};  ///< before the prompt, as the model was trained
    std::vector<std::int32_t> ends = {};  ///< end the text, beside the tokenizer's end of text
    /// Called with text as it becomes complete; may be empty.
    std::function<void(std::string_view)> on_text;
};

/// The continuation, without the prompt; ends at the tokenizer's end of text, and early when the
/// process is to stop. Learned positions limit its length.
std::string generate_text(const model::ModelConfig& config, const cost::StateLayout& layout,
                          const device::TensorView& weights, device::Context& context,
                          const data::Tokenizer& tokenizer, const SampleRequest& request);

}  // namespace isoflop::trainer
