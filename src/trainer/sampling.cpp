#include "isoflop/trainer/sampling.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/error.hpp"
#include "isoflop/base/stop.hpp"

namespace isoflop::trainer {

std::string generate_text(const model::ModelConfig& config, const cost::StateLayout& layout,
                          const device::TensorView& weights, device::Context& context,
                          const data::Tokenizer& tokenizer, const SampleRequest& request) {
    std::vector<std::int32_t> prompt = tokenizer.encode(request.prompt);
    if (request.beginning) prompt.insert(prompt.begin(), *request.beginning);
    if (prompt.empty() && tokenizer.end_of_text()) prompt.push_back(*tokenizer.end_of_text());
    if (prompt.empty()) throw ConfigError("the prompt is empty; give at least one character");
    auto total = static_cast<std::int64_t>(prompt.size()) + request.max_new_tokens;
    if (config.position_encoding == model::PositionEncoding::learned_absolute) {
        total = std::min(total, config.max_position_embeddings);
    }
    if (static_cast<std::int64_t>(prompt.size()) > config.max_position_embeddings) {
        throw ConfigError(fmt::format(
            "the prompt has {} tokens, more than the {} positions of the model; give a shorter one",
            prompt.size(), config.max_position_embeddings));
    }
    transformer::Generator generator(config, layout, weights, context, total);
    data::StreamDecoder decoder(tokenizer, prompt.back());
    std::string text;
    const auto emit = [&](const std::string& piece) {
        text += piece;
        if (request.on_text && !piece.empty()) request.on_text(piece);
    };
    const auto is_end = [&](std::int32_t token) {
        return std::find(request.ends.begin(), request.ends.end(), token) != request.ends.end();
    };
    // In pieces, as the scores of a whole prompt grow with the square of its length.
    constexpr std::size_t kPiece = 1024;
    std::span<const float> logits;
    for (std::span<const std::int32_t> rest = prompt; !rest.empty();) {
        const auto piece = rest.first(std::min(kPiece, rest.size()));
        logits = generator.feed(piece);
        rest = rest.subspan(piece.size());
    }
    for (std::uint64_t draw = 0; generator.length() < total && !stop_requested(); ++draw) {
        const std::int32_t token = transformer::sample_token(logits, request.sampling, draw);
        if (tokenizer.end_of_text() == token || is_end(token)) break;
        emit(decoder.push(token));
        logits = generator.feed({&token, 1});
    }
    emit(decoder.finish());
    return text;
}

}  // namespace isoflop::trainer
