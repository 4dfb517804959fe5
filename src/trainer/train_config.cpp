#include "isoflop/trainer/train_config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/cost/memory_plan.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/model/trainable.hpp"

namespace isoflop::trainer {
namespace {

struct RetiredKey {
    std::string_view key;
    std::string_view advice;
};

constexpr std::array<RetiredKey, 12> kRetiredKeys = {{
    {"compile", "nothing is compiled at run time; leave it out"},
    {"backend",
     "the library for communication follows the device; for attention use attention_backend"},
    {"wandb_log",
     "use tensorboard=true; metrics.jsonl and the JSON log are always there for importers"},
    {"wandb_project", "use tensorboard=true and run_name"},
    {"wandb_run_name", "use run_name"},
    {"attention_dropout", "attention has no dropout; use dropout for the branches"},
    {"residual_dropout", "use dropout"},
    {"use_cuda_graphs", "use cuda_graphs"},
    {"use_sparse_specs", "peaks are dense; sparse figures exist nowhere here"},
    {"use_dataloader", "data are memory-mapped; leave it out"},
    {"eval_at_start", "use eval_only for the loss before training"},
    {"keep_all_checkpoints", "use keep_checkpoints=0"},
}};

/// A config written in the earlier system's way: presets stay presets when single keys are
/// overridden.
model::ModelKeys with_default_preset(model::ModelKeys keys) {
    if (!keys.arch_preset && !keys.model_type) keys.arch_preset = model::ArchPreset::gpt2;
    return keys;
}

std::int64_t ceil_divide(std::int64_t a, std::int64_t b) {
    return (a + b - 1) / b;
}

void resolve_batch(TrainConfig& config) {
    const BatchKeys& batch = config.keys.batch;
    const std::int64_t micro_tokens = batch.batch_size * config.execution.sequence_length;
    if (batch.gradient_accumulation_steps && batch.total_batch_tokens) {
        throw ConfigError(
            "gradient_accumulation_steps and total_batch_tokens both set the global batch; give "
            "one");
    }
    config.global_micro_steps = batch.gradient_accumulation_steps.value_or(config.world_size);
    if (batch.total_batch_tokens) {
        const std::int64_t unit = micro_tokens * config.world_size;
        if (*batch.total_batch_tokens % unit != 0) {
            throw ConfigError(
                fmt::format("total_batch_tokens must be a multiple of batch_size x block_size x "
                            "ranks = {}; found {}",
                            unit, *batch.total_batch_tokens));
        }
        config.global_micro_steps = *batch.total_batch_tokens / micro_tokens;
    }
    if (config.global_micro_steps % config.world_size != 0) {
        throw ConfigError(
            fmt::format("gradient_accumulation_steps ({}) is over all ranks and must be a multiple "
                        "of their number ({}); "
                        "total_batch_tokens states the batch in tokens instead",
                        config.global_micro_steps, config.world_size));
    }
    config.micro_steps = config.global_micro_steps / config.world_size;
    config.tokens_per_iteration = config.global_micro_steps * micro_tokens;
    if (batch.max_iters && batch.max_tokens) {
        throw ConfigError("max_iters and max_tokens both end the run; give one");
    }
    config.max_iters = batch.max_tokens
                           ? ceil_divide(*batch.max_tokens, config.tokens_per_iteration)
                           : batch.max_iters.value_or(600000);
}

void resolve_schedule(TrainConfig& config) {
    const OptimizerKeys& optimizer = config.keys.optimizer;
    config.lr_decay_iters = optimizer.lr_decay_iters.value_or(config.max_iters);
    config.min_lr = optimizer.min_lr.value_or(optimizer.learning_rate / 10);
    if (config.min_lr > optimizer.learning_rate) {
        throw ConfigError(fmt::format("min_lr ({}) is over learning_rate ({})", config.min_lr,
                                      optimizer.learning_rate));
    }
    const bool decays =
        optimizer.decay_lr && optimizer.lr_schedule != LearningRateSchedule::constant;
    if (decays && optimizer.lr_decay_iters && *optimizer.lr_decay_iters < optimizer.warmup_iters) {
        throw ConfigError(fmt::format("lr_decay_iters ({}) is before the end of warmup_iters ({})",
                                      *optimizer.lr_decay_iters, optimizer.warmup_iters));
    }
}

/// 0 when one copy is shared by all.
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

/// A plan for a GPU needs none here; a run does, and says so when it starts.
cost::DeviceKind device_of(DeviceChoice choice) {
    if (choice == DeviceChoice::cuda) return cost::DeviceKind::cuda;
    const bool takes_gpu = choice == DeviceChoice::automatic && device::count_gpus().devices > 0;
    return takes_gpu ? cost::DeviceKind::cuda : cost::DeviceKind::cpu;
}

void resolve_precision(TrainConfig& config) {
    const std::optional<DType>& asked = config.keys.execution.dtype;
    const bool on_gpu = config.execution.device == cost::DeviceKind::cuda;
    const DType dtype = asked.value_or(on_gpu ? DType::bfloat16 : DType::float32);
    const bool is_16_bit = dtype == DType::bfloat16 || dtype == DType::float16;
    if (!is_16_bit && dtype != DType::float32 && dtype != DType::tf32) {
        throw ConfigError(
            fmt::format("dtype must be one of float32, tf32, bfloat16, float16; found \"{}\"",
                        to_string(dtype)));
    }
    config.execution.dtype = on_gpu ? dtype : DType::float32;
    if (is_16_bit && !on_gpu)
        config.dtype_note = fmt::format("dtype {} runs as float32 on a CPU", to_string(dtype));
}

void resolve_execution(TrainConfig& config) {
    const ExecutionKeys& keys = config.keys.execution;
    if (keys.use_zero1 && keys.use_fsdp) {
        throw ConfigError("use_zero1 and use_fsdp both shard the optimizer; give one");
    }
    cost::Execution& execution = config.execution;
    execution.micro_batch_size = config.keys.batch.batch_size;
    execution.world_size = config.world_size;
    execution.grad_accum_steps = config.micro_steps;
    execution.parallelism = keys.use_fsdp    ? cost::Parallelism::fsdp
                            : keys.use_zero1 ? cost::Parallelism::zero1
                                             : cost::Parallelism::ddp;
    if (keys.use_fsdp) execution.shard_size = shard_size_of(keys, config.world_size);
    execution.reshard_after_forward = keys.fsdp_reshard_after_forward;
    execution.device = device_of(keys.device);
    execution.reproducible = keys.reproducible.value_or(execution.device == cost::DeviceKind::cpu);
    execution.deterministic = keys.deterministic;
    execution.manual_head_chunk = keys.manual_head_chunk;
    resolve_precision(config);
    execution.attention_backend =
        backend_of(keys.attention_backend).value_or(cost::AttentionBackend::flash_attn_2);
    execution.recompute =
        keys.fsdp_activation_checkpointing ? cost::Recompute::block : keys.recompute;
    execution.loss_chunk = keys.loss_chunk;
    if (!cost::flops_are_countable(config.model, execution.micro_batch_size,
                                   execution.sequence_length) ||
        !cost::memory_is_countable(config.model, execution)) {
        throw ConfigError(
            "one micro-batch is too large to count exactly; use a smaller batch_size or "
            "block_size");
    }
}

void refuse_retired(const config::Document& document) {
    if (!document.root.is_object()) return;
    for (const config::Member& member : document.root.as_object()) {
        const std::string advice = retired_key_advice(member.key);
        if (advice.empty()) continue;
        throw ConfigError(
            document.describe(member.key_location,
                              fmt::format("key '{}' means nothing here: {}", member.key, advice)));
    }
}

void apply_overrides(TrainKeys& keys, std::span<const std::string> overrides) {
    for (const std::string& assignment : overrides) {
        const auto [key, value] = config::split_assignment(assignment);
        if (const std::string advice = retired_key_advice(key); !advice.empty()) {
            throw ConfigError(fmt::format("key '{}' means nothing here: {}", key, advice));
        }
        train_schema().set(keys, key, value);
    }
}

}  // namespace

std::optional<cost::AttentionBackend> backend_of(AttentionChoice choice) {
    switch (choice) {
        case AttentionChoice::automatic: return std::nullopt;
        case AttentionChoice::flash_attn_2: return cost::AttentionBackend::flash_attn_2;
        case AttentionChoice::sdpa: return cost::AttentionBackend::sdpa;
        case AttentionChoice::manual: return cost::AttentionBackend::manual;
    }
    return std::nullopt;
}

std::string retired_key_advice(std::string_view key) {
    for (const RetiredKey& retired : kRetiredKeys) {
        if (retired.key == key) return std::string(retired.advice);
    }
    return {};
}

TrainKeys read_train_keys(const std::filesystem::path& path,
                          std::span<const std::string> overrides) {
    const config::Document document = config::read_jsonc_file(path);
    refuse_retired(document);
    TrainKeys keys;
    train_schema().read(keys, document);
    apply_overrides(keys, overrides);
    train_schema().require(keys, document);
    keys.model = with_default_preset(keys.model);
    (void)model::resolve_at(keys.model, document, document.root);
    return keys;
}

TrainKeys train_keys_from(std::span<const std::string> overrides) {
    TrainKeys keys;
    apply_overrides(keys, overrides);
    keys.model = with_default_preset(keys.model);
    return keys;
}

TrainConfig resolve_train_config(const TrainKeys& keys, std::int64_t world_size) {
    return resolve_train_config(keys, model::resolve(with_default_preset(keys.model)), world_size);
}

TrainConfig resolve_train_config(const TrainKeys& keys, const model::ModelConfig& model,
                                 std::int64_t world_size) {
    TrainConfig config;
    config.keys = keys;
    config.world_size = world_size;
    config.model = model;
    config.execution.sequence_length =
        keys.model.max_position_embeddings.value_or(model.max_position_embeddings);
    if (config.execution.sequence_length <= 0) throw ConfigError("missing key 'block_size'");
    const std::string reason =
        model::untrainable_reason(config.model, config.execution.sequence_length);
    if (!reason.empty()) throw ConfigError("the trainer does not run " + reason);
    resolve_batch(config);
    resolve_schedule(config);
    resolve_execution(config);
    return config;
}

TrainKeys train_keys_from_json(const nlohmann::ordered_json& json, const std::string& source) {
    TrainKeys keys;
    const config::Document document = config::parse_jsonc(json.dump(), source);
    train_schema().read(keys, document);
    return keys;
}

nlohmann::ordered_json to_json(const TrainKeys& keys) {
    nlohmann::ordered_json json;
    for (const config::Section& section : train_schema().sections()) {
        for (const config::Field& field : section.fields) {
            // A key that is not set is left out: for most keys null is no value.
            if (field.info.ignored || std::holds_alternative<std::monostate>(field.get(&keys)))
                continue;
            auto& entry = json[std::string(field.info.key)];
            std::visit(
                [&](const auto& value) {
                    using V = std::decay_t<decltype(value)>;
                    if constexpr (std::is_same_v<V, std::monostate>) {
                        entry = nullptr;
                    } else if constexpr (std::is_same_v<V, config::Value>) {
                        entry = value.is_null() ? nlohmann::ordered_json(nullptr)
                                                : nlohmann::ordered_json::parse(value.to_text());
                    } else {
                        entry = value;
                    }
                },
                field.get(&keys));
        }
    }
    return json;
}

bool is_train_config(const config::Document& document) {
    if (!document.root.is_object()) return false;
    for (const config::Member& member : document.root.as_object()) {
        if (member.key == "$schema") continue;
        const auto& sections = train_schema().sections();
        for (std::size_t i = 1; i < sections.size(); ++i) {  // the first group holds the model keys
            if (sections[i].find(member.key) != nullptr) return true;
        }
    }
    return false;
}

}  // namespace isoflop::trainer
