// Search over the few choices that trade speed for memory. The lattice is small (2 x 3 x 4 x 2 x
// log2(batch)), so every point is evaluated and the cheapest point that fits is chosen.
#include "isoflop/recipe/memory_fit.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <vector>

#include "isoflop/base/text.hpp"
#include "isoflop/recipe/attention_resolution.hpp"

namespace isoflop::recipe {
namespace {

using cost::AttentionBackend;
using cost::Execution;
using cost::Parallelism;
using cost::Recompute;

// Estimated extra step time of each change, to rank them. Full recomputation repeats the forward
// pass, a third of the step (Korthikanti 2022, section 5: 30 to 40 %); sharding costs communication
// that mostly overlaps with computation.
constexpr double kRecomputeBlock = 0.33;
constexpr double kRecomputeAttention = 0.05;
constexpr double kZero1 = 0.01;
constexpr double kZero2 = 0.02;
constexpr double kFsdp = 0.04;
constexpr double kHalvedMicroBatch = 0.02;
/// Takes no time, but the bits then depend on the number of ranks: preferred to the recomputation
/// of blocks only.
constexpr double kWorthOfReproducibility = 0.1;

double sharding_cost(Parallelism parallelism) {
    switch (parallelism) {
        case Parallelism::ddp: return 0;
        case Parallelism::zero1: return kZero1;
        case Parallelism::zero2: return kZero2;
        case Parallelism::fsdp: return kFsdp;
    }
    return 0;
}

/// flash_attn_2, or what runs in its place.
AttentionBackend most_frugal_backend(const model::ModelConfig& config, Execution execution) {
    execution.attention_backend = AttentionBackend::flash_attn_2;
    return resolve_attention(config, execution).used;
}

/// `change` with each divisor of its micro-batch that is a half, a quarter, ... of it.
void add_with_smaller_batches(std::vector<FittingChange>& list, FittingChange change) {
    const Execution given = change.execution;
    for (std::int64_t batch = given.micro_batch_size; batch >= 1; batch /= 2) {
        if (given.micro_batch_size % batch == 0) {
            change.execution.micro_batch_size = batch;
            change.execution.grad_accum_steps =
                given.grad_accum_steps * (given.micro_batch_size / batch);
            list.push_back(change);
        }
        change.slowdown += kHalvedMicroBatch;
    }
}

/// The backends, ways to shard and recomputation that need at most the memory of the given ones.
std::vector<FittingChange> other_choices(const model::ModelConfig& config, const Execution& given,
                                         KeysOf keys) {
    std::vector<AttentionBackend> backends{given.attention_backend};
    if (given.attention_backend == AttentionBackend::manual) {
        const AttentionBackend frugal = most_frugal_backend(config, given);
        if (frugal != given.attention_backend) backends.push_back(frugal);
    }
    std::vector<FittingChange> list;
    for (const AttentionBackend backend : backends) {
        for (const Parallelism parallelism :
             {Parallelism::ddp, Parallelism::zero1, Parallelism::zero2, Parallelism::fsdp}) {
            if (parallelism < given.parallelism) continue;
            if (keys == KeysOf::training && parallelism == Parallelism::zero2) continue;
            if (given.world_size == 1 && parallelism != given.parallelism) continue;
            for (const Recompute recompute :
                 {Recompute::none, Recompute::attention, Recompute::block}) {
                if (recompute < given.recompute) continue;
                FittingChange change;
                change.execution = given;
                change.execution.attention_backend = backend;
                change.execution.parallelism = parallelism;
                change.execution.recompute = recompute;
                change.slowdown = sharding_cost(parallelism) - sharding_cost(given.parallelism) +
                                  recompute_slowdown(recompute) -
                                  recompute_slowdown(given.recompute);
                list.push_back(std::move(change));
            }
        }
    }
    return list;
}

/// Candidates that need at most the memory of the given execution, the cheapest first.
std::vector<FittingChange> candidates(const model::ModelConfig& config, const Execution& given,
                                      KeysOf keys) {
    std::vector<FittingChange> list;
    for (FittingChange& change : other_choices(config, given, keys)) {
        add_with_smaller_batches(list, change);
        if (!given.reproducible || keys == KeysOf::plan) continue;
        change.execution.reproducible = false;  // keeps no partial sums of gradients
        add_with_smaller_batches(list, std::move(change));
    }
    const auto cost_of = [&](const FittingChange& change) {
        const bool loses_bits = change.execution.reproducible != given.reproducible;
        return change.slowdown + (loses_bits ? kWorthOfReproducibility : 0.0);
    };
    std::stable_sort(list.begin(), list.end(), [&](const FittingChange& a, const FittingChange& b) {
        return cost_of(a) < cost_of(b);
    });
    return list;
}

/// In training configs parallelism is two switches, and accumulation is over all ranks.
std::string describe(const Recipe& recipe, const Execution& changed, KeysOf keys) {
    const Execution& given = recipe.execution;
    const bool training = keys == KeysOf::training;
    std::string text;
    const auto add = [&](std::string_view key, const auto& value) {
        text += fmt::format("{}{}={}", text.empty() ? "" : ", ", key, value);
    };
    if (changed.attention_backend != given.attention_backend) {
        add("attention_backend", to_string(changed.attention_backend));
    }
    if (changed.parallelism != given.parallelism && !training)
        add("parallelism", to_string(changed.parallelism));
    if (changed.parallelism != given.parallelism && training) {
        if (recipe.keys.execution.use_zero1) add("use_zero1", false);
        add(changed.parallelism == Parallelism::fsdp ? "use_fsdp" : "use_zero1", true);
    }
    if (changed.reproducible != given.reproducible) add("reproducible", changed.reproducible);
    if (changed.recompute != given.recompute) add("recompute", to_string(changed.recompute));
    if (changed.micro_batch_size != given.micro_batch_size) {
        add("batch_size", changed.micro_batch_size);
        if (!training || !recipe.keys.batch.total_batch_tokens) {
            add("gradient_accumulation_steps",
                changed.grad_accum_steps * (training ? changed.world_size : 1));
        }
    }
    return text;
}

/// Fewest GPUs on which the execution with the least memory fits, found by doubling and bisection.
std::optional<std::int64_t> fewest_gpus(const model::ModelConfig& config,
                                        const model::ParameterLayout& layout, Execution frugal,
                                        const cost::OptimizerState& optimizer,
                                        std::uint64_t capacity_bytes) {
    constexpr std::int64_t kMostGpus = 1 << 20;
    const auto fits_on = [&](std::int64_t gpus) {
        frugal.world_size = gpus;
        return cost::memory_plan(config, layout, frugal, optimizer).total_bytes() <= capacity_bytes;
    };
    frugal.attention_backend = most_frugal_backend(config, frugal);
    frugal.parallelism = Parallelism::fsdp;
    frugal.recompute = Recompute::block;
    frugal.micro_batch_size = 1;
    std::int64_t high = std::max<std::int64_t>(frugal.world_size, 1);
    std::int64_t low = high;
    while (!fits_on(high)) {
        if (high >= kMostGpus) return std::nullopt;
        low = high;
        high *= 2;
    }
    while (high - low > 1) {
        const std::int64_t middle = low + (high - low) / 2;
        (fits_on(middle) ? high : low) = middle;
    }
    return high;
}

}  // namespace

double recompute_slowdown(Recompute recompute) {
    switch (recompute) {
        case Recompute::none: return 0;
        case Recompute::attention: return kRecomputeAttention;
        case Recompute::block: return kRecomputeBlock;
    }
    return 0;
}

std::optional<FittingChange> fitting_change(const RunPlan& run, std::uint64_t capacity_bytes,
                                            KeysOf keys) {
    const model::ModelConfig& config = run.config.model;
    const Execution& execution = run.config.execution;
    for (FittingChange& candidate : candidates(config, execution, keys)) {
        candidate.total_bytes =
            cost::memory_plan(config, run.layout, candidate.execution, *run.config.optimizer)
                .total_bytes();
        if (candidate.total_bytes > capacity_bytes) continue;
        candidate.description = describe(run.config, candidate.execution, keys);
        return std::move(candidate);
    }
    return std::nullopt;
}

Execution frugal_execution(const model::ModelConfig& config, const Execution& given) {
    Execution frugal = given;
    if (given.attention_backend == AttentionBackend::manual)
        frugal.attention_backend = most_frugal_backend(config, given);
    if (given.world_size > 1) frugal.parallelism = Parallelism::fsdp;
    frugal.recompute = Recompute::block;
    frugal.micro_batch_size = 1;
    frugal.grad_accum_steps = given.grad_accum_steps * given.micro_batch_size;
    return frugal;
}

MemoryFit memory_fit(const RunPlan& run, std::uint64_t capacity_bytes, KeysOf keys) {
    const model::ModelConfig& config = run.config.model;
    const Execution& execution = run.config.execution;
    MemoryFit fit{.planned_bytes = run.memory.total_bytes(), .capacity_bytes = capacity_bytes};
    if (fit.fits()) return fit;
    fit.change = fitting_change(run, capacity_bytes, keys);
    if (fit.change) return fit;
    if (execution.device == cost::DeviceKind::cpu) return fit;  // ranks share its memory
    fit.gpus_needed =
        fewest_gpus(config, run.layout, execution, *run.config.optimizer, capacity_bytes);
    fit.gpus_needed_backend = most_frugal_backend(config, execution);
    return fit;
}

namespace {

std::string readable(std::uint64_t bytes) {
    return human_bytes(static_cast<double>(bytes));
}

std::string margin(const MemoryFit& fit) {
    const auto headroom = static_cast<double>(fit.headroom_bytes());
    return fit.fits() ? human_bytes(headroom) + " to spare" : human_bytes(-headroom) + " too much";
}

std::string most_frugal_keys(const MemoryFit& fit) {
    return fmt::format("{}, fsdp, recompute=block, batch_size=1",
                       to_string(fit.gpus_needed_backend));
}

std::string cost_of(const FittingChange& change) {
    return fmt::format("needs {}, about {:.0f} % slower", readable(change.total_bytes),
                       change.slowdown * 100);
}

constexpr std::string_view kNothingFits =
    "No batch, recomputation or data parallel setting makes it fit: the model is too large, or "
    "needs tensor or pipeline parallelism.";

}  // namespace

std::string advice(const MemoryFit& fit) {
    if (fit.fits()) return {};
    if (fit.change) return fmt::format("{} {}", fit.change->description, cost_of(*fit.change));
    if (fit.gpus_needed) {
        return fmt::format("it fits from {} GPUs with {}", with_separators(*fit.gpus_needed),
                           most_frugal_keys(fit));
    }
    return "no change of batch, recomputation or sharding makes it fit: the model is too large";
}

std::string fit_sentence(const MemoryFit& fit, std::string_view device) {
    std::string text = fmt::format("needs {} of the {} of {}: {}, {}", readable(fit.planned_bytes),
                                   readable(fit.capacity_bytes), device,
                                   fit.fits() ? "fits" : "does not fit", margin(fit));
    if (!fit.fits()) text += "; " + advice(fit);
    return text;
}

void fit_rows(text::TextReport& report, const MemoryFit& fit, std::string_view capacity_label) {
    report.row(capacity_label, readable(fit.capacity_bytes));
    report.row("fits", fit.fits() ? "yes" : "no", margin(fit));
    if (fit.change) {
        report.row("Cheapest change", fit.change->description);
        report.row("", "", cost_of(*fit.change));
    } else if (!fit.fits() && fit.gpus_needed) {
        report.row("Fits from", with_separators(*fit.gpus_needed) + " GPUs",
                   "with " + most_frugal_keys(fit));
    } else if (!fit.fits()) {
        report.line(kNothingFits);
    }
}

nlohmann::ordered_json fit_json(const MemoryFit& fit) {
    nlohmann::ordered_json json{{"capacity_bytes", fit.capacity_bytes},
                                {"headroom_bytes", fit.headroom_bytes()},
                                {"fits", fit.fits()},
                                {"change", nullptr},
                                {"gpus_needed", nullptr}};
    if (fit.change) {
        json["change"] = {{"description", fit.change->description},
                          {"total_bytes", fit.change->total_bytes},
                          {"slowdown_estimate", fit.change->slowdown}};
    }
    if (fit.gpus_needed) json["gpus_needed"] = *fit.gpus_needed;
    return json;
}

}  // namespace isoflop::recipe
