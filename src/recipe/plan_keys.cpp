// The one table of plan keys. Model keys come from the model layer.
#include "isoflop/recipe/plan_keys.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/error.hpp"
#include "isoflop/model/model_fields.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/recipe/file_kind.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "recipe/cost_keys.hpp"
#include "recipe/plan_architecture.hpp"

namespace isoflop::recipe {
namespace {

using config::Required;

constexpr double kMaxBatch = 1e6;
constexpr double kLeastPeak = 1e6;  // FLOP/s, far below any accelerator
constexpr double kMaxSequence = 1e8;

void add_training_gear(config::Schema<PlanKeys>& schema) {
    schema
        .section("training_gear", &PlanKeys::training_gear,
                 "The machines, and the time of the run.", Required::yes)
        .field(&TrainingGear::gpu_type,
               {.key = "gpu_type",
                .help = "Accelerator, by any of its names in the GPU table (scaling-plan gpus).",
                .required = true})
        .field(&TrainingGear::num_gpus, {.key = "num_gpus",
                                         .help = "Number of GPUs, all data parallel.",
                                         .unit = "GPUs",
                                         .minimum = 1,
                                         .maximum = kMaxGpus,
                                         .default_help = "solved from the others"})
        .field(&TrainingGear::available_hours, {.key = "available_hours",
                                                .help = "Wall-clock time of the run.",
                                                .unit = "hours",
                                                .minimum = 0,
                                                .maximum = kMaxHours,
                                                .exclusive_minimum = true,
                                                .default_help = "solved from the others"})
        .field(&TrainingGear::dtype,
               {.key = "dtype",
                .help = "Precision of the matrix products, which determines the peak. Weights and "
                        "activations of 8- and 4-bit runs are stored in 16 bits."})
        .field(
            &TrainingGear::peak_flops_per_gpu,
            {.key = "peak_flops_per_gpu",
             .help = "Dense peak of one GPU, instead of the peak of the table. A figure that "
                     "differs by more than 5 % is used with a warning.",
             .unit = "FLOP/s",
             .minimum = kLeastPeak,
             .maximum = 1e20,
             .default_help = "the dense peak of the GPU table",
             .range_help = "in FLOP/s; a small number looks like TFLOP/s: 989 TFLOP/s is 989e12"});
}

void add_training_efficiency(config::Schema<PlanKeys>& schema) {
    schema
        .section("training_efficiency", &PlanKeys::training_efficiency,
                 "Utilisation of the machines, and execution of a step.", Required::yes)
        .field(&TrainingEfficiency::expected_mfu,
               {.key = "expected_mfu",
                .help = "Model FLOPs utilisation: model FLOPs per second over dense peak. 0.35 to "
                        "0.55 is usual.",
                .minimum = 0,
                .maximum = 1,
                .exclusive_minimum = true,
                .required = true,
                .range_help = "a fraction: 45 % is 0.45"})
        .field(&TrainingEfficiency::flop_convention, {.key = "flop_convention",
                                                      .help = "How expected_mfu counts the model's "
                                                              "FLOPs (docs/formulas.md).",
                                                      .excluded = {"executed"}})
        .field(&TrainingEfficiency::batch_size, {.key = "batch_size",
                                                 .help = "Sequences in the micro-batch of a GPU.",
                                                 .unit = "sequences",
                                                 .minimum = 1,
                                                 .maximum = kMaxBatch,
                                                 .aliases = {"micro_batch_size"}})
        .field(&TrainingEfficiency::gradient_accumulation_steps,
               {.key = "gradient_accumulation_steps",
                .help = "Micro-batches per GPU and optimizer step.",
                .minimum = 1,
                .maximum = kMaxBatch,
                .aliases = {"grad_accum_steps"}})
        .field(&TrainingEfficiency::use_flash_attention,
               {.key = "use_flash_attention",
                .help = "Selects attention_backend flash_attn_2 (true) or manual (false); "
                        "attention_backend takes precedence.",
                .default_help = "follows attention_backend"})
        .field(&TrainingEfficiency::attention_backend,
               {.key = "attention_backend",
                .help = "Attention implementation; manual stores the S x S probabilities.",
                .default_help = "flash_attn_2"})
        .field(&TrainingEfficiency::recompute,
               {.key = "recompute",
                .help = "Activations that the backward pass recomputes instead of loading."})
        .field(&TrainingEfficiency::parallelism,
               {.key = "parallelism", .help = "State that the data parallel ranks shard."})
        .field(&TrainingEfficiency::gradient_dtype,
               {.key = "gradient_dtype",
                .help = "Storage type of gradients (float32 adds 2 bytes per "
                        "parameter to a 16-bit run).",
                .default_help = "the type of the weights"})
        .field(&TrainingEfficiency::loss_chunk,
               {.key = "loss_chunk",
                .help = "Tokens per chunk of LM head and loss; 0 computes all logits at once.",
                .unit = "tokens",
                .minimum = 0,
                .maximum = kMaxTokens,
                .default_help = "the largest number that keeps the logits within 256 MiB"});
}

void add_data(config::Schema<PlanKeys>& schema) {
    schema.section("dataset_constraints", &PlanKeys::dataset_constraints, "The data.", Required::no)
        .field(&DatasetConstraints::dataset_size, {.key = "dataset_size",
                                                   .help = "Number of unique tokens available.",
                                                   .unit = "tokens",
                                                   .minimum = 1,
                                                   .maximum = kMaxTokens,
                                                   .default_help = "unlimited",
                                                   .range_help = "in tokens; a small number looks "
                                                                 "like billions: 1.4 billion is "
                                                                 "1.4e9"})
        .field(&DatasetConstraints::max_epochs, {.key = "max_epochs",
                                                 .help = "Largest number of passes over the data.",
                                                 .minimum = 0,
                                                 .maximum = 1e6,
                                                 .exclusive_minimum = true})
        .field(&DatasetConstraints::sequence_length, {.key = "sequence_length",
                                                      .help = "Sequence length in training.",
                                                      .unit = "tokens",
                                                      .minimum = 1,
                                                      .maximum = kMaxSequence,
                                                      .default_help = "max_position_embeddings"})
        .field(&DatasetConstraints::training_tokens,
               {.key = "training_tokens",
                .help = "Number of tokens to train on, repeated ones included.",
                .unit = "tokens",
                .minimum = 1,
                .maximum = kMaxTokens,
                .default_help = "solved from the others"});
}

void add_law(config::Schema<PlanKeys>& schema) {
    auto law = schema.section("scaling_law", &PlanKeys::scaling_law,
                              "The law that predicts the loss (scaling-plan laws).", Required::no);
    law.field(&ScalingLawChoice::base,
              {.key = "base", .help = "Name of the law, or custom with all five constants given."});
    law.field(&ScalingLawChoice::E, {.key = "E",
                                     .help = "Irreducible loss.",
                                     .unit = "nats",
                                     .minimum = 0,
                                     .maximum = 100,
                                     .default_help = "the law's"});
    law.field(&ScalingLawChoice::A, {.key = "A",
                                     .help = "Scale of the model-size term.",
                                     .minimum = 0,
                                     .maximum = 1e12,
                                     .exclusive_minimum = true,
                                     .default_help = "the law's"});
    law.field(&ScalingLawChoice::B, {.key = "B",
                                     .help = "Scale of the data term.",
                                     .minimum = 0,
                                     .maximum = 1e12,
                                     .exclusive_minimum = true,
                                     .default_help = "the law's"});
    law.field(&ScalingLawChoice::alpha, {.key = "alpha",
                                         .help = "Exponent of the model-size term.",
                                         .minimum = 0,
                                         .maximum = 10,
                                         .exclusive_minimum = true,
                                         .default_help = "the law's"});
    law.field(&ScalingLawChoice::beta, {.key = "beta",
                                        .help = "Exponent of the data term.",
                                        .minimum = 0,
                                        .maximum = 10,
                                        .exclusive_minimum = true,
                                        .default_help = "the law's"});
    law.field(&ScalingLawChoice::target_loss,
              {.key = "target_loss",
               .help = "Predicted loss to reach, which determines the tokens.",
               .unit = "nats/token",
               .minimum = 0,
               .maximum = 1000,
               .exclusive_minimum = true,
               .default_help = "solved from the others"});
}

void add_output_options(config::Schema<PlanKeys>& schema) {
    schema
        .section("output_options", &PlanKeys::output_options, "Content of the report.",
                 Required::no)
        .field(
            &OutputOptions::show_breakdown,
            {.key = "show_breakdown", .help = "Shows parameters, FLOPs and memory by component."})
        .field(&OutputOptions::verify_calculations,
               {.key = "verify_calculations",
                .help = "Recomputes C from D and compares it with 6 N D."});
}

config::Schema<PlanKeys> build_schema() {
    config::Schema<PlanKeys> schema(
        "plan", "GPUs, hours, data and an architecture, for scaling-plan backward.");
    auto architecture = schema.section(
        "architecture", &PlanKeys::architecture,
        "The model: keys of a Hugging Face config.json, or short keys (n_layer, n_embd, ...).",
        Required::yes);
    architecture.may_be_a_file(
        "Or the name of a file, relative to the folder of the plan: a model config, a training "
        "config, a Hugging Face config.json, or a model file of another program.");
    model::add_model_fields(architecture);
    add_training_gear(schema);
    add_training_efficiency(schema);
    add_data(schema);
    add_law(schema);
    add_output_options(schema);
    add_cost_assumptions(schema);
    return schema;
}

}  // namespace

cost::AttentionBackend TrainingEfficiency::backend() const {
    if (attention_backend) return *attention_backend;
    if (use_flash_attention && !*use_flash_attention) return cost::AttentionBackend::manual;
    return cost::AttentionBackend::flash_attn_2;
}

const config::Schema<PlanKeys>& plan_schema() {
    static const config::Schema<PlanKeys> schema = build_schema();
    return schema;
}

namespace {

std::string_view section_of(std::string_view path) {
    return path.substr(0, path.find('.'));
}

const config::Value* value_at(const config::Document& document, std::string_view path) {
    const std::size_t dot = path.find('.');
    const config::Value* section = document.root.find(path.substr(0, dot));
    if (dot == std::string_view::npos) return section;
    return section == nullptr ? nullptr : section->find(path.substr(dot + 1));
}

/// Figures that are possible but look like another unit.
void check_units(PlanKeys& plan) {
    constexpr double kManyHours = 8760;  // a year
    constexpr std::int64_t kFewTokens = 100'000;
    if (const double hours = plan.training_gear.available_hours.value_or(0); hours > kManyHours) {
        plan.notes.push_back(fmt::format(
            "available_hours {0:g} are {1:.3g} years; if seconds are meant, write {2:g}", hours,
            hours / 8760, hours / 3600));
    }
    if (const double tokens =
            plan.dataset_constraints.training_tokens.value_or(static_cast<double>(kFewTokens));
        tokens < static_cast<double>(kFewTokens)) {
        plan.notes.push_back(fmt::format(
            "training_tokens {0} is {0} tokens; if billions are meant, write {0}e9", tokens));
    }
    if (const auto& tokens = plan.dataset_constraints.dataset_size;
        tokens && *tokens < kFewTokens) {
        plan.notes.push_back(fmt::format(
            "dataset_size {0} is {0} tokens; if billions are meant, write {0}000000000", *tokens));
    }
}

enum class Check { keys, plan };

void read_architecture(PlanKeys& plan, const config::ReadNotes& notes,
                       const PlanArchitecture& architecture, Check check) {
    const config::Document& document = architecture.file ? *architecture.file : architecture.plan;
    const config::Value& object = architecture.format.object;
    if (!plan.architecture.is_hugging_face())
        model::refuse_unknown_keys(plan_schema(), notes, document, object);
    try {
        // Resolved again by the plan itself; here a contradiction can still be pointed at in the
        // file.
        const model::ModelConfig model = model::resolve_at(plan.architecture, document, object);
        std::optional<std::int64_t> assumed_length;
        if (!plan.dataset_constraints.sequence_length)
            assumed_length = training_context(plan, model).length;
        for (std::string& note : notes_about(architecture, plan.architecture, model,
                                             notes.unknown_keys, assumed_length)) {
            plan.notes.push_back(std::move(note));
        }
    } catch (const ConfigError&) {
        if (check == Check::plan) throw;  // a sweep sets more keys
    }
}

/// One wrong value does not hide the unknown keys of an architecture.
void read_sections(PlanKeys& plan, const PlanArchitecture& architecture, config::ReadNotes& notes) {
    const config::Document& document = architecture.file ? *architecture.file : architecture.plan;
    try {
        plan_schema().read(plan, architecture.plan, &notes);
        if (architecture.file) plan_schema().read(plan, *architecture.file, &notes);
    } catch (const ConfigError&) {
        if (document.root.find(kArchitecture) != nullptr) {
            model::refuse_unknown_keys(model::model_schema(), document, architecture.format.object);
        }
        throw;
    }
}

PlanKeys read(config::Document document, std::span<const std::string> overrides, Check check,
              std::optional<config::Document> given) {
    refuse_other_kinds(document, {FileKind::plan, FileKind::model, FileKind::hugging_face});
    PlanArchitecture architecture =
        plan_architecture(std::move(document), overrides, std::move(given));
    PlanKeys plan;
    config::ReadNotes notes;
    read_sections(plan, architecture, notes);
    std::vector<std::string> overridden, model_overrides;
    for (const std::string& assignment : without_architecture_file(overrides)) {
        const auto [key, value] = config::split_assignment(assignment);
        plan_schema().set(plan, key, value);
        overridden.push_back(plan_schema().resolve_path(key).value_or(key));
        const std::string& path = overridden.back();
        if (section_of(path) == kArchitecture)
            model_overrides.push_back(
                fmt::format("{}={}", path.substr(kArchitecture.size() + 1), value));
    }
    if (architecture.in_place_of_the_plan)
        require_flags(plan, *architecture.in_place_of_the_plan, architecture.plan.file_name);
    plan_schema().require(plan, architecture.plan);
    read_architecture(plan, notes, architecture, check);
    plan.source = std::make_shared<const PlanSource>(
        PlanSource{std::move(architecture.plan), std::move(overridden),
                   std::move(architecture.file), std::move(model_overrides)});
    if (check == Check::plan) check_units(plan);
    return plan;
}

}  // namespace

std::string located(const PlanKeys& keys, std::string_view path, std::string_view message) {
    if (keys.source == nullptr) return std::string(message);
    const auto& overridden = keys.source->overridden;
    const bool from_file =
        std::find(overridden.begin(), overridden.end(), path) == overridden.end();
    const config::Document& document =
        section_of(path) == kArchitecture && keys.source->architecture ? *keys.source->architecture
                                                                       : keys.source->document;
    const config::Value* value = from_file ? value_at(document, path) : nullptr;
    return value == nullptr ? std::string(message) : document.describe(value->location(), message);
}

PlanKeys read_plan_keys(const std::filesystem::path& path, std::span<const std::string> overrides) {
    return read_plan_keys(config::read_jsonc_file(path), overrides);
}

PlanKeys read_plan_keys_unchecked(config::Document document,
                                  std::span<const std::string> overrides) {
    return read(std::move(document), overrides, Check::keys, std::nullopt);
}

PlanKeys read_plan_keys(config::Document document, std::span<const std::string> overrides,
                        std::optional<config::Document> architecture) {
    return read(std::move(document), overrides, Check::plan, std::move(architecture));
}

}  // namespace isoflop::recipe
