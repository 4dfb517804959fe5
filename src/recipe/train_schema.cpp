// The one table of training keys. Model keys come from the model layer.
#include "isoflop/model/model_fields.hpp"
#include "isoflop/recipe/train_keys.hpp"

namespace isoflop::recipe {
namespace {

constexpr double kMaxCount = 9e15;  // exact in a double
constexpr double kMaxBatch = 1e6;

using Schema = config::Schema<TrainKeys>;

void add_batch(Schema& schema) {
    schema.group(kBatchSection, &TrainKeys::batch, "Size of an iteration, and the end of the run.")
        .field(&BatchKeys::batch_size, {.key = "batch_size",
                                        .help = "Sequences in the micro-batch of a rank.",
                                        .unit = "sequences",
                                        .minimum = 1,
                                        .maximum = kMaxBatch,
                                        .aliases = {"micro_batch_size"}})
        .field(&BatchKeys::gradient_accumulation_steps,
               {.key = "gradient_accumulation_steps",
                .help = "Micro-batches per iteration over all ranks; must be a multiple of the "
                        "world size.",
                .minimum = 1,
                .maximum = kMaxBatch,
                .aliases = {"grad_accum_steps"},
                .default_help = "one per rank"})
        .field(&BatchKeys::total_batch_tokens,
               {.key = "total_batch_tokens",
                .help = "Tokens of the global batch, instead of gradient_accumulation_steps; must "
                        "be a multiple of batch_size x block_size x ranks.",
                .unit = "tokens",
                .minimum = 1,
                .maximum = kMaxCount})
        .field(&BatchKeys::max_iters,
               {.key = "max_iters",
                .help = "Number of iterations, counted from 0.",
                .minimum = 0,
                .maximum = 1e12,
                .default_help = "600000, or the number that max_tokens needs"})
        .field(&BatchKeys::max_tokens,
               {.key = "max_tokens",
                .help = "Training tokens, instead of max_iters; rounded up to whole iterations.",
                .unit = "tokens",
                .minimum = 1,
                .maximum = kMaxCount})
        .field(&BatchKeys::max_hours, {.key = "max_hours",
                                       .help = "Stops the run with a checkpoint after this time.",
                                       .unit = "hours",
                                       .minimum = 0,
                                       .maximum = 1e6,
                                       .exclusive_minimum = true});
}

void add_optimizer(Schema& schema) {
    schema.group(kOptimizerSection, &TrainKeys::optimizer, "AdamW and its schedule.")
        .field(&OptimizerKeys::learning_rate, {.key = "learning_rate",
                                               .help = "Peak learning rate.",
                                               .minimum = 0,
                                               .maximum = 100,
                                               .exclusive_minimum = true})
        .field(&OptimizerKeys::min_lr, {.key = "min_lr",
                                        .help = "Learning rate at and after lr_decay_iters.",
                                        .minimum = 0,
                                        .maximum = 100,
                                        .default_help = "learning_rate / 10"})
        .field(&OptimizerKeys::warmup_iters, {.key = "warmup_iters",
                                              .help = "Iterations of linear warm-up.",
                                              .minimum = 0,
                                              .maximum = 1e12})
        .field(&OptimizerKeys::lr_decay_iters,
               {.key = "lr_decay_iters",
                .help = "Iteration at which the learning rate reaches min_lr.",
                .minimum = 0,
                .maximum = 1e12,
                .default_help = "max_iters"})
        .field(&OptimizerKeys::lr_schedule,
               {.key = "lr_schedule",
                .help = "Shape of the learning-rate decay; wsd keeps the peak and decays over the "
                        "last wsd_decay_fraction."})
        .field(&OptimizerKeys::wsd_decay_fraction,
               {.key = "wsd_decay_fraction",
                .help = "Share of lr_decay_iters over which wsd decays.",
                .minimum = 0,
                .maximum = 1})
        .field(&OptimizerKeys::decay_lr,
               {.key = "decay_lr", .help = "Decays the learning rate; false keeps it constant."})
        .field(&OptimizerKeys::resume_schedule,
               {.key = "resume_schedule",
                .help = "Learning rate of a resumed run whose max_iters has changed, where another "
                        "decay would make it jump: keep ends the decay where it ended before and "
                        "stays at min_lr, rewarm warms up again over warmup_iters and decays to "
                        "the new end, stretch takes the schedule of the new length at once."})
        .field(&OptimizerKeys::weight_decay,
               {.key = "weight_decay",
                .help = "Decoupled weight decay of matrices; vectors have none.",
                .minimum = 0,
                .maximum = 100})
        .field(&OptimizerKeys::beta1, {.key = "beta1",
                                       .help = "Decay rate of the first moment.",
                                       .minimum = 0,
                                       .maximum = 0.9999999})
        .field(&OptimizerKeys::beta2, {.key = "beta2",
                                       .help = "Decay rate of the second moment.",
                                       .minimum = 0,
                                       .maximum = 0.9999999})
        .field(&OptimizerKeys::adam_eps,
               {.key = "adam_eps",
                .help = "Constant added to the root of the second moment.",
                .minimum = 0,
                .maximum = 1,
                .exclusive_minimum = true})
        .field(&OptimizerKeys::grad_clip, {.key = "grad_clip",
                                           .help = "Largest global gradient norm; 0 does not clip.",
                                           .minimum = 0,
                                           .maximum = 1e12});
}

using ExecutionFields = Schema::SectionBuilder<ExecutionKeys>;

void add_device_and_attention(ExecutionFields& fields) {
    fields
        .field(
            &ExecutionKeys::device,
            {.key = "device",
             .help = "Device of the run; auto takes a GPU if the machine has one, else the CPU."})
        .field(&ExecutionKeys::dtype,
               {.key = "dtype",
                .help = "Storage of weights and activations: float32, tf32 (float32 with products "
                        "in tf32), bfloat16 or float16. A CPU always runs float32.",
                .default_help = "bfloat16 on a GPU, float32 on a CPU",
                .excluded = {"float8", "fp8", "float4", "fp4", "int8"}})
        .field(&ExecutionKeys::attention_backend,
               {.key = "attention_backend",
                .help = "Attention implementation. auto takes the fastest one that the device "
                        "supports; an unsupported one falls back (flash_attn_2 -> sdpa -> manual) "
                        "and the log gives the reason."})
        .field(&ExecutionKeys::auto_probe,
               {.key = "auto_probe",
                .help = "Times the backends on the shape of the run for about a second when "
                        "attention_backend is auto, and keeps the result in out_dir. With false, "
                        "or with reproducible, a table by architecture decides."})
        .field(&ExecutionKeys::disable_backends,
               {.key = "disable_backends",
                .help = "Attention backends to treat as unsupported, comma-separated.",
                .default_help = "none"})
        .field(&ExecutionKeys::manual_head_chunk,
               {.key = "manual_head_chunk",
                .help = "Number of heads of one sequence whose score gradients manual attention "
                        "keeps in memory together, rounded up to whole groups that share a "
                        "key/value head; 0 keeps those of the whole micro-batch.",
                .unit = "heads",
                .minimum = 0,
                .maximum = 1e6});
}

void add_memory_and_seed(ExecutionFields& fields) {
    fields
        .field(&ExecutionKeys::recompute,
               {.key = "recompute",
                .help = "Activations that the backward pass recomputes instead of loading."})
        .field(&ExecutionKeys::loss_chunk,
               {.key = "loss_chunk",
                .help = "Tokens per chunk of LM head and loss; 0 computes all logits at once.",
                .unit = "tokens",
                .minimum = 0,
                .maximum = kMaxCount,
                .default_help = "the largest number that keeps the logits within 128 MiB on a CPU, "
                                "256 MiB on a GPU"})
        .field(&ExecutionKeys::seed, {.key = "seed",
                                      .help = "Seed of initial weights, data order and dropout.",
                                      .minimum = 0,
                                      .maximum = kMaxCount})
        .field(&ExecutionKeys::threads, {.key = "threads",
                                         .help = "CPU threads.",
                                         .minimum = 1,
                                         .maximum = 4096,
                                         .default_help = "from affinity and cgroup limits"});
}

void add_ranks(ExecutionFields& fields) {
    fields
        .field(&ExecutionKeys::use_zero1,
               {.key = "use_zero1", .help = "Shards the optimizer state over the ranks."})
        .field(&ExecutionKeys::use_fsdp,
               {.key = "use_fsdp",
                .help = "Shards weights, gradients and optimizer state over the ranks."})
        .field(&ExecutionKeys::fsdp_min_num_params,
               {.key = "fsdp_min_num_params",
                .help = "Accepted without effect; an FSDP unit is a block of any size.",
                .minimum = 0,
                .maximum = 1e15})
        .field(&ExecutionKeys::fsdp_activation_checkpointing,
               {.key = "fsdp_activation_checkpointing", .help = "Same as recompute=block."})
        .field(
            &ExecutionKeys::fsdp_shard_size,
            {.key = "fsdp_shard_size",
             .help =
                 "Number of ranks that share one copy of the state, such as the ranks of one "
                 "machine; gradients are summed between the copies. 0: all ranks share one copy.",
             .unit = "ranks",
             .minimum = 0,
             .maximum = 1e6})
        .field(&ExecutionKeys::fsdp_reshard_after_forward,
               {.key = "fsdp_reshard_after_forward",
                .help = "Frees gathered weights after the forward pass and gathers them again for "
                        "the backward pass; false keeps them until the update, which needs less "
                        "traffic and more memory."})
        .field(
            &ExecutionKeys::ddp_bucket_mb,
            {.key = "ddp_bucket_mb",
             .help = "Size of the pieces in which gradients are reduced during the backward pass.",
             .unit = "MiB",
             .minimum = 0,
             .maximum = 1e6});
}

void add_agreement_of_ranks(ExecutionFields& fields) {
    fields
        .field(&ExecutionKeys::reproducible,
               {.key = "reproducible",
                .help = "Sums gradients in a binary tree over micro-batches, so that 1, 2, 4 and 8 "
                        "ranks give the same bits; accumulation then keeps partial sums in memory.",
                .default_help = "true on a CPU, false on a GPU"})
        .field(&ExecutionKeys::verify_replicas_interval,
               {.key = "verify_replicas_interval",
                .help = "Interval in iterations between checksum comparisons across ranks; 0 "
                        "disables them.",
                .unit = "iterations",
                .minimum = 0})
        .field(&ExecutionKeys::comm_timeout_s,
               {.key = "comm_timeout_s",
                .help = "Longest wait for another rank, after which that rank counts as lost.",
                .unit = "seconds",
                .minimum = 0,
                .maximum = 1e6,
                .exclusive_minimum = true});
}

void add_gpu(ExecutionFields& fields) {
    fields
        .field(&ExecutionKeys::deterministic,
               {.key = "deterministic",
                .help = "Makes every run on a GPU give the same bits; false allows attention to "
                        "add parts of a gradient in varying order, which can be faster."})
        .field(&ExecutionKeys::cuda_graphs,
               {.key = "cuda_graphs",
                .help = "Records a micro-batch on a single GPU once and launches it with one call "
                        "from then on; not available with dropout or reproducible."})
        .field(&ExecutionKeys::gemm_autotune,
               {.key = "gemm_autotune",
                .help = "Times the algorithms of cuBLASLt for each product at the start instead of "
                        "using its heuristic, and keeps the results in out_dir; for GPUs."})
        .field(&ExecutionKeys::stochastic_rounding,
               {.key = "stochastic_rounding",
                .help = "Rounds updated 16-bit weights up or down at random, so that they are "
                        "correct on average, instead of to nearest."});
}

void add_execution(Schema& schema) {
    ExecutionFields fields =
        schema.group("Execution", &TrainKeys::execution, "How a step is executed.");
    add_device_and_attention(fields);
    add_memory_and_seed(fields);
    add_ranks(fields);
    add_agreement_of_ranks(fields);
    add_gpu(fields);
}

void add_data(Schema& schema) {
    schema.group("Data", &TrainKeys::data, "Sources of the tokens (docs/data.md).")
        .field(&DataKeys::dataset, {.key = "dataset",
                                    .help = "Folder made by train prepare-data (or data/<name>), "
                                            "or builtin, a small generated corpus."})
        .field(&DataKeys::train_data,
               {.key = "train_data",
                .help = "Training shards instead of dataset: globs with optional weights, "
                        "\"web/*.bin@0.7, code/*.bin@0.3\".",
                .default_help = "from dataset"})
        .field(&DataKeys::val_data,
               {.key = "val_data",
                .help = "Validation shards instead of dataset, in the same form.",
                .default_help = "from dataset"})
        .field(&DataKeys::ignore_index, {.key = "ignore_index",
                                         .help = "Target id that the loss skips. Loss and gradient "
                                                 "are means over the other targets "
                                                 "of the whole batch.",
                                         .minimum = -2147483648.0,
                                         .maximum = 2147483647.0});
}

using RunFields = Schema::SectionBuilder<RunKeys>;

void add_place_and_evaluation(RunFields& fields) {
    fields.field(&RunKeys::out_dir, {.key = "out_dir", .help = "Folder of all runs."})
        .field(&RunKeys::run_name, {.key = "run_name",
                                    .help = "Folder of this run inside out_dir.",
                                    .default_help = "YYYYmmdd_HHMMSS_<preset>_<backend>"})
        .field(
            &RunKeys::init_from,
            {.key = "init_from",
             .help =
                 "Start of the run: scratch, resume, auto (resume if the run named run_name has a "
                 "checkpoint, else scratch), or the folder of a checkpoint or Hugging Face model."})
        .field(&RunKeys::eval_interval,
               {.key = "eval_interval",
                .help = "Interval in iterations between evaluations; one more follows at the end. "
                        "0 evaluates only at the end, and needs no validation data.",
                .minimum = 0,
                .maximum = 1e12})
        .field(&RunKeys::eval_iters,
               {.key = "eval_iters",
                .help = "Micro-batches per evaluation; 0 evaluates the whole validation set.",
                .minimum = 0,
                .maximum = 1e12})
        .field(&RunKeys::eval_only, {.key = "eval_only", .help = "Evaluates once and stops."});
}

void add_checkpoints(RunFields& fields) {
    fields
        .field(
            &RunKeys::checkpoint_interval,
            {.key = "checkpoint_interval",
             .help =
                 "Interval in iterations between checkpoints; 0 writes one with each evaluation.",
             .minimum = 0,
             .maximum = 1e12})
        .field(&RunKeys::keep_checkpoints,
               {.key = "keep_checkpoints",
                .help = "Number of newest checkpoints to keep besides the best one; 0 keeps all.",
                .minimum = 0,
                .maximum = 1e9})
        .field(&RunKeys::always_save_checkpoint,
               {.key = "always_save_checkpoint",
                .help = "Saves a checkpoint at every evaluation; false saves only when the "
                        "validation loss is the lowest so far."});
}

void add_logs_and_samples(RunFields& fields) {
    fields
        .field(&RunKeys::log_interval, {.key = "log_interval",
                                        .help = "Interval in iterations between console lines.",
                                        .minimum = 1,
                                        .maximum = 1e12})
        .field(&RunKeys::log_save_interval,
               {.key = "log_save_interval",
                .help = "Interval in iterations between writes of the JSON log.",
                .minimum = 1,
                .maximum = 1e12})
        .field(&RunKeys::gradient_log_interval,
               {.key = "gradient_log_interval",
                .help = "Interval in iterations between gradient statistics; 0 disables them.",
                .minimum = 0,
                .maximum = 1e12})
        .field(&RunKeys::detail_log_interval,
               {.key = "detail_log_interval",
                .help = "Interval in iterations between log records with utilisation, memory and "
                        "communication; the first eight iterations of a process have them too.",
                .minimum = 1,
                .maximum = 1e12})
        .field(&RunKeys::gpu_type,
               {.key = "gpu_type",
                .help = "GPU that the run is planned for, by any of its names in the GPU table. "
                        "--dry-run compares the memory plan with its memory; a run uses the GPU "
                        "that it finds.",
                .default_help = "the GPU of this machine"})
        .field(&RunKeys::expected_mfu,
               {.key = "expected_mfu",
                .help = "Model FLOPs utilisation that reports hold the run against. A planned "
                        "training config has that of its plan.",
                .minimum = 0,
                .maximum = 1,
                .exclusive_minimum = true,
                .range_help = "a fraction: 45 % is 0.45"})
        .field(&RunKeys::flop_convention,
               {.key = "flop_convention",
                .help = "How the reported MFU counts the model's FLOPs (docs/formulas.md).",
                .excluded = {"executed"}})
        .field(&RunKeys::save_log_to_json,
               {.key = "save_log_to_json", .help = "Writes run_<name>.json."})
        .field(&RunKeys::tensorboard,
               {.key = "tensorboard", .help = "Writes TensorBoard event files."})
        .field(&RunKeys::allow_nonfinite_weights,
               {.key = "allow_nonfinite_weights",
                .help = "Trains from weights that contain NaN or infinity instead of refusing "
                        "them."})
        .field(&RunKeys::sample_interval,
               {.key = "sample_interval",
                .help = "Interval in iterations between printed samples; 0 disables them.",
                .minimum = 0,
                .maximum = 1e12})
        .field(&RunKeys::sample_prompt, {.key = "sample_prompt",
                                         .help = "Prompt of the printed samples.",
                                         .default_help = "a line break"});
}

void add_run(Schema& schema) {
    RunFields fields =
        schema.group(kRunSection, &TrainKeys::run, "Folder of the run, and its output.");
    add_place_and_evaluation(fields);
    add_checkpoints(fields);
    add_logs_and_samples(fields);
}

Schema build_schema() {
    Schema schema("train", "A training run, for train.");
    auto model =
        schema.group("Model", &TrainKeys::model,
                     "The architecture: a preset, and choices and sizes that override it.");
    model::add_model_fields(model);
    add_batch(schema);
    add_optimizer(schema);
    add_execution(schema);
    add_data(schema);
    add_run(schema);
    return schema;
}

}  // namespace

const config::Schema<TrainKeys>& train_schema() {
    static const Schema schema = build_schema();
    return schema;
}

}  // namespace isoflop::recipe
