// Model files as other programs write them: params.json of Meta and Mistral, configs of litgpt,
// ModelCenter and DeepSeek's inference code, arguments of Megatron-LM, and the files of multimodal
// models, whose language model is a section.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "isoflop/config/jsonc.hpp"
#include "isoflop/config/schema.hpp"

namespace isoflop::model {

/// A model in our spelling. Values keep their places in the file.
struct ReadFormat {
    config::Value object;            ///< what to read in place of the file's object
    std::string_view title = {};     ///< "params.json of Meta"; empty: the object as it was
    std::vector<std::string> notes;  ///< what the file does not say and is assumed, or is left out
    /// Keys of ours that the class of a Hugging Face file does not have; they have no effect.
    std::vector<config::Member> foreign = {};
};

/// Recognises a format by keys that no other has. Throws ConfigError with file, line and column for
/// what a format leaves to other files ("vocab_size": -1) or what has no counterpart here.
[[nodiscard]] ReadFormat read_format(const config::Document& document, const config::Value& object);

/// How a file of this model type spells a key: "n_inner" for the intermediate_size of gpt2. The key
/// itself where the type is unknown or has no other name for it.
[[nodiscard]] std::string_view spelling_of(std::string_view model_type, const config::Field& field);

/// The key of ours that another program's key means: "n_query_groups" is num_key_value_heads; empty
/// for other keys.
[[nodiscard]] std::string_view our_name_of(std::string_view foreign_key);
/// Whether true there is false here: "no-weight-tying" and tie_word_embeddings.
[[nodiscard]] bool is_opposite_of_ours(std::string_view foreign_key);

}  // namespace isoflop::model
