// Each format: the keys that mark it, what its keys are called here, and what follows from them.
#include "isoflop/model/model_format.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>

#include "class_keys.hpp"
#include "families.hpp"
#include "foreign_names.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_fields.hpp"

namespace isoflop::model {
namespace {

using config::Value;

/// An object that is being put into our spelling.
class Rewriter {
public:
    Rewriter(const config::Document& document, const Value& object)
        : document_(document), location_(object.location()), members_(object.as_object()) {}

    [[nodiscard]] const Value* find(std::string_view key) const {
        const auto found = at(members_, key);
        return found == members_.end() ? nullptr : &found->value;
    }
    [[nodiscard]] bool is_true(std::string_view key) const {
        const Value* value = find(key);
        return value != nullptr && value->is_bool() && value->as_bool();
    }
    [[nodiscard]] double number(std::string_view key, double otherwise) const {
        const Value* value = find(key);
        return value != nullptr && value->is_number() ? value->as_number() : otherwise;
    }
    [[nodiscard]] std::string text(std::string_view key, std::string_view otherwise) const {
        const Value* value = find(key);
        return value != nullptr && value->is_string() ? value->as_string() : std::string(otherwise);
    }
    /// A key that is there already keeps its value.
    void rename(std::string_view from, std::string_view to) {
        const auto member = at(members_, from);
        if (member == members_.end()) return;
        if (find(to) != nullptr)
            members_.erase(member);
        else
            member->key = to;
    }
    void remove(std::string_view key) {
        const auto member = at(members_, key);
        if (member != members_.end()) members_.erase(member);
    }
    /// In place of a key of the file, whose place it takes in messages.
    void set(std::string_view key, Value::Storage value, std::string_view from = {}) {
        const Value* source = find(from);
        const config::SourceLocation place = source != nullptr ? source->location() : location_;
        remove(from);
        remove(key);
        members_.push_back({std::string(key), place, Value(std::move(value), place)});
    }
    void set_text(std::string_view key, std::string_view value, std::string_view from = {}) {
        std::string text(value);
        set(key, Value::Storage(std::move(text)), from);
    }
    /// Unless the file has it.
    void set_default(std::string_view key, Value::Storage value) {
        if (find(key) == nullptr) set(key, std::move(value));
    }
    void remove_nulls() {
        std::erase_if(members_,
                      [](const config::Member& member) { return member.value.is_null(); });
    }
    /// "num-layers" becomes "num_layers": command lines and YAML files spell keys so.
    void replace_dashes() {
        for (config::Member& member : members_) {
            while (member.key.starts_with('-')) member.key.erase(0, 1);
            std::replace(member.key.begin(), member.key.end(), '-', '_');
        }
    }
    void keep_only(std::span<const std::string_view> keys) {
        std::erase_if(members_, [&](const config::Member& member) {
            return std::find(keys.begin(), keys.end(), member.key) == keys.end();
        });
    }
    void note(std::string_view text) { notes_.emplace_back(text); }
    [[noreturn]] void refuse(std::string_view key, std::string_view message) const {
        const Value* value = find(key);
        throw ConfigError(
            document_.describe(value != nullptr ? value->location() : location_, message));
    }
    [[nodiscard]] ReadFormat result(std::string_view title) {
        return {Value(std::move(members_), location_), title, std::move(notes_)};
    }

private:
    template <class Members>
    static auto at(Members& members, std::string_view key) -> decltype(members.begin()) {
        return std::find_if(members.begin(), members.end(),
                            [&](const auto& member) { return member.key == key; });
    }

    const config::Document& document_;
    config::SourceLocation location_;
    Value::Object members_;
    std::vector<std::string> notes_;
};

void rename_all(Rewriter& file) {
    for (const Name& name : foreign_names()) {
        if (name.ours.find(' ') == std::string_view::npos) file.rename(name.foreign, name.ours);
    }
}

void remove_all(Rewriter& file, std::initializer_list<std::string_view> keys) {
    for (const std::string_view key : keys) file.remove(key);
}

/// The width of a gated network as Meta's model.py computes it: two thirds of 4 dim, times
/// ffn_dim_multiplier, up to the next multiple of multiple_of.
std::int64_t meta_ffn_width(const Rewriter& file) {
    constexpr double kDefaultMultiple = 256;
    const double two_thirds = std::floor(2.0 * 4.0 * file.number("dim", 0) / 3.0);
    const double multiple = std::max(1.0, file.number("multiple_of", kDefaultMultiple));
    const double width = std::floor(two_thirds * file.number("ffn_dim_multiplier", 1));
    return static_cast<std::int64_t>(std::min(std::ceil(width / multiple) * multiple, 0x1p53));
}

ReadFormat read_meta(Rewriter file) {
    if (file.number("vocab_size", 0) == -1) {
        file.refuse("vocab_size",
                    "Meta's files leave vocab_size (-1) to the tokenizer: write it there; Llama 1 "
                    "and 2 have 32000");
    }
    file.set("intermediate_size", meta_ffn_width(file), "ffn_dim_multiplier");
    if (file.is_true("use_scaled_rope")) {
        // As its code sets them for Llama 3.1.
        const config::SourceLocation place = file.find("use_scaled_rope")->location();
        const auto member = [&](const char* key, Value::Storage value) {
            return config::Member{key, place, Value(std::move(value), place)};
        };
        file.set("rope_scaling",
                 Value::Object{member("rope_type", std::string("llama3")), member("factor", 8.0),
                               member("low_freq_factor", 1.0), member("high_freq_factor", 4.0),
                               member("original_max_position_embeddings", std::int64_t{8192})},
                 "use_scaled_rope");
    }
    remove_all(file, {"multiple_of", "use_scaled_rope", "max_batch_size"});
    rename_all(file);
    file.note("intermediate_size from multiple_of and ffn_dim_multiplier");
    return file.result("params.json of Meta");
}

/// The object "moe" of a params.json: its keys beside those of the model.
void take_mistral_experts(Rewriter& file) {
    const Value* moe = file.find("moe");
    if (moe == nullptr || !moe->is_object()) return file.remove("moe");
    constexpr Name kExperts[] = {{"num_experts", "num_experts"},
                                 {"num_experts_per_tok", "num_experts_per_tok"},
                                 {"num_shared_experts", "n_shared_experts"},
                                 {"expert_hidden_dim", "moe_intermediate_size"},
                                 {"first_k_dense_replace", "first_k_dense_replace"}};
    const Value::Object experts = moe->as_object();
    for (const config::Member& member : experts) {
        for (const Name& name : kExperts) {
            if (name.foreign != member.key || member.value.is_null()) continue;
            if (!member.value.is_integer())
                file.refuse("moe", fmt::format("moe.{} must be an integer; found {}", member.key,
                                               member.value.to_text()));
            file.set(name.ours, member.value.as_integer());
        }
    }
    file.remove("moe");
}

/// Files of newer models have every key, null where the model has no such part.
ReadFormat read_mistral(Rewriter file) {
    take_mistral_experts(file);
    for (const std::string_view section : {"vision_encoder", "multimodal", "audio_model_args"}) {
        const Value* value = file.find(section);
        if (value != nullptr && value->is_object()) file.note(fmt::format("{} left out", section));
        file.remove(section);
    }
    remove_all(file, {"causal", "model_parallel", "yarn", "quantization", "quantization_config",
                      "llama_4_scaling", "max_batch_size"});
    file.remove_nulls();
    file.rename("hidden_dim", "intermediate_size");
    file.rename("use_biases", "bias");
    file.rename("tied_embeddings", "tie_word_embeddings");
    rename_all(file);
    return file.result("params.json of Mistral");
}

ReadFormat read_modelcenter(Rewriter file) {
    rename_all(file);
    return file.result("config of ModelCenter");
}

/// DeepSeek's inference code serves V2 and V3 and projects queries directly where q_lora_rank is 0.
/// Scores are a sigmoid in V3 only, which also has a bias for each expert.
ReadFormat read_deepseek(Rewriter file) {
    constexpr double kWidthOfV3 = 7168;  // for which the code adds the bias
    const bool says_score = file.find("score_func") != nullptr;
    const bool is_v3 = says_score ? file.text("score_func", "softmax") == "sigmoid"
                                  : file.number("dim", 0) == kWidthOfV3;
    if (!says_score) {
        file.note(is_v3 ? "deepseek_v3 for its width, as score_func is not given"
                        : "deepseek_v2 (no bias of the experts), as score_func is not given");
    }
    if (file.number("q_lora_rank", 0) == 0) file.remove("q_lora_rank");
    remove_all(file, {"n_expert_groups", "n_limited_groups", "route_scale", "score_func", "mscale",
                      "dtype", "max_batch_size", "rope_factor", "beta_fast", "beta_slow",
                      "original_seq_len", "scale_fmt"});
    file.set_default("n_dense_layers", std::int64_t{1});
    rename_all(file);
    file.set_text("model_type", is_v3 ? "deepseek_v3" : "deepseek_v2");
    return file.result("config of DeepSeek's inference code");
}

void set_norm(Rewriter& file, std::string_view key, std::string_view otherwise, bool bias) {
    const std::string name = file.text(key, otherwise);
    if (name == "RMSNorm") return file.set_text("normalization", "rmsnorm", key);
    if (name == "LayerNorm") {
        return file.set_text("normalization", bias ? "layernorm" : "layernorm_nobias", key);
    }
    file.refuse(key, fmt::format("{} must be RMSNorm or LayerNorm; found \"{}\"", key, name));
}

/// litgpt's Config. Its own files name every class; where one is missing, a LLaMA is assumed, and
/// said.
ReadFormat read_litgpt(Rewriter file) {
    constexpr double kPaddingMultiple = 512;
    for (const std::string_view key : {"lm_head_bias", "shared_attention_norm"}) {
        if (file.is_true(key)) file.refuse(key, fmt::format("{} must be false; found true", key));
    }
    if (file.number("n_expert", 0) == 0) remove_all(file, {"n_expert", "n_expert_per_token"});
    if (file.find("padded_vocab_size") != nullptr) {
        file.remove("vocab_size");
    } else if (const double rows = file.number("vocab_size", 0); rows > 0) {
        const double multiple = std::max(1.0, file.number("padding_multiple", kPaddingMultiple));
        const auto padded = static_cast<std::int64_t>(std::ceil(rows / multiple) * multiple);
        file.note(fmt::format("vocab_size padded to {}", padded));
        file.set("vocab_size", padded);
    }
    for (const auto& [key, assumed] :
         {std::pair{"mlp_class_name", "LLaMAMLP"}, std::pair{"norm_class_name", "RMSNorm"}}) {
        if (file.find(key) == nullptr) file.note(fmt::format("{} {}", key, assumed));
    }
    const std::string ffn = file.text("mlp_class_name", "LLaMAMLP");
    if (ffn != "LLaMAMLP" && ffn != "GemmaMLP" && ffn != "GptNeoxMLP" && ffn != "LLaMAMoE") {
        file.refuse("mlp_class_name",
                    fmt::format("mlp_class_name must be one of LLaMAMLP, LLaMAMoE, GemmaMLP, "
                                "GptNeoxMLP; found \"{}\"",
                                ffn));
    }
    const bool bias = file.find("bias") == nullptr || file.is_true("bias");
    set_norm(file, "norm_class_name", "RMSNorm", bias);
    file.set_text("ffn_type", ffn == "GptNeoxMLP" ? "standard" : "swiglu", "mlp_class_name");
    if (ffn == "GemmaMLP") file.set_text("hidden_act", "gelu_tanh");
    if (ffn == "GptNeoxMLP") file.set_text("hidden_act", "gelu");
    file.set_default("bias", true);
    if (file.is_true("post_attention_norm") && file.is_true("post_mlp_norm"))
        file.set_text("norm_position", "sandwich");
    remove_all(file,
               {"name", "hf_config", "padding_multiple", "lm_head_bias", "shared_attention_norm",
                "post_attention_norm", "post_mlp_norm", "scale_embeddings", "gelu_approximate",
                "attention_scores_scalar", "rope_condense_ratio", "rope_adjustments",
                "attention_logit_softcapping", "final_logit_softcapping"});
    if (file.number("rotary_percentage", 1) == 1) file.remove("rotary_percentage");
    rename_all(file);
    return file.result("model config of litgpt");
}

/// What these arguments add has no counterpart here, and would be missing in every figure.
void refuse_other_blocks(const Rewriter& file) {
    for (const std::string_view key :
         {"multi_latent_attention", "is_hybrid_model", "retro_add_retriever"}) {
        if (file.is_true(key)) file.refuse(key, fmt::format("{} must be false; found true", key));
    }
    for (const std::string_view key : {"mtp_num_layers", "hybrid_attention_ratio"}) {
        if (file.number(key, 0) > 0)
            file.refuse(key, fmt::format("{} must be 0; found {}", key, file.number(key, 0)));
    }
    const Value* interval = file.find("moe_layer_freq");
    if (interval != nullptr && !interval->is_null() && file.number("moe_layer_freq", 0) != 1 &&
        file.number("num_experts", 0) > 0) {
        file.refuse("moe_layer_freq",
                    fmt::format("moe_layer_freq must be 1; found {}", interval->to_text()));
    }
}

/// Without --ffn-hidden-size: two thirds of 4 hidden_size, down to a multiple of 64 (validate_args
/// of megatron/training/arguments.py).
void set_megatron_ffn_width(Rewriter& file, bool gated) {
    if (file.number("ffn_hidden_size", 0) > 0 || !gated) return;
    const double width = std::floor(4.0 * file.number("hidden_size", 0) * 2.0 / 3.0 / 64.0) * 64.0;
    const auto rows = static_cast<std::int64_t>(std::min(width, 0x1p53));
    file.remove("ffn_hidden_size");
    file.set("ffn_hidden_size", rows);
    file.note(fmt::format("ffn_hidden_size {}", rows));
}

/// --use-rotary-position-embeddings is the older spelling of --position-embedding-type rope, and
/// counts where both are given.
void set_megatron_positions(Rewriter& file) {
    std::string positions = file.text("position_embedding_type", "learned_absolute");
    if (file.is_true("use_rotary_position_embeddings")) positions = "rope";
    if (positions != "learned_absolute" && positions != "rope" && positions != "none")
        file.refuse("position_embedding_type",
                    fmt::format("position_embedding_type must be learned_absolute, rope or none; "
                                "found \"{}\"",
                                positions));
    file.set_text("position_encoding", positions, "position_embedding_type");
}

/// Arguments of Megatron-LM, of which most are of the run; its defaults are GPT-2's choices.
ReadFormat read_megatron(Rewriter file) {
    file.replace_dashes();
    refuse_other_blocks(file);
    const bool bias = !file.is_true("disable_bias_linear") &&
                      (file.find("add_bias_linear") == nullptr || file.is_true("add_bias_linear"));
    if (!bias && file.is_true("add_qkv_bias"))
        file.refuse("add_qkv_bias", "biases on queries, keys and values only have no key here");
    if (!file.is_true("group_query_attention") && file.find("group_query_attention") != nullptr)
        file.remove("num_query_groups");
    if (file.find("padded_vocab_size") != nullptr) file.remove("vocab_size");
    if (file.find("max_position_embeddings") != nullptr) file.remove("seq_length");
    set_norm(file, "normalization", "LayerNorm", true);
    file.set("bias", bias);
    const bool gated = file.is_true("swiglu");
    file.set_text("ffn_type", gated ? "swiglu" : "standard", "swiglu");
    file.set_text("hidden_act", gated ? "silu" : "gelu");
    file.set("tie_word_embeddings", !file.is_true("untie_embeddings_and_output_weights"),
             "untie_embeddings_and_output_weights");
    set_megatron_positions(file);
    set_megatron_ffn_width(file, gated);
    const double shared = file.number("moe_shared_expert_intermediate_size", 0);
    const double routed = file.number("moe_ffn_hidden_size", file.number("ffn_hidden_size", 0));
    if (shared > 0 && routed > 0) {
        if (std::fmod(shared, routed) != 0)
            file.refuse("moe_shared_expert_intermediate_size",
                        "the width of the shared expert must be a multiple of moe_ffn_hidden_size");
        file.set("n_shared_experts", static_cast<std::int64_t>(shared / routed));
    }
    rename_all(file);
    constexpr std::array<std::string_view, 23> kModelKeys = {"num_layers",
                                                             "hidden_size",
                                                             "num_attention_heads",
                                                             "num_key_value_heads",
                                                             "head_dim",
                                                             "ffn_hidden_size",
                                                             "vocab_size",
                                                             "max_position_embeddings",
                                                             "seq_length",
                                                             "normalization",
                                                             "bias",
                                                             "ffn_type",
                                                             "hidden_act",
                                                             "qk_norm",
                                                             "tie_word_embeddings",
                                                             "position_encoding",
                                                             "rms_norm_eps",
                                                             "rope_theta",
                                                             "num_experts",
                                                             "num_experts_per_tok",
                                                             "partial_rotary_factor",
                                                             "moe_intermediate_size",
                                                             "n_shared_experts"};
    file.keep_only(kModelKeys);
    return file.result("file of Megatron-LM's arguments");
}

constexpr std::array<std::string_view, 4> kLanguageSections = {
    "text_config", "language_config", "llm_config", "language_model_config"};

/// The section of the language model in a file of several models, which may have sizes of its own
/// beside it. A file of a known type, or of none, is described by its own sizes.
const config::Member* language_section(const Value& object) {
    const Value* type = object.find("model_type");
    const bool is_known =
        type == nullptr || !type->is_string() || find_family(type->as_string()) != nullptr;
    const bool has_sizes =
        object.find("hidden_size") != nullptr || object.find("n_embd") != nullptr;
    if (is_known && has_sizes) return nullptr;
    for (const config::Member& member : object.as_object()) {
        const bool named = std::find(kLanguageSections.begin(), kLanguageSections.end(),
                                     member.key) != kLanguageSections.end();
        if (named && member.value.is_object()) return &member;
    }
    return nullptr;
}

/// Whether the file has a key of ours under any of its names.
bool has_field(const Rewriter& file, std::string_view key) {
    const config::Field* field = model_schema().sections().front().find(key);
    if (file.find(field->info.key) != nullptr) return true;
    return std::any_of(field->info.aliases.begin(), field->info.aliases.end(),
                       [&](std::string_view alias) { return file.find(alias) != nullptr; });
}

/// Sections hold what differs from the defaults of their class.
void add_class_defaults(Rewriter& file) {
    const std::string type = file.text("model_type", {});
    std::string added;
    for (const ClassDefault& size : class_defaults(type)) {
        if (has_field(file, size.key)) continue;
        file.set(size.key, size.value);
        added += fmt::format("{}{} {}", added.empty() ? "" : ", ", size.key, size.value);
    }
    if (!added.empty())
        file.note(fmt::format("defaults of the class of {} in transformers: {}", type, added));
}

ReadFormat read_section(const config::Document& document, const Value& object,
                        const config::Member& section) {
    Rewriter named(document, section.value);
    const bool is_named = named.find("model_type") != nullptr;
    if (!is_named) named.set_text("model_type", "llama");
    OwnKeys own = own_keys_of(named.result({}).object);
    Rewriter file(document, own.object);
    if (!is_named) file.note(fmt::format("model_type llama for {}", section.key));
    std::string left_out;
    for (const config::Member& member : object.as_object()) {
        const bool is_model = member.key.ends_with("_config") && member.value.is_object() &&
                              member.key != section.key && member.key != "quantization_config";
        if (is_model) left_out += (left_out.empty() ? "" : ", ") + member.key;
        // Where files of transformers have them above the section.
        if (member.key == "tie_word_embeddings" && member.value.is_bool())
            file.set_default(member.key, member.value.as_bool());
        if (member.key == "vocab_size" && member.value.is_integer())
            file.set_default(member.key, member.value.as_integer());
    }
    add_class_defaults(file);
    file.note(left_out.empty()
                  ? fmt::format("only {} is read", section.key)
                  : fmt::format("only {} is read; {} left out", section.key, left_out));
    ReadFormat format = file.result("Hugging Face config.json, its language model only");
    format.foreign = std::move(own.foreign);
    return format;
}

bool has_any(const Value& object, std::initializer_list<std::string_view> keys) {
    return std::any_of(keys.begin(), keys.end(),
                       [&](std::string_view key) { return object.find(key) != nullptr; });
}

bool has_value(const Value& object, std::string_view key) {
    const Value* value = object.find(key);
    return value != nullptr && !value->is_null();
}

/// As its checkpoints store them, or as a command line spells them. GPT-NeoX has dashes too.
bool is_megatron(const Value& object) {
    if (has_any(object, {"hidden-size"})) {
        return !has_any(object, {"pos-emb", "norm", "no-weight-tying", "gpt-j-residual",
                                 "rotary-pct", "mlp-type"});
    }
    return has_any(object, {"hidden_size"}) &&
           has_any(object, {"num_query_groups", "untie_embeddings_and_output_weights", "swiglu",
                            "padded_vocab_size", "position_embedding_type",
                            "use_rotary_position_embeddings", "tensor_model_parallel_size",
                            "multi_latent_attention"});
}

}  // namespace

ReadFormat read_format(const config::Document& document, const Value& object) {
    if (!object.is_object()) return {object, {}, {}};
    if (const config::Member* section = language_section(object))
        return read_section(document, object, *section);
    if (has_any(object, {"model_type", "architectures", "arch_preset", "$schema"})) {
        OwnKeys own = own_keys_of(object);
        return {.object = std::move(own.object),
                .title = {},
                .notes = {},
                .foreign = std::move(own.foreign)};
    }
    const auto rewriter = [&] { return Rewriter(document, object); };
    if (has_any(object, {"dim"})) {
        const bool mistral = has_value(object, "hidden_dim");
        if (!mistral &&
            (has_value(object, "n_activated_experts") || has_value(object, "kv_lora_rank"))) {
            return read_deepseek(rewriter());
        }
        return mistral ? read_mistral(rewriter()) : read_meta(rewriter());
    }
    if (has_any(object, {"dim_model"})) return read_modelcenter(rewriter());
    const bool nano = has_any(object, {"n_embd"});
    if (nano && has_any(object, {"n_query_groups", "padded_vocab_size", "rotary_percentage",
                                 "mlp_class_name"})) {
        return read_litgpt(rewriter());
    }
    if (is_megatron(object)) return read_megatron(rewriter());
    return {object, {}, {}};
}

}  // namespace isoflop::model
