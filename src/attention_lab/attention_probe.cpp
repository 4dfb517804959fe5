#include "isoflop/attention_lab/attention_probe.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "isoflop/attention_lab/attention_trial.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/version.hpp"
#include "isoflop/config/json.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/text/message.hpp"

namespace isoflop::attention_lab {
namespace {

using nlohmann::ordered_json;

/// Largest factor of one head over this; beyond it the table decides.
constexpr double kTolerated = 4;
constexpr double kProbeSeconds = 0.5;  ///< of timings; as much is for warming up
constexpr std::uint64_t kLargestCache = 1ULL << 20U;

std::string program() {
    return fmt::format("{} {}", version(), commit());
}

void warn(const std::string& message) {
    std::cerr << text::message_for(STDERR_FILENO, "warning: " + printable_lines(message)) << '\n';
}

ordered_json read_cache(const std::filesystem::path& file) {
    if (!std::filesystem::exists(file)) return ordered_json::object();
    try {
        ordered_json json = config::read_json_file(file, kLargestCache);
        if (json.at("program").get<std::string>() != program()) return ordered_json::object();
        if (!json.at("milliseconds").is_object()) throw IoError("milliseconds is no object");
        return json;
    } catch (const std::exception& error) {
        warn(fmt::format("{} is damaged and ignored: {}", file.string(), error.what()));
        return ordered_json::object();
    }
}

}  // namespace

std::optional<attention::Shape> probe_shape(attention::Shape shape,
                                            const device::Context& context) {
    const device::TrialSize size = context.device.trial_size(context.pool);
    const auto too_much = [&](double factor) {
        return attention_forward_flops(shape) + attention_backward_flops(shape) >
               factor * size.flops;
    };
    // Threads and multiprocessors share the work by sequences and heads: each must get some.
    const std::int64_t fewest_heads = size.tasks.value_or(shape.kv_heads);
    const std::int64_t group = shape.heads / shape.kv_heads;
    while (too_much(1) && shape.batch > 1) shape.batch = (shape.batch + 1) / 2;
    while (too_much(1) && shape.kv_heads > 1 && shape.heads / 2 >= fewest_heads) {
        shape.kv_heads = (shape.kv_heads + 1) / 2;
        shape.heads = shape.kv_heads * group;
    }
    if (too_much(kTolerated)) return std::nullopt;
    return shape;
}

ProbeTimes probe_attention(device::Context& context, const attention::Shape& shape, DType dtype,
                           bool deterministic, std::span<const cost::AttentionBackend> backends) {
    const TrialOptions options{
        .dtype = dtype,
        .deterministic = deterministic,
        .repeats = 20,
        .seconds =
            kProbeSeconds / (2 * static_cast<double>(std::max<std::size_t>(backends.size(), 1))),
        .reference_products = 0};
    ProbeTimes times;
    for (const AttentionTrial& trial : try_attention(context, shape, backends, options).backends) {
        if (trial.ran) times.emplace_back(trial.backend, 1e3 * trial.seconds());
    }
    return times;
}

std::optional<ProbeTimes> ProbeCache::find(const std::string& key) const {
    const ordered_json json = read_cache(file_);
    if (!json.contains("milliseconds")) return std::nullopt;
    const auto entry = json.at("milliseconds").find(key);
    if (entry == json.at("milliseconds").end() || !entry->is_object()) return std::nullopt;
    ProbeTimes times;
    for (const auto& [name, milliseconds] : entry->items()) {
        const auto backend = from_string<cost::AttentionBackend>(name);
        if (backend && milliseconds.is_number() && milliseconds.get<double>() > 0)
            times.emplace_back(*backend, milliseconds.get<double>());
    }
    return times;
}

void ProbeCache::store(const std::string& key, const ProbeTimes& times) const {
    ordered_json json = read_cache(file_);
    json["program"] = program();
    ordered_json entry = ordered_json::object();
    for (const auto& [backend, milliseconds] : times)
        entry[std::string(to_string(backend))] = milliseconds;
    json["milliseconds"][key] = entry;
    try {
        make_directories(file_.parent_path());
        write_text_file(file_,
                        json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + "\n");
    } catch (const IoError& error) {
        warn(fmt::format("attention timings are not kept: {}", error.what()));
    }
}

std::string describe_device(const device::Context& context) {
    return context.device.description(context.pool);
}

}  // namespace isoflop::attention_lab
