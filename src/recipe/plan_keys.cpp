// The one table of plan keys. Model keys come from the model layer.
#include "isoflop/recipe/plan_keys.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "isoflop/base/error.hpp"
#include "isoflop/model/model_fields.hpp"
#include "isoflop/model/model_format.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/recipe/file_kind.hpp"

namespace isoflop::recipe {
namespace {

using config::Required;

constexpr double kMaxGpus = 1e7;
constexpr double kMaxHours = 1e7;
constexpr double kMaxTokens = 9e15;  // exact in a double
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
                                         .required = true})
        .field(&TrainingGear::available_hours, {.key = "available_hours",
                                                .help = "Wall-clock time of the run.",
                                                .unit = "hours",
                                                .minimum = 0,
                                                .maximum = kMaxHours,
                                                .exclusive_minimum = true,
                                                .required = true})
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

void add_data_and_law(config::Schema<PlanKeys>& schema) {
    schema.section("dataset_constraints", &PlanKeys::dataset_constraints, "The data.", Required::no)
        .field(&DatasetConstraints::dataset_size, {.key = "dataset_size",
                                                   .help = "Number of unique tokens available.",
                                                   .unit = "tokens",
                                                   .minimum = 1,
                                                   .maximum = kMaxTokens,
                                                   .default_help = "unlimited"})
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
                                                      .default_help = "max_position_embeddings"});
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
    model::add_model_fields(architecture);
    add_training_gear(schema);
    add_training_efficiency(schema);
    add_data_and_law(schema);
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

const config::Value* value_at(const config::Document& document, std::string_view path) {
    const std::size_t dot = path.find('.');
    const config::Value* section = document.root.find(path.substr(0, dot));
    return section == nullptr ? nullptr : section->find(path.substr(dot + 1));
}

/// Figures that are possible but look like another unit.
void check_units(PlanKeys& plan) {
    constexpr double kManyHours = 43800;  // five years
    constexpr std::int64_t kFewTokens = 100'000;
    if (const auto& hours = plan.training_gear.available_hours; hours && *hours > kManyHours) {
        plan.notes.push_back(fmt::format(
            "available_hours {0:g} are {1:.0f} years; if seconds are meant, write {2:g}", *hours,
            *hours / 8760, *hours / 3600));
    }
    if (const auto& tokens = plan.dataset_constraints.dataset_size;
        tokens && *tokens < kFewTokens) {
        plan.notes.push_back(fmt::format(
            "dataset_size {0} is {0} tokens; if billions are meant, write {0}000000000", *tokens));
    }
}

enum class Check { keys, plan };

void read_architecture(PlanKeys& plan, const config::ReadNotes& notes,
                       const config::Document& document, const model::ReadFormat& format,
                       Check check) {
    if (!plan.architecture.is_hugging_face())
        model::refuse_unknown_keys(plan_schema(), notes, document, format.object);
    if (check == Check::keys) return;
    // Resolved again by the plan itself; here a contradiction can still be pointed at in the file.
    const model::ModelConfig model = model::resolve_at(plan.architecture, document, format.object);
    if (!format.title.empty())
        plan.notes.push_back(fmt::format("architecture is read as a {}", format.title));
    for (const std::string& note : format.notes) plan.notes.push_back("assumed: " + note);
    for (std::string& warning :
         model::warnings_of(plan.architecture, model, notes.unknown_keys, format.object)) {
        plan.notes.push_back(std::move(warning));
    }
}

/// The document with its architecture in our spelling.
model::ReadFormat rewrite_architecture(config::Document& document) {
    const config::Value* found = document.root.find("architecture");
    if (found == nullptr) return {document.root, {}, {}};
    model::ReadFormat format = model::read_format(document, *found);
    config::Value::Object sections = document.root.as_object();
    for (config::Member& section : sections) {
        if (section.key == "architecture") section.value = format.object;
    }
    document.root = config::Value(std::move(sections), document.root.location());
    return format;
}

PlanKeys read(config::Document document, std::span<const std::string> overrides, Check check) {
    refuse_other_kinds(document, {FileKind::plan});
    const model::ReadFormat format = rewrite_architecture(document);
    PlanKeys plan;
    config::ReadNotes notes;
    plan_schema().read(plan, document, &notes);
    std::vector<std::string> overridden;
    for (const std::string& assignment : overrides) {
        const auto [key, value] = config::split_assignment(assignment);
        plan_schema().set(plan, key, value);
        overridden.push_back(plan_schema().resolve_path(key).value_or(key));
    }
    plan_schema().require(plan, document);
    read_architecture(plan, notes, document, format, check);
    plan.source =
        std::make_shared<const PlanSource>(PlanSource{std::move(document), std::move(overridden)});
    if (check == Check::plan) check_units(plan);
    return plan;
}

}  // namespace

std::string located(const PlanKeys& keys, std::string_view path, std::string_view message) {
    if (keys.source == nullptr) return std::string(message);
    const auto& overridden = keys.source->overridden;
    const bool from_file =
        std::find(overridden.begin(), overridden.end(), path) == overridden.end();
    const config::Value* value = from_file ? value_at(keys.source->document, path) : nullptr;
    return value == nullptr ? std::string(message)
                            : keys.source->document.describe(value->location(), message);
}

PlanKeys read_plan_keys(const std::filesystem::path& path, std::span<const std::string> overrides) {
    return read_plan_keys(config::read_jsonc_file(path), overrides);
}

PlanKeys read_plan_keys_unchecked(config::Document document,
                                  std::span<const std::string> overrides) {
    return read(std::move(document), overrides, Check::keys);
}

PlanKeys read_plan_keys(config::Document document, std::span<const std::string> overrides) {
    return read(std::move(document), overrides, Check::plan);
}

}  // namespace isoflop::recipe
