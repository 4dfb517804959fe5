// The C++ half of check_with_transformers.py.
//   export DIR        every case into DIR/<case>/; our own configuration of it is DIR/<case>.json
//   import CASE DIR   imports DIR and compares it, bit for bit, with what was exported
#include <fmt/format.h>

#include <cstdio>
#include <fstream>

#include "checkpoint/hugging_face_models.hpp"
#include "isoflop/base/error.hpp"

namespace {

using namespace isoflop;
using checkpoint::TokenizerInformation;

/// Bytes for the cases with room for them, characters for the remaining cases.
TokenizerInformation tokenizer_for(const model::ModelConfig& config) {
    TokenizerInformation tokenizer;
    if (config.vocab_size > 256) {
        tokenizer.kind = TokenizerInformation::Kind::byte;
        tokenizer.end_of_text = 256;
    } else {
        tokenizer.kind = TokenizerInformation::Kind::character;
        tokenizer.characters = {"\n", " ", "a", "b", "\xC3\xA9", "\xE2\x82\xAC"};
    }
    return tokenizer;
}

void export_all(const std::filesystem::path& directory) {
    for (const auto& example : checkpoint::test::export_cases()) {
        const model::ModelConfig config = checkpoint::test::config_of(example.json);
        checkpoint::export_hugging_face(config, checkpoint::test::reader_by_name(config),
                                        directory / example.name,
                                        {.tokenizer = tokenizer_for(config)});
        std::ofstream(directory / (example.name + ".json")) << example.json;
        std::ofstream(directory / (example.name + ".class")) << example.expected_class;
    }
}

int import_one(const std::string& name, const std::filesystem::path& directory) {
    for (const auto& example : checkpoint::test::export_cases()) {
        if (example.name != name) continue;
        const auto imported = checkpoint::import_hugging_face(directory);
        const auto differing = checkpoint::test::differing_tensors(
            imported, checkpoint::test::config_of(example.json));
        for (const std::string& tensor : differing) fmt::print(stderr, "{} differs\n", tensor);
        return differing.empty() ? 0 : 1;
    }
    fmt::print(stderr, "no case {}\n", name);
    return 2;
}

}  // namespace

int main(int argc, char** argv) {
    const std::vector<std::string> arguments(argv + 1, argv + argc);
    try {
        if (arguments.size() == 2 && arguments[0] == "export") {
            export_all(arguments[1]);
            return 0;
        }
        if (arguments.size() == 3 && arguments[0] == "import")
            return import_one(arguments[1], arguments[2]);
    } catch (const std::exception& error) {
        fmt::print(stderr, "{}\n", error.what());
        return 1;
    }
    fmt::print(stderr, "usage: isoflop_hugging_face_cases export DIR | import CASE DIR\n");
    return 2;
}
