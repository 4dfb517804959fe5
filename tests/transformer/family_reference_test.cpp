// Models of the classes of transformers against those classes in double precision: loss, logits and
// every gradient, with every attention backend. family_reference.json is written by
// generate_family_reference.py.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "checkpoint/checkpoint_test_support.hpp"
#include "isoflop/checkpoint/hugging_face.hpp"
#include "isoflop/model/trainable.hpp"
#include "source_dir.hpp"
#include "transformer/tiny_model.hpp"
#include "transformer/torch_reference.hpp"

namespace isoflop {
namespace {

using namespace testing::torch_reference;
using nlohmann::json;
using testing::TinyModel;

const json& reference() {
    static const json parsed = [] {
        std::ifstream file(ISOFLOP_SOURCE_DIR "/tests/transformer/family_reference.json");
        return json::parse(file);
    }();
    return parsed;
}

const json& case_named(const std::string& name) {
    for (const json& entry : reference().at("cases")) {
        if (entry.at("name") == name) return entry;
    }
    throw std::logic_error("no case " + name);
}

struct Case {
    std::string name;
    cost::AttentionBackend backend{};
    cost::Recompute recompute{};
};

std::ostream& operator<<(std::ostream& out, const Case& which) {
    return out << which.name << "_" << to_string(which.backend) << "_"
               << to_string(which.recompute);
}

std::vector<Case> all_cases() {
    using cost::AttentionBackend;
    using cost::Recompute;
    std::vector<Case> cases;
    for (const json& entry : reference().at("cases")) {
        const auto name = entry.at("name").get<std::string>();
        cases.push_back({name, AttentionBackend::flash_attn_2, Recompute::none});
        cases.push_back({name, AttentionBackend::sdpa, Recompute::attention});
        cases.push_back({name, AttentionBackend::manual, Recompute::block});
    }
    return cases;
}

class FamilyReference : public ::testing::TestWithParam<Case> {
protected:
    [[nodiscard]] static const json& stored() { return case_named(GetParam().name); }

    [[nodiscard]] static std::unique_ptr<TinyModel> make_model() {
        testing::TinyOptions options{.model = stored().at("model").dump(), .dtype = DType::float64};
        options.backend = GetParam().backend;
        options.recompute = GetParam().recompute;
        options.batch = stored().at("batch");
        options.sequence_length = stored().at("sequence_length");
        auto model = std::make_unique<TinyModel>(options);
        fill_weights(*model);
        fill_tokens(*model);
        return model;
    }
};

TEST_P(FamilyReference, HasTheSameTensorsLossAndGradients) {
    const auto model = make_model();
    const auto targets = std::count_if(model->targets.begin(), model->targets.end(),
                                       [](std::int32_t target) { return target >= 0; });
    model->clear_gradients();
    const double loss =
        model->transformer.forward_backward(model->batch(), 1.0 / static_cast<double>(targets))
            .mean();
    EXPECT_LE(relative_error(loss, stored().at("loss")), 1e-12);
    const auto& ours = model->state.tensors;
    EXPECT_EQ(ours.size(), stored().at("tensors").size());
    for (const json& tensor : stored().at("tensors")) {
        const auto name = tensor.at("name").get<std::string>();
        const auto found = std::find_if(ours.begin(), ours.end(),
                                        [&](const auto& other) { return other.name == name; });
        ASSERT_NE(found, ours.end()) << name;
        const json& gradient = tensor.at("gradient");
        // Some have no gradient but rounding: biases of keys, which softmax does not see.
        if (gradient.at("norm").get<double>() < 1e-12) continue;
        EXPECT_LE(sketch_error(values_of(*found, model->gradients), gradient), 1e-9) << name;
    }
}

TEST_P(FamilyReference, LastTokenHasTheSameLogits) {
    const auto model = make_model();
    (void)model->transformer.evaluate(model->batch());
    const auto tokens = static_cast<std::int64_t>(model->tokens.size());
    const std::int64_t vocab_size = model->config.vocab_size;
    ASSERT_EQ(cost::loss_chunk_tokens(model->execution, vocab_size), tokens);
    const auto logits = model->memory.tensor(cost::BufferId::logits, 0, {tokens, vocab_size});
    const auto last = logits.as<double>().last(static_cast<std::size_t>(vocab_size));
    const auto expected = stored().at("logits").get<std::vector<double>>();
    ASSERT_EQ(last.size(), expected.size());
    for (std::size_t i = 0; i < last.size(); ++i) EXPECT_NEAR(last[i], expected[i], 1e-11);
}

/// Logits of the whole batch.
std::vector<double> logits_of(TinyModel& model) {
    (void)model.transformer.evaluate(model.batch());
    const auto logits = model.memory.tensor(
        cost::BufferId::logits, 0,
        {static_cast<std::int64_t>(model.tokens.size()), model.config.vocab_size});
    const auto values = logits.as<float>();
    return {values.begin(), values.end()};
}

/// Single precision, weights as the generator has them.
std::unique_ptr<TinyModel> make_single(const json& stored, const std::string& config) {
    testing::TinyOptions options{.model = config};
    options.batch = stored.at("batch");
    options.sequence_length = stored.at("sequence_length");
    auto model = std::make_unique<TinyModel>(options);
    fill_weights(*model);
    fill_tokens(*model);
    return model;
}

std::string text_of(const std::filesystem::path& path) {
    std::ifstream file(path);
    return {std::istreambuf_iterator<char>(file), {}};
}

// What is written is read again as the same model: config.json and every tensor.
TEST_P(FamilyReference, ExportedModelIsTheSameWhenImported) {
    const auto model = make_single(stored(), stored().at("model").dump());
    const auto values = model->weights.as<float>();
    const checkpoint::TensorReader reader = [&](const std::string& name, std::int64_t first,
                                                std::span<float> to) {
        for (const cost::StateTensor& tensor : model->state.tensors) {
            if (tensor.name != name) continue;
            const auto from =
                values.subspan(tensor.offset + static_cast<std::size_t>(first), to.size());
            std::copy(from.begin(), from.end(), to.begin());
        }
    };
    const checkpoint::test::TemporaryDirectory directory;
    checkpoint::export_hugging_face(model->config, reader, directory.path());
    const checkpoint::HuggingFaceModel imported = checkpoint::import_hugging_face(directory.path());
    const auto again = make_single(stored(), text_of(directory.path() / "config.json"));
    ASSERT_EQ(again->config.model_type, stored().at("model").at("model_type"));
    for (const cost::StateTensor& tensor : again->state.tensors) {
        const auto to = again->weights.as<float>().subspan(
            tensor.offset, static_cast<std::size_t>(tensor.spec.elements()));
        ops::fill(again->context, 0, {to.data(), DType::float32, {tensor.spec.elements()}});
        imported.read(tensor.name, 0, to);
    }
    EXPECT_EQ(logits_of(*again), logits_of(*model));
}

INSTANTIATE_TEST_SUITE_P(Families, FamilyReference, ::testing::ValuesIn(all_cases()),
                         ::testing::PrintToStringParamName());

}  // namespace
}  // namespace isoflop
