#include "isoflop/trainer/sampling.hpp"

#include <algorithm>

#include "isoflop/base/error.hpp"

namespace isoflop::trainer {

std::string generate_text(const model::ModelConfig& config, const cost::StateLayout& layout,
                          const device::TensorView& weights, device::Context& context,
                          const data::Tokenizer& tokenizer, const SampleRequest& request) {
    std::vector<std::int32_t> prompt = tokenizer.encode(request.prompt);
    if (prompt.empty() && tokenizer.end_of_text()) prompt.push_back(*tokenizer.end_of_text());
    if (prompt.empty()) throw ConfigError("the prompt is empty; give at least one character");
    auto total = static_cast<std::int64_t>(prompt.size()) + request.max_new_tokens;
    if (config.position_encoding == model::PositionEncoding::learned_absolute) {
        total = std::min(total, config.max_position_embeddings);
    }
    if (total < static_cast<std::int64_t>(prompt.size())) {
        throw ConfigError("the prompt is longer than the model's learned positions");
    }
    transformer::Generator generator(config, layout, weights, context, total);
    data::StreamDecoder decoder(tokenizer);
    std::string text;
    const auto emit = [&](const std::string& piece) {
        text += piece;
        if (request.on_text && !piece.empty()) request.on_text(piece);
    };
    std::span<const float> logits = generator.feed(prompt);
    for (std::uint64_t draw = 0; generator.length() < total; ++draw) {
        const std::int32_t token = transformer::sample_token(logits, request.sampling, draw);
        if (tokenizer.end_of_text() == token) break;
        emit(decoder.push(token));
        logits = generator.feed({&token, 1});
    }
    emit(decoder.finish());
    return text;
}

}  // namespace isoflop::trainer
