// Text generation with a key/value cache: each token's keys and values are computed once and kept.
#pragma once

#include <cstdint>
#include <memory>
#include <span>

#include "isoflop/cost/state_layout.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::transformer {

class Generator {
public:
    /// weights: flat fp32 state of `layout`, which must outlive the generator. `max_tokens` bounds
    /// prompt and continuation together; models with learned positions allow at most
    /// max_position_embeddings.
    Generator(model::ModelConfig config, const cost::StateLayout& layout,
              device::TensorView weights, device::Context& context, std::int64_t max_tokens);
    ~Generator();

    /// Forgets all tokens.
    void reset();
    /// Appends tokens and returns the logits [vocab_size] that follow the last one, valid until the
    /// next call. Throws ConfigError when the cache is full.
    [[nodiscard]] std::span<const float> feed(std::span<const std::int32_t> tokens);
    [[nodiscard]] std::int64_t length() const;

private:
    class Implementation;
    std::unique_ptr<Implementation> implementation_;
};

struct SamplingOptions {
    double temperature = 0.8;  ///< 0: the most likely token
    std::int64_t top_k = 200;  ///< 0: all
    std::uint64_t seed = 1337;
};

/// Draws a token; `draw` counts the draws of a generation, so that the choice is a pure function of
/// (seed, draw, logits).
[[nodiscard]] std::int32_t sample_token(std::span<const float> logits,
                                        const SamplingOptions& options, std::uint64_t draw);

}  // namespace isoflop::transformer
