// Every model type against transformers 5: class_cases/ holds random small models with the exact
// tensors that its checkpoints have (written by generate_class_cases.py). No tolerance.
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

using nlohmann::json;

std::vector<std::string> types_with_cases() {
    std::vector<std::string> types;
    for (const auto& entry :
         std::filesystem::directory_iterator(ISOFLOP_SOURCE_DIR "/tests/model/class_cases")) {
        if (entry.path().extension() == ".json") types.push_back(entry.path().stem().string());
    }
    std::sort(types.begin(), types.end());
    return types;
}

json cases_of(const std::string& type) {
    std::ifstream file(ISOFLOP_SOURCE_DIR "/tests/model/class_cases/" + type + ".json");
    return json::parse(file).at("cases");
}

/// Replaces the number after the first of these markers, and returns it; -1 without marker.
std::int64_t take_index(std::string& name, std::initializer_list<std::string_view> markers,
                        std::string_view replacement) {
    for (const std::string_view marker : markers) {
        const std::size_t place = name.find(marker);
        if (place == std::string::npos) continue;
        const std::size_t begin = place + marker.size();
        const std::size_t end = name.find('.', begin);
        const std::string digits = name.substr(begin, end - begin);
        if (digits.empty() || digits.find_first_not_of("0123456789") != std::string::npos) continue;
        name.replace(begin, digits.size(), replacement);
        return std::stoll(digits);
    }
    return -1;
}

/// [[first, last], ...] of these numbers.
json ranges(const std::set<std::int64_t>& numbers) {
    json ranges = json::array();
    for (const std::int64_t number : numbers) {
        if (!ranges.empty() && ranges.back()[1] == number - 1) {
            ranges.back()[1] = number;
        } else {
            ranges.push_back({number, number});
        }
    }
    return ranges;
}

/// Our tensors in the form of the files.
std::vector<std::string> describe(const ParameterLayout& layout) {
    struct Places {
        json shape;
        std::set<std::int64_t> layers;
        std::set<std::int64_t> experts;
    };
    std::map<std::string, Places> groups;
    layout.for_each([&](std::string name, const TensorSpec& tensor) {
        const std::int64_t layer = take_index(name, {".layers.", ".h.", ".blocks."}, "{i}");
        const std::int64_t expert = take_index(name, {".experts."}, "{e}");
        const json shape = tensor.extents();
        Places& places = groups[name + " " + shape.dump()];
        places.shape = shape;
        if (layer >= 0) places.layers.insert(layer);
        if (expert >= 0) places.experts.insert(expert);
    });
    std::vector<std::string> rows;
    for (const auto& [key, places] : groups) {
        json row = {key.substr(0, key.find(' ')), places.shape, nullptr, nullptr};
        if (!places.layers.empty()) row[2] = ranges(places.layers);
        if (!places.experts.empty()) row[3] = places.experts.size();
        rows.push_back(row.dump());
    }
    std::sort(rows.begin(), rows.end());
    return rows;
}

std::vector<std::string> expected_rows(const json& entry) {
    std::vector<std::string> rows;
    for (const json& row : entry.at("tensors")) rows.push_back(row.dump());
    std::sort(rows.begin(), rows.end());
    return rows;
}

/// As the section of a file with several models, which leaves the defaults of its class out.
ModelConfig read_config(const json& keys) {
    return config_of(json{{"model_type", "several"}, {"text_config", keys}}.dump());
}

class ClassCases : public ::testing::TestWithParam<std::string> {};

TEST_P(ClassCases, HaveTheParametersOfTransformers) {
    for (const json& entry : cases_of(GetParam())) {
        const std::string text = entry.at("config").dump();
        const ParameterTotals totals = parameter_layout(read_config(entry.at("config"))).totals();
        EXPECT_EQ(totals.total, entry.at("total").get<std::int64_t>()) << text;
        if (entry.contains("active")) {
            EXPECT_EQ(totals.active, entry.at("active").get<std::int64_t>()) << text;
        }
    }
}

TEST_P(ClassCases, HaveTheTensorsOfTransformers) {
    for (const json& entry : cases_of(GetParam())) {
        EXPECT_EQ(describe(parameter_layout(read_config(entry.at("config")))), expected_rows(entry))
            << entry.at("config").dump();
    }
}

TEST_P(ClassCases, HaveTheWindowsOfTransformers) {
    for (const json& entry : cases_of(GetParam())) {
        if (!entry.contains("sliding_window")) continue;
        const ModelConfig config = read_config(entry.at("config"));
        EXPECT_EQ(config.sliding_window.value_or(0), entry.at("sliding_window").get<std::int64_t>())
            << entry.at("config").dump();
        if (!entry.contains("layer_types")) continue;
        std::int64_t layer = 0;
        for (const json& run : entry.at("layer_types")) {
            const bool window = run[0] == "sliding_attention" || run[0] == "chunked_attention";
            for (int repeat = 0; repeat < run[1].get<int>(); ++repeat, ++layer) {
                EXPECT_EQ(config.is_window_layer(layer), window)
                    << layer << entry.at("config").dump();
            }
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Types, ClassCases, ::testing::ValuesIn(types_with_cases()),
                         [](const auto& instance) { return instance.param; });

}  // namespace
}  // namespace isoflop::model
