// The one table of plan keys. Model keys come from the model layer.
#include "isoflop/recipe/plan_keys.hpp"

#include <fmt/format.h>

#include "isoflop/base/error.hpp"
#include "isoflop/model/model_fields.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/recipe/file_kind.hpp"

namespace isoflop::recipe {
namespace {

using config::Required;

constexpr double kMaxGpus = 1e7;
constexpr double kMaxHours = 1e7;
constexpr double kMaxTokens = 9e15;  // exact in a double
constexpr double kMaxBatch = 1e6;
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
        .field(&TrainingGear::peak_flops_per_gpu,
               {.key = "peak_flops_per_gpu",
                .help = "Dense peak of one GPU, instead of the peak of the table. A figure that "
                        "differs by more than 5 % is used with a warning.",
                .unit = "FLOP/s",
                .minimum = 0,
                .maximum = 1e20,
                .exclusive_minimum = true,
                .default_help = "the dense peak of the GPU table"});
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
                .required = true})
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

PlanKeys read_plan_keys(const std::filesystem::path& path, std::span<const std::string> overrides) {
    const config::Document document = config::read_jsonc_file(path);
    refuse_other_kinds(document, {FileKind::plan});
    PlanKeys plan;
    config::ReadNotes notes;
    plan_schema().read(plan, document, &notes);
    const config::Value* architecture = document.root.find("architecture");
    if (architecture != nullptr) {
        model::refuse_unknown_keys(plan.architecture, plan_schema(), notes, document,
                                   *architecture);
    }
    for (const std::string& assignment : overrides) {
        const auto [key, value] = config::split_assignment(assignment);
        plan_schema().set(plan, key, value);
    }
    plan_schema().require(plan, document);
    // Resolved again by the plan itself; here a contradiction can still be pointed at in the file.
    (void)model::resolve_at(plan.architecture, document,
                            architecture != nullptr ? *architecture : document.root);
    return plan;
}

}  // namespace isoflop::recipe
