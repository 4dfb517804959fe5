// Fuzz target: tokenizers of this project and the files that say which tokens of a Hugging Face
// model are special. (A SentencePiece model is read by that library.)
#include <string>
#include <vector>

#include "fuzz_support.hpp"
#include "isoflop/checkpoint/companion_files.hpp"
#include "isoflop/data/tokenizer.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace isoflop;
    using namespace isoflop::fuzz;
    if (size == 0) return 0;
    const std::string_view text = text_of(data + 1, size - 1);
    if ((data[0] & 1U) != 0) {
        static constexpr const char* kNames[] = {"config.json", "generation_config.json",
                                                 "tokenizer_config.json"};
        for (const char* name : kNames) (void)scratch().put(name, text);
        expect_read_or_refused([] { (void)checkpoint::special_tokens(scratch().path()); });
        return 0;
    }
    (void)scratch().put("tokenizer_isoflop.json", text);
    expect_read_or_refused([&] {
        const auto tokenizer = data::load_tokenizer(scratch().path());
        (void)tokenizer->hash();
        std::vector<std::int32_t> tokens;
        try {
            tokens = tokenizer->encode(text);
        } catch (const data::EncodeError&) {
            return;  // a character that it does not have
        }
        require(tokenizer->decode_bytes(tokens) == text, "what is encoded is decoded");
    });
    return 0;
}
