// Texts begin and end where the special tokens of a model say.
#include "isoflop/trainer/sampling.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "transformer/tiny_model.hpp"

namespace isoflop::trainer {
namespace {

class Sampling : public ::testing::Test {
protected:
    Sampling()
        : model_({.model = R"({"arch_preset": "llama", "n_layer": 1, "n_head": 2, "n_embd": 16,
                               "vocab_size": 257, "block_size": 64, "intermediate_size": 32})"}),
          tokenizer_(data::make_byte_tokenizer()) {}

    std::string text(const std::vector<std::int32_t>& ends,
                     std::optional<std::int32_t> beginning = std::nullopt) {
        SampleRequest request;
        request.prompt = "A";
        request.max_new_tokens = 24;
        request.beginning = beginning;
        request.ends = ends;
        return generate_text(model_.config, model_.state, model_.weights, model_.context,
                             *tokenizer_, request);
    }

    testing::TinyModel model_;
    std::unique_ptr<data::Tokenizer> tokenizer_;
};

TEST_F(Sampling, ATextEndsBeforeItsFirstEndToken) {
    const std::string whole = text({});
    std::set<std::string> beginnings;
    for (std::int32_t end = 0; end < 256; ++end) {
        const std::string ended = text({end});
        EXPECT_TRUE(whole.starts_with(ended)) << "end token " << end;
        beginnings.insert(ended);
    }
    // One beginning for every token in the text, the empty one for the first of them.
    EXPECT_GT(beginnings.size(), 5U);
    EXPECT_TRUE(beginnings.contains(""));
    EXPECT_TRUE(beginnings.contains(whole));
}

TEST_F(Sampling, EveryEndTokenEndsIt) {
    std::vector<std::int32_t> all(257);
    std::iota(all.begin(), all.end(), 0);
    EXPECT_EQ(text(all), "");
    std::string shortest = text({});
    for (const std::int32_t end : {10, 200}) shortest = std::min(shortest, text({end}));
    EXPECT_EQ(text({10, 200}), shortest);
}

TEST_F(Sampling, TheBeginningTokenIsReadBeforeThePrompt) {
    EXPECT_EQ(text({}), text({}));
    EXPECT_NE(text({}, 256), text({}));
    EXPECT_NE(text({}, 256), text({}, 3));
}

}  // namespace
}  // namespace isoflop::trainer
