// After the configuration classes of transformers 4.57 and their attribute maps, the keys that
// their modelling code reads besides, and those that versions 4.28 to 5 write.
#include "class_keys.hpp"

#include <algorithm>
#include <array>
#include <span>

#include "families.hpp"
#include "isoflop/model/model_fields.hpp"
#include "isoflop/model/model_format.hpp"

namespace isoflop::model {
namespace {

using Keys = std::span<const std::string_view>;

/// Of every class, and ours that are about the run and not about the block.
constexpr std::array<std::string_view, 11> kCommon = {
    "model_type",        "architectures",       "arch_preset", "hidden_size",
    "num_hidden_layers", "num_attention_heads", "vocab_size",  "tie_word_embeddings",
    "dropout",           "use_flash_attention", "class_keys"};
/// Classes that read rotary keys: all but gpt2, bloom and mpt.
constexpr std::array<std::string_view, 8> kRotary = {
    "intermediate_size", "max_position_embeddings", "hidden_act",  "rope_theta",
    "rope_scaling",      "partial_rotary_factor",   "layer_types", "rope_parameters"};
constexpr std::array<std::string_view, 4> kLlama = {"num_key_value_heads", "head_dim",
                                                    "rms_norm_eps", "sliding_window"};
constexpr std::array<std::string_view, 5> kLatent = {
    "q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim"};
constexpr std::array<std::string_view, 7> kDeepSeek = {
    "n_routed_experts", "num_local_experts", "num_experts",          "num_experts_per_tok",
    "n_shared_experts", "moe_layer_freq",    "first_k_dense_replace"};
constexpr std::array<std::string_view, 5> kQwenExperts = {"num_experts", "num_local_experts",
                                                          "num_experts_per_tok",
                                                          "decoder_sparse_step", "mlp_only_layers"};

/// The keys that one type has beside those of its group.
constexpr std::array<std::string_view, 10> kGpt2 = {"n_layer",
                                                    "n_embd",
                                                    "n_head",
                                                    "n_positions",
                                                    "n_ctx",
                                                    "n_inner",
                                                    "activation_function",
                                                    "layer_norm_epsilon",
                                                    "add_cross_attention",
                                                    "max_position_embeddings"};
constexpr std::array<std::string_view, 11> kMpt = {
    "n_layers",   "d_model", "n_heads",   "max_seq_len",     "expansion_ratio",   "attn_config",
    "ffn_config", "no_bias", "norm_type", "learned_pos_emb", "layer_norm_epsilon"};
constexpr std::array<std::string_view, 6> kBloom = {"n_layer", "n_head",     "n_embed",
                                                    "n_embd",  "seq_length", "layer_norm_epsilon"};
constexpr std::array<std::string_view, 4> kNeox = {"rotary_pct", "rotary_emb_base",
                                                   "use_parallel_residual", "layer_norm_eps"};
constexpr std::array<std::string_view, 3> kGemma = {"hidden_activation", "sliding_window_pattern",
                                                    "_sliding_window_pattern"};
constexpr std::array<std::string_view, 2> kQwen = {"use_sliding_window", "max_window_layers"};
constexpr std::array<std::string_view, 3> kMixtral = {"num_local_experts", "num_experts",
                                                      "num_experts_per_tok"};

bool is_in(Keys keys, std::string_view key) {
    return std::find(keys.begin(), keys.end(), key) != keys.end();
}

Keys keys_of_naming(TensorNaming naming) {
    switch (naming) {
        case TensorNaming::gpt2: return kGpt2;
        case TensorNaming::mpt: return kMpt;
        case TensorNaming::bloom: return kBloom;
        case TensorNaming::gpt_neox: return kNeox;
        case TensorNaming::mixtral: return kMixtral;
        case TensorNaming::qwen3_moe: return kQwenExperts;
        case TensorNaming::deepseek: return kDeepSeek;
        default: return {};
    }
}

bool has_key(const Family& family, std::string_view key) {
    if (is_in(kCommon, key) || is_in(family.keys, key)) return true;
    if (is_in(keys_of_naming(family.naming), key)) return true;
    const bool rotary = family.position_encoding == PositionEncoding::rope;
    if (rotary && is_in(kRotary, key)) return true;
    if (!family.fused_heads && is_in(kLlama, key)) return true;
    if (key == "attention_bias") return family.reads_attention_bias;
    if (key == "mlp_bias") return family.reads_mlp_bias;
    if (key == "moe_intermediate_size") return family.has_experts && !family.experts_have_ffn_width;
    if (family.has_latent_attention && is_in(kLatent, key)) return true;
    if (family.model_type.starts_with("gemma") && is_in(kGemma, key)) return true;
    return family.model_type.starts_with("qwen") && is_in(kQwen, key);
}

/// Attribute maps of transformers set "hidden_size" after "n_embd": the later name counts.
bool is_overwritten(const Family& family, const config::Field& field, std::string_view key,
                    const config::Value& object) {
    if (field.info.key == key || !has_key(family, field.info.key)) return false;
    const config::Value* other = object.find(field.info.key);
    return other != nullptr && !other->is_null();
}

/// Sizes without which such a file describes no model.
bool is_required(const Family& family, std::string_view key) {
    constexpr std::array<std::string_view, 3> sizes = {"num_hidden_layers", "hidden_size",
                                                       "num_attention_heads"};
    if (is_in(sizes, key)) return true;
    return key == "intermediate_size" && family.ffn_type == FfnType::swiglu;
}

/// Into the object that a file written by this project has of them, whose values count.
void add_class_keys(config::Value::Object& kept, config::Value::Object of_class) {
    const auto given = std::find_if(kept.begin(), kept.end(), [](const config::Member& member) {
        return member.key == "class_keys" && member.value.is_object();
    });
    if (given == kept.end()) {
        const config::SourceLocation place = of_class.front().key_location;
        kept.push_back({"class_keys", place, config::Value(std::move(of_class), place)});
        return;
    }
    for (const config::Member& member : given->value.as_object()) {
        std::erase_if(of_class,
                      [&](const config::Member& other) { return other.key == member.key; });
        of_class.push_back(member);
    }
    given->value = config::Value(std::move(of_class), given->value.location());
}

}  // namespace

OwnKeys own_keys_of(const config::Value& object) {
    const config::Value* type = object.find("model_type");
    const Family* family =
        type != nullptr && type->is_string() ? find_family(type->as_string()) : nullptr;
    if (family == nullptr) return {object, {}};

    const config::Section& section = model_schema().sections().front();
    const auto is_own = [&](const config::Field& field, std::string_view key) {
        return field.info.ignored ||
               (has_key(*family, key) && !is_overwritten(*family, field, key, object));
    };
    // How transformers writes that there is no window.
    const auto is_no_window = [&](const config::Member& member) {
        return member.key == "sliding_window" && family->window == WindowRule::opt_in_all &&
               member.value.is_integer() && member.value.as_integer() == 0;
    };
    std::vector<const config::Field*> given;
    for (const config::Member& member : object.as_object()) {
        const config::Field* field = section.find(member.key);
        if (field != nullptr && !member.value.is_null() && is_own(*field, member.key))
            given.push_back(field);
    }
    OwnKeys result;
    config::Value::Object kept;
    config::Value::Object of_class;
    for (const config::Member& member : object.as_object()) {
        if (is_no_window(member)) continue;
        const config::Field* field = section.find(member.key);
        // A list of one value a layer is for the class to read.
        const bool is_list = member.value.is_array() && member.key == "intermediate_size";
        const bool in_schema = field != nullptr && !field->info.ignored && !is_list;
        if (is_in(family->keys, member.key) && !in_schema) {
            of_class.push_back(member);
            continue;
        }
        const bool own = field == nullptr || is_own(*field, member.key);
        const bool stands_in = !own && is_required(*family, field->info.key) &&
                               std::find(given.begin(), given.end(), field) == given.end();
        if (stands_in) given.push_back(field);
        (own || stands_in ? kept : result.foreign).push_back(member);
    }
    if (!of_class.empty()) add_class_keys(kept, std::move(of_class));
    result.object = config::Value(std::move(kept), object.location());
    return result;
}

std::string_view spelling_of(std::string_view model_type, const config::Field& field) {
    const Family* family = find_family(model_type);
    if (family == nullptr || has_key(*family, field.info.key)) return field.info.key;
    for (const std::string_view alias : field.info.aliases) {
        if (has_key(*family, alias)) return alias;
    }
    return field.info.key;
}

std::vector<ClassDefault> class_defaults(std::string_view model_type) {
    const Family* family = find_family(model_type);
    if (family == nullptr || family->sizes.layers == 0) return {};
    const ClassSizes& sizes = family->sizes;
    std::vector<ClassDefault> defaults = {
        {"num_hidden_layers", sizes.layers},
        {"hidden_size", sizes.hidden},
        {"vocab_size", sizes.vocabulary},
        {"max_position_embeddings", family->max_position_embeddings}};
    if (sizes.heads > 0) defaults.push_back({"num_attention_heads", sizes.heads});
    if (sizes.ffn > 0) defaults.push_back({"intermediate_size", sizes.ffn});
    defaults.insert(defaults.end(), family->defaults.begin(), family->defaults.end());
    if (family->sliding_window > 0) defaults.push_back({"sliding_window", family->sliding_window});
    return defaults;
}

}  // namespace isoflop::model
