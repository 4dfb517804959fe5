// Every training key has a class for resuming, and a changed value does what its class says.
#include "isoflop/recipe/resume_rules.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace isoflop::recipe {
namespace {

using Overrides = std::vector<std::string>;

Recipe recipe_with(Overrides more = {}) {
    Overrides all = {"arch_preset=llama", "n_layer=2",      "n_head=4",         "n_embd=64",
                     "max_iters=50",      "warmup_iters=5", "lr_decay_iters=40"};
    all.insert(all.end(), more.begin(), more.end());
    return recipe_of(train_keys_from(all));
}

bool names(const std::vector<KeyChange>& changes, std::string_view key) {
    return std::any_of(changes.begin(), changes.end(),
                       [&](const KeyChange& change) { return change.key == key; });
}

/// Another value of a key, as text for an override.
std::string other_value(const config::Field& field, const TrainKeys& keys) {
    const std::string now = config::to_text(field.get(&keys));
    switch (field.type) {
        case config::FieldType::boolean: return now == "true" ? "false" : "true";
        case config::FieldType::choice:
            for (const std::string_view value : field.allowed) {
                if (value != now && value != "auto" && value != "cuda") return std::string(value);
            }
            return "";
        case config::FieldType::text: return "another";
        case config::FieldType::number: return now == "0.5" ? "0.25" : "0.5";
        case config::FieldType::integer: return now == "6" ? "7" : "6";
        case config::FieldType::any: return "true";
    }
    return "";
}

TEST(ResumeRules, EveryKeyHasAClass) {
    for (const config::Section& section : train_schema().sections()) {
        for (const config::Field& field : section.fields)
            EXPECT_NO_THROW(static_cast<void>(on_resume(field.info.key))) << field.info.key;
    }
    EXPECT_THROW(static_cast<void>(on_resume("no_such_key")), std::out_of_range);
    EXPECT_EQ(on_resume("num_attention_heads"), OnResume::fixed);
    EXPECT_EQ(on_resume("n_head"), OnResume::fixed) << "an alias is the key";
    EXPECT_EQ(on_resume("learning_rate"), OnResume::noted);
    EXPECT_EQ(on_resume("log_interval"), OnResume::free);
}

TEST(ResumeRules, AnotherValueOfAnyKeyOfTheRunIsTreatedAsItsClassSays) {
    const Recipe before = recipe_with();
    // What these resolve to does not change here: a CPU runs float32, and max_tokens and
    // total_batch_tokens are other ways to say max_iters and the accumulation.
    const std::array<std::string_view, 4> same{"dtype", "device", "max_tokens",
                                               "total_batch_tokens"};
    const auto& sections = train_schema().sections();
    for (std::size_t i = 1; i < sections.size(); ++i) {
        for (const config::Field& field : sections[i].fields) {
            const std::string key(field.info.key);
            if (std::find(same.begin(), same.end(), key) != same.end()) continue;
            Overrides change = {key + "=" + other_value(field, before.keys)};
            if (key == "min_lr") change = {"min_lr=1e-5"};
            if (key == "gpu_type") change = {"gpu_type=H100"};
            if (key == "reproducible") change = {"reproducible=false"};  // true on a CPU
            const ResumeChanges changes = resume_changes(before, recipe_with(change));
            EXPECT_EQ(names(changes.fixed, key), on_resume(key) == OnResume::fixed) << change[0];
            EXPECT_EQ(names(changes.noted, key), on_resume(key) == OnResume::noted) << change[0];
        }
    }
}

TEST(ResumeRules, AnotherModelIsNamedByItsKeys) {
    const Recipe before = recipe_with();
    for (const auto& [change, key] :
         {std::pair("n_head=8", "num_attention_heads"), std::pair("n_layer=3", "num_hidden_layers"),
          std::pair("n_embd=128", "hidden_size"), std::pair("rope_theta=500000", "rope_theta"),
          std::pair("norm_eps=1e-6", "rms_norm_eps"), std::pair("activation=gelu", "hidden_act"),
          std::pair("block_size=64", "block_size"), std::pair("vocab_size=99", "vocab_size"),
          std::pair("arch_preset=gpt2", "normalization"), std::pair("bias=true", "mlp_bias"),
          std::pair("weight_tying=true", "tie_word_embeddings"),
          std::pair("qk_norm=true", "qk_norm"), std::pair("d_ff=256", "intermediate_size"),
          std::pair("n_kv_head=2", "num_key_value_heads"),
          std::pair("norm_position=post", "norm_position")})
        EXPECT_TRUE(names(resume_changes(before, recipe_with({change})).fixed, key)) << change;
    EXPECT_TRUE(names(resume_changes(before, recipe_with({"dropout=0.1"})).noted, "dropout"));
    const ResumeChanges none =
        resume_changes(before, recipe_with({"rope_theta=10000", "block_size=1024", "n_kv_head=4"}));
    EXPECT_TRUE(none.fixed.empty() && none.noted.empty()) << "given as it was";
}

TEST(ResumeRules, AMessageHasTheKeyInBothSpellingsAndBothValues) {
    const ResumeChanges changes = resume_changes(recipe_with(), recipe_with({"n_head=8"}));
    ASSERT_FALSE(changes.fixed.empty());
    EXPECT_EQ(to_text(changes.fixed.front()),
              "num_attention_heads (n_head): 4 in the checkpoint, 8 now");
}

}  // namespace
}  // namespace isoflop::recipe
