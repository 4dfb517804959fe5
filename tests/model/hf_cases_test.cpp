// Every model type against transformers itself: hf_cases.json holds hundreds of random small models
// with the exact tensors that transformers builds for them (written by generate_hf_cases.py). No
// tolerance.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "model_test_support.hpp"
#include "source_dir.hpp"

namespace isoflop::model {
namespace {

const nlohmann::json& cases() {
    static const nlohmann::json parsed = [] {
        std::ifstream file(ISOFLOP_SOURCE_DIR "/tests/model/hf_cases.json");
        return nlohmann::json::parse(file).at("cases");
    }();
    return parsed;
}

/// "0-2,5" of {0, 1, 2, 5}.
std::string ranges(const std::set<std::int64_t>& numbers) {
    std::string text;
    for (auto begin = numbers.begin(); begin != numbers.end();) {
        auto last = begin;
        for (auto next = std::next(begin); next != numbers.end() && *next == *last + 1; ++next) {
            last = next;
        }
        if (!text.empty()) text += ",";
        text += begin == last ? fmt::format("{}", *begin) : fmt::format("{}-{}", *begin, *last);
        begin = std::next(last);
    }
    return text;
}

/// Replaces the number after the first of these markers by '#', and returns it; -1 without marker.
std::int64_t take_index(std::string& name, std::initializer_list<std::string_view> markers) {
    for (const std::string_view marker : markers) {
        const std::size_t place = name.find(marker);
        if (place == std::string::npos) continue;
        const std::size_t begin = place + marker.size();
        const std::size_t end = name.find('.', begin);
        const std::int64_t index = std::stoll(name.substr(begin, end - begin));
        name.replace(begin, end - begin, "#");
        return index;
    }
    return -1;
}

/// Our tensors in the form of the file: "pattern shape @layers *experts".
std::vector<std::string> describe(const ParameterLayout& layout) {
    struct Places {
        std::set<std::int64_t> layers;
        std::set<std::int64_t> experts;
    };
    std::map<std::string, Places> groups;
    layout.for_each([&](std::string name, const TensorSpec& tensor) {
        const std::int64_t layer = take_index(name, {".layers.", ".h.", ".blocks."});
        const std::int64_t expert = take_index(name, {".experts."});
        name += tensor.is_matrix() ? fmt::format(" {}x{}", tensor.shape[0], tensor.shape[1])
                                   : fmt::format(" {}", tensor.shape[0]);
        Places& places = groups[name];
        if (layer >= 0) places.layers.insert(layer);
        if (expert >= 0) places.experts.insert(expert);
    });
    std::vector<std::string> lines;
    for (const auto& [name, places] : groups) {
        std::string line = name;
        if (!places.layers.empty()) line += " @" + ranges(places.layers);
        if (!places.experts.empty()) line += fmt::format(" *{}", places.experts.size());
        lines.push_back(line);
    }
    std::sort(lines.begin(), lines.end());
    return lines;
}

TEST(HuggingFaceCases, CoverEveryModelType) {
    std::map<std::string, int> counts;
    for (const auto& entry : cases()) counts[entry.at("config").at("model_type")]++;
    for (const std::string_view type : known_model_types()) {
        if (type == "kimi_k2") continue;  // DeepSeek-V3's code under another name
        // Types without a class in transformers, whose published counts are checked.
        if (type == "internlm2" || type == "baichuan") continue;
        if (std::filesystem::exists(ISOFLOP_SOURCE_DIR "/tests/model/class_cases/" +
                                    std::string(type) + ".json")) {
            continue;  // class_cases_test.cpp
        }
        EXPECT_GE(counts[std::string(type)], 25) << type;
    }
}

TEST(HuggingFaceCases, HaveTheSameNumberOfParameters) {
    for (const auto& entry : cases()) {
        const std::string json = entry.at("config").dump();
        const ParameterTotals totals = totals_of(json);
        EXPECT_EQ(totals.total, entry.at("total").get<std::int64_t>()) << json;
    }
}

TEST(HuggingFaceCases, HaveTheSameTensorNamesAndShapes) {
    for (const auto& entry : cases()) {
        const std::string json = entry.at("config").dump();
        EXPECT_EQ(describe(parameter_layout(config_of(json))),
                  entry.at("tensors").get<std::vector<std::string>>())
            << json;
    }
}

TEST(HuggingFaceCases, HaveTheSameWindowLayers) {
    for (const auto& entry : cases()) {
        if (!entry.contains("window_layers")) continue;
        const std::string json = entry.at("config").dump();
        const ModelConfig config = config_of(json);
        std::vector<std::int64_t> layers;
        for (std::int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
            if (config.is_window_layer(layer)) layers.push_back(layer);
        }
        EXPECT_EQ(layers, entry.at("window_layers").get<std::vector<std::int64_t>>()) << json;
        EXPECT_EQ(config.num_window_layers(), static_cast<std::int64_t>(layers.size())) << json;
    }
}

/// The totals are sums over the layout; summing what is visited must give the same.
TEST(HuggingFaceCases, TotalsAgreeWithTheVisitedTensors) {
    for (const auto& entry : cases()) {
        const std::string json = entry.at("config").dump();
        const ModelConfig config = config_of(json);
        const ParameterLayout layout = parameter_layout(config);
        const ParameterTotals totals = layout.totals();
        std::int64_t total = 0;
        std::int64_t routed = 0;
        layout.for_each([&](const std::string&, const TensorSpec& tensor) {
            total += tensor.elements();
            if (tensor.component == Component::routed_experts) routed += tensor.elements();
        });
        std::int64_t by_component = 0;
        for (const std::int64_t part : totals.by_component) by_component += part;
        EXPECT_EQ(totals.total, total) << json;
        EXPECT_EQ(totals.total, by_component) << json;
        if (config.moe) {
            const std::int64_t used =
                routed / config.moe->num_experts * config.moe->num_experts_per_token;
            EXPECT_EQ(totals.active, total - routed + used) << json;
        } else {
            EXPECT_EQ(totals.active, total) << json;
        }
    }
}

}  // namespace
}  // namespace isoflop::model
