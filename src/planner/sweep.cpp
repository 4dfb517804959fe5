#include "isoflop/planner/sweep.hpp"

#include <fmt/format.h>

#include <charconv>
#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/planner/backward_plan.hpp"

namespace isoflop::planner {
namespace {

std::vector<std::string> split(std::string_view text, char separator) {
    std::vector<std::string> parts;
    std::size_t start = 0;
    while (true) {
        const std::size_t end = text.find(separator, start);
        parts.emplace_back(text.substr(start, end == std::string_view::npos ? end : end - start));
        if (end == std::string_view::npos) return parts;
        start = end + 1;
    }
}

double to_number(std::string_view text, std::string_view whole) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
        throw ConfigError(fmt::format("--over {}: '{}' is not a number", whole, text));
    }
    return value;
}

/// "8..64:8" -> 8, 16, ..., 64.
std::vector<std::string> expand_range(std::string_view range, std::string_view whole) {
    const std::size_t dots = range.find("..");
    const std::size_t colon = range.find(':', dots);
    const double first = to_number(range.substr(0, dots), whole);
    const std::size_t last_length = colon == std::string_view::npos ? colon : colon - dots - 2;
    const double last = to_number(range.substr(dots + 2, last_length), whole);
    const double step =
        colon == std::string_view::npos ? 1.0 : to_number(range.substr(colon + 1), whole);
    if (step <= 0 || last < first) {
        throw ConfigError(
            fmt::format("--over {}: a range is FIRST..LAST or FIRST..LAST:STEP, ascending", whole));
    }
    const double count = std::floor((last - first) / step * (1 + 1e-12)) + 1;
    if (count > static_cast<double>(kMaxSweepPoints)) {
        throw ConfigError(fmt::format("--over {}: over {} points", whole, kMaxSweepPoints));
    }
    std::vector<std::string> values;
    values.reserve(static_cast<std::size_t>(count));
    for (double i = 0; i < count; i += 1) values.push_back(fmt::format("{}", first + i * step));
    return values;
}

SweepRow summarize(const BackwardPlan& plan, const std::vector<std::uint32_t>& indices) {
    SweepRow row;
    row.value_indices = indices;
    row.n_params = static_cast<double>(plan.run.parameters.total);
    row.n_tokens = plan.tokens.n_tokens;
    row.compute_flops = plan.budget.compute_flops;
    row.predicted_loss = plan.loss.total;
    row.training_flops_per_token = plan.run.exact_flops_per_token;
    row.optimal_n_params = plan.optimum.six_nd.n_params;
    row.optimal_loss = plan.optimum.six_nd.loss.total;
    row.memory_bytes = plan.run.memory.total_bytes();
    row.fits = plan.memory.fits();
    row.constrained = plan.tokens.constrained;
    return row;
}

SweepRow row_at(const recipe::PlanKeys& config, const hardware::GpuTable& gpus,
                const std::vector<std::uint32_t>& indices) {
    try {
        return summarize(backward_plan(config, gpus, Detail::summary), indices);
    } catch (const ConfigError& error) {
        SweepRow row;
        row.value_indices = indices;
        row.refusal = error.what();
        return row;
    }
}

void refuse_repeated_axes(std::span<const SweepAxis> axes) {
    for (std::size_t i = 0; i < axes.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (axes[i].path == axes[j].path)
                throw ConfigError(
                    fmt::format("--over {0}: two axes have this key; give all its values to one",
                                axes[i].path));
        }
    }
}

}  // namespace

SweepAxis parse_axis(std::string_view text) {
    const auto [key, values] = config::split_assignment(text);
    const std::optional<std::string> path = recipe::plan_schema().resolve_path(key);
    SweepAxis axis;
    axis.path =
        path.value_or(key);  // an unknown key is reported by the first point, with suggestions
    for (const std::string& value : split(values, ',')) {
        if (value.find("..") != std::string::npos) {
            for (std::string& expanded : expand_range(value, text))
                axis.values.push_back(std::move(expanded));
        } else {
            axis.values.push_back(value);
        }
    }
    if (axis.values.size() == 1 && axis.values.front().empty()) {
        throw ConfigError(fmt::format("--over {}: no values given", text));
    }
    return axis;
}

void sweep(const recipe::PlanKeys& base, std::span<const SweepAxis> axes,
           const hardware::GpuTable& gpus, const std::function<void(const SweepRow&)>& visit) {
    refuse_repeated_axes(axes);
    double points = 1;
    for (const SweepAxis& axis : axes) points *= static_cast<double>(axis.values.size());
    if (points > static_cast<double>(kMaxSweepPoints)) {
        throw ConfigError(fmt::format("the sweep has {:.0f} points; at most {} are allowed", points,
                                      kMaxSweepPoints));
    }
    recipe::PlanKeys config = base;
    std::vector<std::uint32_t> indices(axes.size(), 0);
    std::vector<std::vector<config::Assignment>> assignments(axes.size());
    for (std::size_t axis = 0; axis < axes.size(); ++axis) {
        for (const std::string& value : axes[axis].values) {
            assignments[axis].push_back(
                recipe::plan_schema().parse_assignment(axes[axis].path, value));
        }
    }
    const auto apply = [&](std::size_t axis) {
        recipe::plan_schema().set(config, assignments[axis][indices[axis]]);
    };
    for (std::size_t axis = 0; axis < axes.size(); ++axis) apply(axis);
    while (true) {
        visit(row_at(config, gpus, indices));
        std::size_t axis = axes.size();
        while (axis > 0) {
            --axis;
            if (++indices[axis] < axes[axis].values.size()) break;
            indices[axis] = 0;
            apply(axis);
            if (axis == 0) return;
        }
        if (axes.empty()) return;
        apply(axis);
    }
}

}  // namespace isoflop::planner
