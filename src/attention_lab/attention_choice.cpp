#include "isoflop/attention_lab/attention_choice.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "isoflop/attention_lab/attention_probe.hpp"

namespace isoflop::attention_lab {
namespace {

using cost::AttentionBackend;
using nlohmann::ordered_json;

recipe::ComputeCapability capability_of(const device::DeviceInfo* device) {
    if (device == nullptr) return {};
    return {device->capability_major, device->capability_minor};
}

/// Of those that `disable_backends` leaves.
std::vector<AttentionBackend> runnable_backends(const recipe::Recipe& config) {
    return cost::runnable_backends(
        config.execution.device, cost::attention_size(config.model, config.execution),
        config.execution.storage_dtype(), config.keys.execution.disable_backends);
}

bool is_in(AttentionBackend backend, const std::vector<AttentionBackend>& list) {
    return std::find(list.begin(), list.end(), backend) != list.end();
}

std::string measured_text(const ProbeTimes& times) {
    std::string text;
    for (const auto& [backend, milliseconds] : times)
        text += fmt::format("{}{:.3g} ms {}", text.empty() ? "" : ", ", milliseconds,
                            to_string(backend));
    return "measured: " + text;
}

/// Timings of exactly these backends, kept or new; empty when a probe would take too long.
ProbeTimes times_of(const std::vector<AttentionBackend>& backends, const recipe::Recipe& config,
                    device::Context& context, bool& cached) {
    const cost::Execution& execution = config.execution;
    const attention::Shape shape = attention_shape(config);
    const std::optional<attention::Shape> probed = probe_shape(shape, context);
    if (!probed) return {};
    const std::string key = fmt::format(
        "{}; batch {}, sequence {}, heads {}/{} x {}, {}{}", describe_device(context), shape.batch,
        shape.query_length, shape.heads, shape.kv_heads, shape.head_dim,
        short_name(execution.dtype), execution.deterministic ? "" : ", not deterministic");
    const ProbeCache cache(std::filesystem::path(config.keys.run.out_dir) / kProbeCacheName);
    const auto only_these = [&](ProbeTimes times) {
        std::erase_if(times, [&](const auto& each) { return !is_in(each.first, backends); });
        return times;
    };
    if (const auto kept = cache.find(key)) {
        ProbeTimes times = only_these(*kept);
        cached = times.size() == backends.size();
        if (cached) return times;
    }
    ProbeTimes times =
        probe_attention(context, *probed, execution.dtype, execution.deterministic, backends);
    if (!times.empty()) cache.store(key, times);
    return times;
}

AttentionDecision decide_by_time(const recipe::Recipe& config, device::Context& context,
                                 const std::function<bool(AttentionBackend)>& fits) {
    const device::DeviceInfo* const device = &context.device.info();
    std::vector<AttentionBackend> backends = runnable_backends(config);
    std::string left_out;
    std::erase_if(backends, [&](AttentionBackend backend) {
        if (fits(backend)) return false;
        left_out += fmt::format("; {} would not fit in memory", to_string(backend));
        return true;
    });
    if (backends.empty()) return decide_by_table(config, device);
    if (backends.size() == 1)
        return {backends.front(), "the only one that runs here" + left_out, {}};
    bool cached = false;
    const ProbeTimes times = times_of(backends, config, context, cached);
    if (times.empty()) return decide_by_table(config, device, "a probe would take too long");
    const auto fastest =
        std::min_element(times.begin(), times.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    return {fastest->first, measured_text(times) + (cached ? " (cached)" : "") + left_out, {}};
}

}  // namespace

ordered_json to_json(const AttentionDecision& decision) {
    return {{"used", to_string(decision.used)},
            {"reason", decision.reason},
            {"device", decision.device}};
}

std::optional<AttentionDecision> attention_decision_from_json(const ordered_json& json) {
    if (!json.is_object()) return std::nullopt;
    const auto text = [&](const char* key) {
        const auto entry = json.find(key);
        return entry != json.end() && entry->is_string() ? entry->get<std::string>()
                                                         : std::string();
    };
    const auto used = from_string<AttentionBackend>(text("used"));
    if (!used) return std::nullopt;
    return AttentionDecision{*used, text("reason"), text("device")};
}

attention::Shape attention_shape(const recipe::Recipe& config) {
    const cost::Execution& execution = config.execution;
    return attention::shape_of(config.model, execution.micro_batch_size, execution.sequence_length,
                               execution.sequence_length);
}

AttentionDecision decide_by_table(const recipe::Recipe& config, const device::DeviceInfo* device,
                                  const std::string& why) {
    const recipe::AttentionResolution resolution =
        recipe::attention_by_table(config, capability_of(device), why);
    return {resolution.used, resolution.reason, {}};
}

recipe::AttentionResolution resolve_attention(const recipe::Recipe& config,
                                              const std::optional<AttentionDecision>& decision) {
    const recipe::AttentionChoice choice = config.keys.execution.attention_backend;
    if (choice == recipe::AttentionChoice::automatic && decision)
        return {choice, decision->used, decision->reason};
    return recipe::resolve_attention(config);
}

recipe::RunPlan plan_with_attention(recipe::Recipe config,
                                    const std::optional<AttentionDecision>& decision) {
    recipe::AttentionResolution attention = resolve_attention(config, decision);
    return recipe::plan_run(std::move(config), std::move(attention));
}

AttentionDecision decide_attention(const recipe::Recipe& config, device::Context& context,
                                   const std::optional<AttentionDecision>& earlier,
                                   const std::function<bool(AttentionBackend)>& fits) {
    const device::DeviceInfo* const info = &context.device.info();
    const std::string device = describe_device(context);
    if (earlier && earlier->device == device) {
        if (is_in(earlier->used, runnable_backends(config))) return *earlier;
    }
    AttentionDecision decision =
        config.execution.reproducible       ? decide_by_table(config, info, "reproducible")
        : !config.keys.execution.auto_probe ? decide_by_table(config, info, "auto_probe=false")
                                            : decide_by_time(config, context, fits);
    decision.device = device;
    return decision;
}

}  // namespace isoflop::attention_lab
