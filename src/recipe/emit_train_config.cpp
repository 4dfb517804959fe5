#include "isoflop/recipe/emit_train_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <vector>

#include "commented_lines.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/recipe/attention_resolution.hpp"

namespace isoflop::recipe {
namespace {

/// Written even with their default value: a reader of the file looks for them.
constexpr std::array<std::string_view, 13> kDefiningKeys = {
    "batch_size", "learning_rate", "warmup_iters", "lr_schedule", "weight_decay",
    "beta1",      "beta2",         "grad_clip",    "device",      "attention_backend",
    "recompute",  "use_zero1",     "use_fsdp"};

/// Keys under the short alias that training configs go by.
constexpr std::array<std::pair<std::string_view, std::string_view>, 8> kShortNames = {{
    {"num_hidden_layers", "n_layer"},
    {"hidden_size", "n_embd"},
    {"num_attention_heads", "n_head"},
    {"num_key_value_heads", "n_kv_head"},
    {"max_position_embeddings", "block_size"},
    {"hidden_act", "activation"},
    {"tie_word_embeddings", "weight_tying"},
    {"rms_norm_eps", "norm_eps"},
}};

std::string_view written_name(std::string_view key) {
    for (const auto& [full, brief] : kShortNames) {
        if (full == key) return brief;
    }
    return key;
}

std::string json_text(const config::FieldValue& value) {
    if (const auto* text = std::get_if<std::string>(&value)) return nlohmann::json(*text).dump();
    return config::to_text(value);
}

bool is_written(const config::Field& field, const TrainKeys& keys, const TrainKeys& defaults) {
    if (field.info.ignored) return false;
    const config::FieldValue value = field.get(&keys);
    if (std::holds_alternative<std::monostate>(value)) return false;
    if (field.info.key == "dataset") return true;
    if (std::find(kDefiningKeys.begin(), kDefiningKeys.end(), field.info.key) !=
        kDefiningKeys.end()) {
        return true;
    }
    return json_text(value) != json_text(field.get(&defaults));
}

struct Line {
    std::string code;  ///< a key and its value, or empty: `comment` is a heading
    std::string comment;
};

std::vector<Line> lines_of(const TrainKeys& keys, std::span<const KeyComment> comments) {
    const TrainKeys defaults;
    std::vector<Line> lines;
    for (const config::Section& section : train_schema().sections()) {
        bool begun = false;
        for (const config::Field& field : section.fields) {
            if (!is_written(field, keys, defaults)) continue;
            if (!begun) lines.push_back({{}, section.title});
            begun = true;
            const auto comment =
                std::find_if(comments.begin(), comments.end(),
                             [&](const KeyComment& each) { return each.key == field.info.key; });
            lines.push_back({fmt::format(R"("{}": {})", written_name(field.info.key),
                                         json_text(field.get(&keys))),
                             comment != comments.end() ? comment->text : std::string()});
        }
    }
    return lines;
}

std::vector<KeyComment> comments_of(const cost::Execution& execution, const PlannedRun& run) {
    const double tokens = static_cast<double>(run.steps) * static_cast<double>(execution.tokens()) *
                          static_cast<double>(execution.grad_accum_steps) *
                          static_cast<double>(execution.world_size);
    return {{"arch_preset", "every choice is spelled out below"},
            {"max_position_embeddings", "sequence length, tokens"},
            {"batch_size", "micro-batch per GPU, sequences"},
            {"gradient_accumulation_steps", "over all GPUs; divided by the world size"},
            {"max_iters", human_count(tokens) + " tokens"},
            {"learning_rate", run.learning_rate_rule},
            {"device", "planned for GPUs; without one this runs on the CPU, in float32"},
            {"dataset", "replace with the folder of your token shards"}};
}

/// The text says what was planned, to the last field, or is not written.
void check_written(const std::string& text, const cost::Execution& execution,
                   const PlannedRun& run) {
    Recipe again;
    try {
        again = recipe_of(parse_train_keys(text, "the training config"),
                          Machine{execution.world_size, execution.device});
    } catch (const ConfigError& error) {
        throw ConfigError(fmt::format("a training config cannot say this plan: {}", error.what()));
    }
    if (!same_execution(again.execution, execution) || again.max_iters != run.steps ||
        again.optimizer != run.optimizer ||
        resolve_attention(again).used != execution.attention_backend)
        throw ConfigError("a training config cannot say how this plan executes a step");
}

}  // namespace

std::string train_config_text(const TrainKeys& keys, std::span<const std::string> heading,
                              std::span<const KeyComment> comments) {
    std::string text = heading_lines(heading);
    text += "{";
    const std::vector<Line> lines = lines_of(keys, comments);
    for (std::size_t i = 0; i < lines.size(); ++i) {
        const Line& line = lines[i];
        if (line.code.empty()) {
            text += fmt::format("\n  // {}\n", line.comment);
            continue;
        }
        const std::string code = line.code + (i + 1 < lines.size() ? "," : "");
        text += commented_line(code, line.comment, 2);
    }
    return text + "}\n";
}

std::string emit_train_config(const model::ModelConfig& model, const cost::Execution& execution,
                              const PlannedRun& run, std::span<const std::string> heading) {
    const TrainKeys keys = train_keys_of(model, execution, run);
    std::string text = train_config_text(keys, heading, comments_of(execution, run));
    check_written(text, execution, run);
    return text;
}

}  // namespace isoflop::recipe
