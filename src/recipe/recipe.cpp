#include "isoflop/recipe/recipe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <string_view>
#include <system_error>
#include <tuple>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/model/trainable.hpp"
#include "recipe/gpu_type.hpp"

namespace isoflop::recipe {
namespace {

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}

void resolve_batch(Recipe& recipe) {
    const BatchKeys& batch = recipe.keys.batch;
    const std::int64_t micro_tokens = batch.batch_size * recipe.execution.sequence_length;
    if (batch.gradient_accumulation_steps && batch.total_batch_tokens) {
        throw ConfigError(
            "gradient_accumulation_steps and total_batch_tokens both set the global batch; give "
            "one");
    }
    recipe.global_micro_steps = batch.gradient_accumulation_steps.value_or(recipe.world_size);
    if (batch.total_batch_tokens) {
        const std::int64_t unit = micro_tokens * recipe.world_size;
        if (*batch.total_batch_tokens % unit != 0) {
            throw ConfigError(
                fmt::format("total_batch_tokens must be a multiple of batch_size x block_size x "
                            "ranks = {}; found {}",
                            unit, *batch.total_batch_tokens));
        }
        recipe.global_micro_steps = *batch.total_batch_tokens / micro_tokens;
    }
    if (recipe.global_micro_steps % recipe.world_size != 0) {
        throw ConfigError(
            fmt::format("gradient_accumulation_steps ({}) is over all ranks and must be a multiple "
                        "of their number ({}); "
                        "total_batch_tokens states the batch in tokens instead",
                        recipe.global_micro_steps, recipe.world_size));
    }
    recipe.micro_steps = recipe.global_micro_steps / recipe.world_size;
    recipe.tokens_per_iteration = recipe.global_micro_steps * micro_tokens;
    if (batch.max_iters && batch.max_tokens) {
        throw ConfigError("max_iters and max_tokens both end the run; give one");
    }
    recipe.max_iters = batch.max_tokens
                           ? ceil_divide(*batch.max_tokens, recipe.tokens_per_iteration)
                           : batch.max_iters.value_or(600000);
}

void resolve_schedule(Recipe& recipe) {
    const OptimizerKeys& optimizer = recipe.keys.optimizer;
    recipe.lr_decay_iters = optimizer.lr_decay_iters.value_or(recipe.max_iters);
    recipe.min_lr = optimizer.min_lr.value_or(optimizer.learning_rate / 10);
    if (recipe.min_lr > optimizer.learning_rate) {
        throw ConfigError(fmt::format("min_lr ({}) is over learning_rate ({})", recipe.min_lr,
                                      optimizer.learning_rate));
    }
    const bool decays =
        optimizer.decay_lr && optimizer.lr_schedule != LearningRateSchedule::constant;
    if (decays && optimizer.lr_decay_iters && *optimizer.lr_decay_iters < optimizer.warmup_iters) {
        throw ConfigError(fmt::format("lr_decay_iters ({}) is before the end of warmup_iters ({})",
                                      *optimizer.lr_decay_iters, optimizer.warmup_iters));
    }
}

/// 0 when all ranks share one copy.
std::int64_t shard_size_of(const ExecutionKeys& keys, std::int64_t world_size) {
    const std::int64_t size = keys.fsdp_shard_size;
    if (size == 0 || size == world_size || world_size == 1) return 0;
    if (size == 1 || world_size % size != 0) {
        throw ConfigError(
            fmt::format("fsdp_shard_size must be 0 or a divisor, over 1, of the number of ranks "
                        "({}); found {}",
                        world_size, size));
    }
    return size;
}

cost::DeviceKind device_of(DeviceChoice choice, const Machine& machine) {
    switch (choice) {
        case DeviceChoice::cuda: return cost::DeviceKind::cuda;
        case DeviceChoice::cpu: return cost::DeviceKind::cpu;
        case DeviceChoice::automatic: return machine.automatic_device;
    }
    return machine.automatic_device;
}

void resolve_precision(Recipe& recipe) {
    const std::optional<DType>& asked = recipe.keys.execution.dtype;
    const bool on_gpu = recipe.execution.device == cost::DeviceKind::cuda;
    const DType dtype = asked.value_or(on_gpu ? DType::bfloat16 : DType::float32);
    if (!is_trainable_dtype(dtype)) {
        throw ConfigError(
            fmt::format("dtype must be one of float32, tf32, bfloat16, float16; found \"{}\"",
                        to_string(dtype)));
    }
    recipe.execution.dtype = on_gpu ? dtype : DType::float32;
    if (recipe.execution.dtype != dtype)
        recipe.dtype_note = fmt::format("dtype {} runs as float32 on a CPU", to_string(dtype));
}

void resolve_execution(Recipe& recipe, const Machine& machine) {
    const ExecutionKeys& keys = recipe.keys.execution;
    if (keys.use_zero1 && keys.use_fsdp) {
        throw ConfigError("use_zero1 and use_fsdp both shard the optimizer; give one");
    }
    cost::Execution& execution = recipe.execution;
    execution.micro_batch_size = recipe.keys.batch.batch_size;
    execution.world_size = recipe.world_size;
    execution.grad_accum_steps = recipe.micro_steps;
    execution.parallelism = keys.use_fsdp    ? cost::Parallelism::fsdp
                            : keys.use_zero1 ? cost::Parallelism::zero1
                                             : cost::Parallelism::ddp;
    if (keys.use_fsdp) execution.shard_size = shard_size_of(keys, recipe.world_size);
    execution.reshard_after_forward = keys.fsdp_reshard_after_forward;
    execution.device = device_of(keys.device, machine);
    execution.reproducible = keys.reproducible.value_or(execution.device == cost::DeviceKind::cpu);
    execution.deterministic = keys.deterministic;
    execution.manual_head_chunk = keys.manual_head_chunk;
    resolve_precision(recipe);
    execution.attention_backend =
        backend_of(keys.attention_backend).value_or(cost::AttentionBackend::flash_attn_2);
    execution.recompute =
        keys.fsdp_activation_checkpointing ? cost::Recompute::block : keys.recompute;
    execution.loss_chunk = keys.loss_chunk;
    if (!cost::flops_are_countable(recipe.model, execution.micro_batch_size,
                                   execution.sequence_length) ||
        !cost::memory_is_countable(recipe.model, execution)) {
        throw ConfigError(
            "one micro-batch is too large to count exactly; use a smaller batch_size or "
            "block_size");
    }
}

/// A gradient type equal to the weights' says nothing.
std::optional<DType> gradient_dtype_of(const TrainingEfficiency& efficiency,
                                       const cost::Execution& execution) {
    if (efficiency.gradient_dtype == execution.storage_dtype()) return std::nullopt;
    return efficiency.gradient_dtype;
}

}  // namespace

Recipe recipe_of(const TrainKeys& keys, const Machine& machine) {
    return recipe_of(keys, model::resolve(with_default_preset(keys.model)), machine);
}

Recipe recipe_of(const TrainKeys& keys, const model::ModelConfig& model, const Machine& machine) {
    check_gpu_type(keys.run.gpu_type);
    Recipe recipe;
    recipe.keys = keys;
    recipe.world_size = machine.world_size;
    recipe.model = model;
    recipe.optimizer = &optimizer_of(keys);
    recipe.execution.sequence_length =
        keys.model.max_position_embeddings.value_or(model.max_position_embeddings);
    if (recipe.execution.sequence_length <= 0) throw ConfigError("missing key 'block_size'");
    const std::string reason =
        model::untrainable_reason(recipe.model, recipe.execution.sequence_length);
    if (!reason.empty()) throw ConfigError("the trainer does not run " + reason);
    resolve_batch(recipe);
    resolve_schedule(recipe);
    resolve_execution(recipe, machine);
    return recipe;
}

Machine planned_machine(Machine here, const TrainKeys& keys) {
    if (!keys.run.gpu_type.empty()) here.automatic_device = cost::DeviceKind::cuda;
    return here;
}

cost::DeviceKind likely_device() {
    const char* visible = std::getenv("CUDA_VISIBLE_DEVICES");
    const bool hidden =
        visible != nullptr && (std::string_view(visible).empty() || visible[0] == '-');
    return has_gpu_files("/dev") && !hidden ? cost::DeviceKind::cuda : cost::DeviceKind::cpu;
}

bool has_gpu_files(const std::filesystem::path& devices) {
    constexpr std::string_view prefix = "nvidia";
    std::error_code error;
    for (std::filesystem::directory_iterator entry(devices, error), end; !error && entry != end;
         entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        const std::string_view number =
            std::string_view(name).substr(std::min(prefix.size(), name.size()));
        const bool numbered = name.starts_with(prefix) && !number.empty() &&
                              number.find_first_not_of("0123456789") == std::string_view::npos;
        if (numbered || name == "dxg") return true;
    }
    return false;
}

const cost::OptimizerState& optimizer_of(const TrainKeys& /*keys*/) {
    return cost::kAdamW;
}
const cost::OptimizerState& optimizer_of(const PlanKeys& /*keys*/) {
    return cost::kAdamW;
}

Recipe recipe_of(const PlanKeys& keys, const model::ModelConfig& model) {
    Recipe recipe = recipe_of(model, execution_of(keys, model), optimizer_of(keys));
    recipe.keys.run.flop_convention = keys.training_efficiency.flop_convention;
    return recipe;
}

Recipe recipe_of(const model::ModelConfig& model, const cost::Execution& execution,
                 const cost::OptimizerState& optimizer) {
    Recipe recipe;
    recipe.model = model;
    recipe.execution = execution;
    recipe.optimizer = &optimizer;
    recipe.world_size = execution.world_size;
    recipe.micro_steps = execution.grad_accum_steps;
    return recipe;
}

TrainingContext training_context(const PlanKeys& keys, const model::ModelConfig& model) {
    constexpr std::int64_t kLongestUnasked = 8192;
    if (keys.dataset_constraints.sequence_length)
        return {*keys.dataset_constraints.sequence_length};
    std::int64_t length = model.max_position_embeddings;
    if (model.rope_scaling && model.rope_scaling->original_max_position_embeddings > 0)
        length = std::min(length, model.rope_scaling->original_max_position_embeddings);
    length = std::min(length, kLongestUnasked);
    if (length == model.max_position_embeddings) return {length};
    return {length,
            fmt::format("sequence_length is not given: {} tokens are assumed, not the {} "
                        "positions of the model",
                        with_separators(length), with_separators(model.max_position_embeddings))};
}

cost::Execution execution_of(const PlanKeys& keys, const model::ModelConfig& model) {
    const TrainingEfficiency& efficiency = keys.training_efficiency;
    cost::Execution execution;
    execution.micro_batch_size = efficiency.batch_size;
    execution.grad_accum_steps = efficiency.gradient_accumulation_steps;
    execution.sequence_length = training_context(keys, model).length;
    execution.world_size = keys.training_gear.num_gpus.value_or(1);
    execution.dtype = keys.training_gear.dtype;
    execution.gradient_dtype = gradient_dtype_of(efficiency, execution);
    execution.attention_backend = efficiency.backend();
    execution.recompute = efficiency.recompute;
    execution.parallelism = efficiency.parallelism;
    execution.loss_chunk = efficiency.loss_chunk;
    return execution;
}

cost::Execution execution_of(PlanKeys keys, const model::ModelDescription& model) {
    TrainingEfficiency& efficiency = keys.training_efficiency;
    if (!efficiency.attention_backend && !efficiency.use_flash_attention)
        efficiency.use_flash_attention = model.keys.use_flash_attention;
    return execution_of(keys, model.config);
}

bool same_execution(const cost::Execution& a, const cost::Execution& b) {
    // Does not compile when Execution gets a field that is not compared here.
    const auto fields = [](const cost::Execution& execution) {
        const auto& [batch, sequence, ranks, accumulation, dtype, gradient_dtype, backend,
                     recompute, parallelism, device, reproducible, deterministic, head_chunk, shard,
                     reshard, loss_chunk] = execution;
        return std::tuple(batch, sequence, ranks, accumulation, dtype, gradient_dtype, backend,
                          recompute, parallelism, device, reproducible, deterministic, head_chunk,
                          shard, reshard, loss_chunk);
    };
    return fields(a) == fields(b);
}

}  // namespace isoflop::recipe
