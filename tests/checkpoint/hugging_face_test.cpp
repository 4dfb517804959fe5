// Export and import without transformers; check_with_transformers.py does it with them.
#include "isoflop/checkpoint/hugging_face.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "checkpoint_test_support.hpp"
#include "hugging_face_models.hpp"
#include "isoflop/base/half_precision.hpp"

namespace isoflop::checkpoint {
namespace {

using nlohmann::ordered_json;
using test::config_of;
using test::error_of;
using test::ExportCase;
using test::TemporaryDirectory;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

ordered_json read_json(const std::filesystem::path& path) {
    return ordered_json::parse(test::read_file(path));
}

void write_json(const std::filesystem::path& path, const ordered_json& json) {
    test::write_file(path, json.dump());
}

class HuggingFaceRoundTrip : public ::testing::TestWithParam<ExportCase> {};

TEST_P(HuggingFaceRoundTrip, ImportGivesTheExportedTensorsBack) {
    const TemporaryDirectory folder;
    const auto out = folder.path() / "a";
    const model::ModelConfig config = config_of(GetParam().json);
    EXPECT_EQ(hugging_face_class(config).name, GetParam().expected_class);
    export_hugging_face(config, test::reader_by_name(config), out);
    const HuggingFaceModel imported = import_hugging_face(out);
    EXPECT_THAT(test::differing_tensors(imported, config), IsEmpty());
    EXPECT_EQ(imported.config().activation, config.activation);
    EXPECT_EQ(imported.config().norm_eps, config.norm_eps);
    EXPECT_EQ(imported.config().rope_theta, config.rope_theta);
    EXPECT_EQ(imported.config().rope_scaling.has_value(), config.rope_scaling.has_value());
    EXPECT_EQ(imported.config().tie_word_embeddings, config.tie_word_embeddings);
    EXPECT_EQ(imported.config().max_position_embeddings, config.max_position_embeddings);

    // A second round changes nothing any more.
    const auto again = folder.path() / "b";
    export_hugging_face(imported.config(), imported.reader(), again);
    EXPECT_EQ(test::read_file(again / "model.safetensors"),
              test::read_file(out / "model.safetensors"));
    ordered_json first = read_json(out / "config.json");
    ordered_json second = read_json(again / "config.json");
    // Hugging Face's files have dropout as several keys, none of which changes what the model
    // computes.
    for (ordered_json* json : {&first, &second}) {
        for (const char* key : {"attention_dropout", "attn_pdrop", "embd_pdrop", "resid_pdrop"})
            json->erase(key);
    }
    EXPECT_EQ(first, second);
}

INSTANTIATE_TEST_SUITE_P(Models, HuggingFaceRoundTrip, ::testing::ValuesIn(test::export_cases()),
                         [](const auto& instance) { return instance.param.name; });

TEST(HuggingFaceExport, GenerationStopsOnlyAtOurEndOfText) {
    const TemporaryDirectory folder;
    const model::ModelConfig config = config_of(test::export_cases()[0].json);
    export_hugging_face(config, test::reader_by_name(config), folder.path());
    EXPECT_TRUE(read_json(folder.path() / "config.json").at("eos_token_id").is_null());
    EXPECT_FALSE(read_json(folder.path() / "generation_config.json").contains("eos_token_id"));
    TokenizerInformation tokenizer;
    tokenizer.end_of_text = 260;
    export_hugging_face(config, test::reader_by_name(config), folder.path(),
                        {.tokenizer = tokenizer, .overwrite = true});
    EXPECT_EQ(read_json(folder.path() / "config.json").at("eos_token_id"), 260);
    EXPECT_EQ(read_json(folder.path() / "generation_config.json").at("eos_token_id"), 260);
}

TEST(HuggingFaceExport, NothingIsOverwrittenUnlessAsked) {
    const TemporaryDirectory folder;
    const model::ModelConfig config = config_of(test::export_cases()[0].json);
    export_hugging_face(config, test::reader_by_name(config), folder.path());
    EXPECT_THAT(error_of<ConfigError>([&] {
                    export_hugging_face(config, test::reader_by_name(config), folder.path());
                }),
                HasSubstr("config.json' exists already"));
}

TEST(HuggingFaceExport, SixteenBitWeightsAreRoundedToNearest) {
    const TemporaryDirectory folder;
    const model::ModelConfig config = config_of(test::export_cases()[0].json);
    for (const ElementType type : {ElementType::bf16, ElementType::f16}) {
        const auto out = folder.path() / std::string(to_string(type));
        export_hugging_face(config, test::reader_by_name(config), out, {.type = type});
        const HuggingFaceModel imported = import_hugging_face(out);
        std::vector<float> found(48);
        imported.read("model.norm.weight", 0, found);
        const std::vector<float> values = test::values_of_name("model.norm.weight", 48);
        for (std::size_t i = 0; i < found.size(); ++i) {
            EXPECT_EQ(found[i], type == ElementType::bf16
                                    ? bfloat16_to_float(float_to_bfloat16(values[i]))
                                    : float16_to_float(float_to_float16(values[i])));
        }
    }
    EXPECT_THROW(export_hugging_face(config, test::reader_by_name(config), folder.path() / "x",
                                     {.type = ElementType::i8}),
                 ConfigError);
}

TEST(HuggingFaceExport, WritesTokenizersOfBytesAndCharacters) {
    const TemporaryDirectory folder;
    const model::ModelConfig config = config_of(test::export_cases()[0].json);
    TokenizerInformation tokenizer;
    tokenizer.kind = TokenizerInformation::Kind::byte;
    tokenizer.end_of_text = 256;
    export_hugging_face(config, test::reader_by_name(config), folder.path(),
                        {.tokenizer = tokenizer});
    ordered_json json = read_json(folder.path() / "tokenizer.json");
    EXPECT_EQ(json["model"]["vocab"].size(), 257U);
    EXPECT_EQ(json["model"]["vocab"]["A"], 65);
    EXPECT_EQ(json["model"]["vocab"]["\xC4\xA0"], 32) << "a blank is written as U+0120";
    EXPECT_EQ(json["added_tokens"][0]["id"], 256);

    tokenizer = {};
    tokenizer.kind = TokenizerInformation::Kind::character;
    tokenizer.characters = {"\n", "a", "\xC3\xA9"};
    const ExportOptions options = {.tokenizer = tokenizer, .overwrite = true};
    export_hugging_face(config, test::reader_by_name(config), folder.path(), options);
    json = read_json(folder.path() / "tokenizer.json");
    EXPECT_EQ(json["model"]["vocab"]["\xC3\xA9"], 2);

    const HuggingFaceModel imported = import_hugging_face(folder.path());
    ASSERT_EQ(imported.tokenizer_files().size(), 3U);  // with generation_config.json
    tokenizer = {};
    tokenizer.kind = TokenizerInformation::Kind::files;
    tokenizer.files = imported.tokenizer_files();
    export_hugging_face(config, imported.reader(), folder.path() / "copy",
                        {.tokenizer = tokenizer});
    EXPECT_EQ(read_json(folder.path() / "copy" / "tokenizer.json"), json);
}

struct WithoutClass {
    std::string name;
    std::string json;
    std::string choice;
};

class HuggingFaceWithoutClass : public ::testing::TestWithParam<WithoutClass> {};

TEST_P(HuggingFaceWithoutClass, TheErrorNamesTheChoice) {
    const TemporaryDirectory folder;
    const model::ModelConfig config = config_of(GetParam().json);
    const std::string message = error_of<ConfigError>(
        [&] { export_hugging_face(config, test::reader_by_name(config), folder.path() / "out"); });
    EXPECT_THAT(message,
                AllOf(HasSubstr("no class of Hugging Face"), HasSubstr(GetParam().choice)));
    EXPECT_FALSE(std::filesystem::exists(folder.path() / "out"));
}

std::vector<WithoutClass> models_without_class() {
    const std::string sizes =
        R"("n_layer": 2, "n_embd": 32, "n_head": 4, "vocab_size": 50, "block_size": 32)";
    const auto model = [&](const std::string& choices) {
        return "{" + choices + ", " + sizes + "}";
    };
    return {
        {"Hybrid", model(R"("arch_preset": "hybrid")"),
         "normalization layernorm_nobias with position_encoding rope"},
        {"PostNorm", model(R"("arch_preset": "llama", "norm_position": "post")"),
         "norm_position post"},
        {"PlainFfnInLlama", model(R"("arch_preset": "llama", "ffn_type": "standard")"),
         "ffn_type standard"},
        {"NoPositions", model(R"("arch_preset": "llama", "position_encoding": "none")"),
         "position_encoding none"},
        {"LearnedPositionsInLlama",
         model(R"("arch_preset": "llama", "position_encoding": "learned_absolute")"),
         "normalization rmsnorm with position_encoding learned_absolute"},
        {"GatedGpt2", model(R"("arch_preset": "gpt2", "ffn_type": "swiglu")"), "ffn_type swiglu"},
        {"GroupedGpt2", model(R"("arch_preset": "gpt2", "n_kv_head": 2)"), "n_kv_head 2"},
        {"WideHeadsInGpt2", model(R"("arch_preset": "gpt2", "head_dim": 16)"), "head_dim 16"},
        {"Qwen3WithFfnBias", model(R"("arch_preset": "qwen3", "bias": true)"),
         "qk_norm per_head with biases"},
        {"FullWidthQkNorm", model(R"("arch_preset": "llama", "qk_norm": "full_width")"),
         "qk_norm full_width"},
        {"WindowAndBias", model(R"("arch_preset": "llama", "bias": true, "sliding_window": 8)"),
         "sliding_window 8"},
        {"Experts", model(R"("arch_preset": "llama", "num_experts": 4, "num_experts_per_tok": 2)"),
         "num_experts"},
    };
}

INSTANTIATE_TEST_SUITE_P(Models, HuggingFaceWithoutClass,
                         ::testing::ValuesIn(models_without_class()),
                         [](const auto& instance) { return instance.param.name; });

// --- Import ---

class HuggingFaceImport : public ::testing::Test {
protected:
    /// Exports a case and reads its tensors back, to be written again in another form.
    void start_from(const std::string& case_name) {
        for (const ExportCase& example : test::export_cases()) {
            if (example.name == case_name) config_ = config_of(example.json);
        }
        export_hugging_face(config_, test::reader_by_name(config_), path());
        const SafetensorsFile file(path() / "model.safetensors");
        for (const TensorEntry& tensor : file.tensors()) {
            std::vector<float> values(static_cast<std::size_t>(tensor.elements()));
            file.read(tensor, 0, std::span<float>(values));
            tensors_.push_back({{.name = tensor.name, .type = tensor.type, .shape = tensor.shape},
                                std::move(values)});
        }
    }

    void write_tensors(const std::string& file_name, std::size_t first, std::size_t last) const {
        std::vector<TensorDeclaration> declarations;
        for (std::size_t i = first; i < last; ++i) declarations.push_back(tensors_[i].declaration);
        SafetensorsWriter writer(path() / file_name, declarations);
        for (std::size_t i = first; i < last; ++i) {
            const Tensor& tensor = tensors_[i];
            if (tensor.declaration.type == ElementType::f32) {
                writer.write(tensor.values);
            } else {
                const std::uint64_t width = size_in_bytes(tensor.declaration.type);
                writer.write_bytes(std::vector<std::byte>(tensor.values.size() * width));
            }
        }
        static_cast<void>(writer.finish());
    }
    void write_tensors() const { write_tensors("model.safetensors", 0, tensors_.size()); }

    std::string import_error() const {
        const std::string message =
            error_of([&] { static_cast<void>(import_hugging_face(path())); });
        EXPECT_THAT(message, HasSubstr(path().string()));
        return message;
    }

    [[nodiscard]] const std::filesystem::path& path() const { return folder_.path(); }

    struct Tensor {
        TensorDeclaration declaration;
        std::vector<float> values;
    };
    TemporaryDirectory folder_;
    model::ModelConfig config_;
    std::vector<Tensor> tensors_;
};

TEST_F(HuggingFaceImport, ReadsShards) {
    start_from("llama");
    std::filesystem::remove(path() / "model.safetensors");
    write_tensors("model-00001-of-00002.safetensors", 0, 9);
    write_tensors("model-00002-of-00002.safetensors", 9, tensors_.size());
    ordered_json map;
    for (std::size_t i = 0; i < tensors_.size(); ++i) {
        map[tensors_[i].declaration.name] =
            i < 9 ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors";
    }
    write_json(path() / "model.safetensors.index.json", {{"weight_map", map}});
    EXPECT_THAT(test::differing_tensors(import_hugging_face(path()), config_), IsEmpty());

    std::filesystem::remove(path() / "model-00002-of-00002.safetensors");
    EXPECT_THAT(import_error(), HasSubstr("model-00002-of-00002.safetensors"));
    map[tensors_[0].declaration.name] = "../elsewhere.safetensors";
    write_json(path() / "model.safetensors.index.json", {{"weight_map", map}});
    EXPECT_THAT(import_error(), HasSubstr("is not a file name"));
    test::write_file(path() / "model.safetensors.index.json", "{");
    EXPECT_THAT(import_error(), HasSubstr("index.json' is damaged"));
}

TEST_F(HuggingFaceImport, AcceptsGpt2FilesOfTheBareModelWithMasks) {
    start_from("gpt2_biased");
    for (Tensor& tensor : tensors_) {
        tensor.declaration.name =
            tensor.declaration.name.substr(std::string("transformer.").size());
    }
    tensors_.push_back(
        {{.name = "h.0.attn.bias", .type = ElementType::f32, .shape = {1, 1, 32, 32}},
         std::vector<float>(1024, 1.0F)});
    tensors_.push_back(
        {{.name = "h.0.attn.masked_bias", .type = ElementType::u8, .shape = {1}}, {1.0F}});
    write_tensors();
    EXPECT_THAT(test::differing_tensors(import_hugging_face(path()), config_), IsEmpty());
}

TEST_F(HuggingFaceImport, ATiedHeadMayBeRepeatedButNotDiffer) {
    start_from("gpt2_biased");
    tensors_.push_back(tensors_.front());
    tensors_.back().declaration.name = "lm_head.weight";
    write_tensors();
    EXPECT_THAT(test::differing_tensors(import_hugging_face(path()), config_), IsEmpty());
    tensors_.back().values[5] += 1.0F;
    write_tensors();
    EXPECT_THAT(import_error(), HasSubstr("lm_head.weight has other values"));
}

TEST_F(HuggingFaceImport, NamesMissingUnexpectedAndMisshapenTensors) {
    start_from("llama");
    const std::vector<Tensor> complete = tensors_;
    tensors_.erase(tensors_.begin() + 1);
    write_tensors();
    EXPECT_THAT(import_error(),
                HasSubstr("missing tensors: model.layers.0.self_attn.q_proj.weight"));
    tensors_.erase(tensors_.begin(), tensors_.begin() + 10);
    write_tensors();
    EXPECT_THAT(import_error(), HasSubstr("and 6 more"));
    tensors_ = complete;
    tensors_[1].declaration.name = "model.layers.0.self_attn.extra.weight";
    tensors_.push_back(complete[1]);
    write_tensors();
    EXPECT_THAT(import_error(), HasSubstr("does not have: model.layers.0.self_attn.extra.weight"));
    tensors_ = complete;
    tensors_[0].declaration.shape = {48, 261};
    write_tensors();
    EXPECT_THAT(
        import_error(),
        HasSubstr("model.embed_tokens.weight' is [48, 261]; config.json makes it [261, 48]"));
    tensors_ = complete;
    tensors_.push_back(complete[0]);
    tensors_.back().declaration.name = "embed_tokens.weight";
    write_tensors();
    EXPECT_THAT(import_error(), HasSubstr("model.embed_tokens.weight' is there twice"));
    tensors_ = complete;
    tensors_.back().declaration.type = ElementType::i8;
    write_tensors();
    EXPECT_THAT(import_error(), HasSubstr("holds I8: quantized"));
}

TEST_F(HuggingFaceImport, RefusesWhatTheTrainerDoesNotCompute) {
    start_from("gpt2");
    const ordered_json json = read_json(path() / "config.json");
    const auto refusal = [&](const char* key, const ordered_json& value) {
        ordered_json changed = json;
        changed[key] = value;
        write_json(path() / "config.json", changed);
        return error_of<ConfigError>([&] { static_cast<void>(import_hugging_face(path())); });
    };
    EXPECT_THAT(refusal("scale_attn_weights", false), HasSubstr("scale_attn_weights"));
    EXPECT_THAT(refusal("scale_attn_by_inverse_layer_idx", true),
                HasSubstr("scale_attn_by_inverse_layer_idx"));
    EXPECT_THAT(refusal("quantization_config", {{"bits", 4}}), HasSubstr("quantized"));
    write_json(path() / "config.json", {{"model_type", "bloom"},
                                        {"n_layer", 2},
                                        {"hidden_size", 32},
                                        {"n_head", 4},
                                        {"vocab_size", 50}});
    EXPECT_THAT(error_of<ConfigError>([&] { static_cast<void>(import_hugging_face(path())); }),
                HasSubstr("model_type bloom has a norm after the embedding"));
}

TEST_F(HuggingFaceImport, SaysWhatAFolderLacks) {
    EXPECT_THAT(import_error(), HasSubstr("it has no config.json"));
    start_from("llama");
    std::filesystem::remove(path() / "model.safetensors");
    EXPECT_THAT(import_error(), HasSubstr("holds no model.safetensors"));
    test::write_file(path() / "pytorch_model.bin", "");
    EXPECT_THAT(import_error(), HasSubstr("convert its pytorch_model.bin"));
}

}  // namespace
}  // namespace isoflop::checkpoint
