#include "isoflop/planner/sweep.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "isoflop/base/error.hpp"
#include "isoflop/config/jsonc.hpp"
#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/recipe/architecture_value.hpp"

namespace isoflop::planner {
namespace {

/// The values of a list: commas within brackets, braces and quotes belong to a value.
std::vector<std::string> split_values(std::string_view text, std::string_view whole) {
    std::vector<std::string> values;
    std::vector<char> closing;  // of open brackets, innermost last
    bool quoted = false;
    std::size_t start = 0;
    for (std::size_t i = 0; i < text.size(); ++i) {
        const char c = text[i];
        if (quoted) {
            if (c == '\\') ++i;
            if (c == '"') quoted = false;
        } else if (c == '"') {
            quoted = true;
        } else if (c == '[' || c == '{') {
            closing.push_back(c == '[' ? ']' : '}');
        } else if (c == ']' || c == '}') {
            if (closing.empty() || closing.back() != c)
                throw ConfigError(fmt::format("{}: '{}' closes nothing", whole, c));
            closing.pop_back();
        } else if (c == ',' && closing.empty()) {
            values.emplace_back(text.substr(start, i - start));
            start = i + 1;
        }
    }
    if (quoted) throw ConfigError(fmt::format("{}: a quote is not closed", whole));
    if (!closing.empty())
        throw ConfigError(fmt::format("{}: '{}' is missing", whole, closing.back()));
    values.emplace_back(text.substr(start));
    return values;
}

/// A JSON string stands for its text, so that a text may have commas.
std::string without_quotes(const std::string& value, std::string_view whole) {
    if (!value.starts_with('"')) return value;
    const config::Document document = config::parse_jsonc(value, std::string(whole));
    return document.root.as_string();
}

bool is_range(std::string_view value, std::string_view path) {
    constexpr std::string_view kBrackets = "[{\"";
    return path != recipe::kArchitecture && value.find("..") != std::string_view::npos &&
           kBrackets.find(value.front()) == std::string_view::npos;
}

std::string unit_of(std::string_view path) {
    const std::size_t dot = path.find('.');
    if (dot == std::string_view::npos) return {};
    for (const config::Section& section : recipe::plan_schema().sections()) {
        if (section.name != path.substr(0, dot)) continue;
        const config::Field* field = section.find(path.substr(dot + 1));
        if (field != nullptr) return std::string(field->info.unit);
    }
    return {};
}

double to_number(std::string_view text, std::string_view whole) {
    double value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || !std::isfinite(value)) {
        throw ConfigError(fmt::format("{}: '{}' is not a number", whole, text));
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
            fmt::format("{}: a range is FIRST..LAST or FIRST..LAST:STEP, ascending", whole));
    }
    const double count = std::floor((last - first) / step * (1 + 1e-12)) + 1;
    if (count > static_cast<double>(kMaxSweepPoints)) {
        throw ConfigError(fmt::format("{}: over {} points", whole, kMaxSweepPoints));
    }
    std::vector<std::string> values;
    values.reserve(static_cast<std::size_t>(count));
    for (double i = 0; i < count; i += 1) values.push_back(fmt::format("{}", first + i * step));
    return values;
}

SweepRow summarize(const BackwardPlan& plan, const std::vector<std::uint32_t>& indices,
                   Detail detail) {
    SweepRow row;
    row.value_indices = indices;
    row.n_params = static_cast<double>(plan.run.parameters.total);
    row.n_tokens = plan.tokens.n_tokens;
    row.compute_flops = plan.budget.compute_flops;
    row.predicted_loss = plan.loss_with_repetition.total;
    row.training_flops_per_token = plan.run.exact_flops_per_token;
    row.epochs = plan.tokens.epochs;
    if (detail == Detail::row || !plan.optimum.memory_binds) {
        row.optimal_n_params = plan.optimum.best.n_params;
        row.optimal_loss = plan.optimum.best.loss.total;
    }
    row.data_bind = plan.optimum.data_bind;
    row.memory_binds = plan.optimum.memory_binds;
    row.num_gpus = plan.budget.num_gpus;
    row.hours = plan.budget.hours;
    row.memory_bytes = plan.run.memory.total_bytes();
    row.fits = plan.memory.fits();
    row.constrained = plan.tokens.constrained;
    row.board_power_watts = plan.cost.board_power_watts;
    row.power_share = plan.cost.power_share;
    row.pue = plan.cost.pue;
    row.energy_kwh = plan.cost.energy_kwh;
    row.cost = plan.cost.total_cost();
    row.currency = plan.cost.currency;
    return row;
}

SweepRow refused_row(const std::vector<std::uint32_t>& indices, std::string reason) {
    SweepRow row;
    row.value_indices = indices;
    row.refusal = std::move(reason);
    return row;
}

SweepRow row_at(const recipe::PlanKeys& config, const hardware::GpuTable& gpus,
                const std::vector<std::uint32_t>& indices, Detail detail) {
    try {
        return summarize(backward_plan(config, gpus, detail), indices, detail);
    } catch (const ConfigError& error) {
        return refused_row(indices, error.what());
    }
}

void refuse_repeated_keys(std::span<const SweptKey> keys) {
    for (std::size_t i = 0; i < keys.size(); ++i) {
        for (std::size_t j = 0; j < i; ++j) {
            if (keys[i].key->path == keys[j].key->path)
                throw ConfigError(
                    fmt::format("--over {0}: two axes have this key; give all its values to one",
                                keys[i].key->path));
        }
    }
}

/// One value of a swept key, checked and ready to be set.
using Setting = std::function<void(recipe::PlanKeys&)>;

/// Why a value cannot be set; empty where it can. Keys that there are not are no value's fault.
std::string refusal_of(const std::string& path, const std::string& value) {
    const bool is_file = path == recipe::kArchitecture;
    if (!is_file && !recipe::plan_schema().resolve_path(path)) return {};
    try {
        if (is_file) {
            (void)recipe::architecture_keys(value);
        } else {
            (void)recipe::plan_schema().parse_assignment(path, value);
        }
    } catch (const Error& error) {
        return error.what();
    }
    return {};
}

/// The reasons of all values of a key; when there is none to plan with, the first is an error.
std::vector<std::string> refusals_of(const SweepAxis& key) {
    std::vector<std::string> refusals;
    for (const std::string& value : key.values) refusals.push_back(refusal_of(key.path, value));
    const bool any = std::any_of(refusals.begin(), refusals.end(),
                                 [](const std::string& reason) { return reason.empty(); });
    if (!any && !refusals.empty()) throw ConfigError(refusals.front());
    return refusals;
}

/// What the command line sets of every model; a swept key has a value of its own at each point.
std::vector<std::string> model_overrides(const recipe::PlanKeys& base,
                                         std::span<const SweptKey> keys) {
    std::vector<std::string> overrides;
    if (base.source == nullptr) return overrides;
    for (const std::string& assignment : base.source->model_overrides) {
        const std::string path =
            fmt::format("{}.{}", recipe::kArchitecture, config::split_assignment(assignment).first);
        const bool swept = std::any_of(
            keys.begin(), keys.end(), [&](const SweptKey& each) { return each.key->path == path; });
        if (!swept) overrides.push_back(assignment);
    }
    return overrides;
}

Setting setting(const std::string& path, const std::string& value,
                std::span<const std::string> overrides) {
    if (path == recipe::kArchitecture) {
        return [keys = recipe::architecture_keys(value, overrides)](recipe::PlanKeys& config) {
            config.architecture = keys;
        };
    }
    return [assignment = recipe::plan_schema().parse_assignment(path, value)](
               recipe::PlanKeys& config) { recipe::plan_schema().set(config, assignment); };
}

/// The plan at any point of the grid.
class Grid {
public:
    Grid(const recipe::PlanKeys& base, std::span<const SweepAxis> axes)
        : config_(base), indices_(axes.size(), 0), keys_(swept_keys(axes)) {
        refuse_repeated_keys(keys_);
        const std::vector<std::string> overrides = model_overrides(base, keys_);
        for (const SweptKey& swept : keys_) {
            std::vector<Setting>& settings = settings_.emplace_back();
            const std::vector<std::string>& reasons =
                refusals_.emplace_back(refusals_of(*swept.key));
            for (std::size_t i = 0; i < reasons.size(); ++i) {
                settings.push_back(reasons[i].empty()
                                       ? setting(swept.key->path, swept.key->values[i], overrides)
                                       : [](recipe::PlanKeys&) {});
            }
            whole_ = whole_ || swept.key->path == recipe::kArchitecture;
        }
        // Keys of a model are set on top of its file.
        for (const bool of_file : {true, false}) {
            for (std::size_t i = 0; i < keys_.size(); ++i) {
                if ((keys_[i].key->path == recipe::kArchitecture) == of_file) order_.push_back(i);
            }
        }
        for (std::size_t axis = 0; axis < axes.size(); ++axis) apply(axis);
    }
    [[nodiscard]] const recipe::PlanKeys& config() const { return config_; }
    [[nodiscard]] const std::vector<std::uint32_t>& indices() const { return indices_; }
    /// Why the values of this point cannot be set; empty where they can.
    [[nodiscard]] std::string refusal() const {
        for (std::size_t i = 0; i < keys_.size(); ++i) {
            const std::string& reason = refusals_[i][indices_[keys_[i].axis]];
            if (!reason.empty()) return reason;
        }
        return {};
    }
    void move(std::size_t axis, std::uint32_t index) {
        indices_[axis] = index;
        apply(axis);
    }

private:
    void apply(std::size_t axis) {
        for (const std::size_t i : order_) {
            if (whole_ || keys_[i].axis == axis) settings_[i][indices_[keys_[i].axis]](config_);
        }
    }

    recipe::PlanKeys config_;
    std::vector<std::uint32_t> indices_;
    std::vector<SweptKey> keys_;
    std::vector<std::vector<Setting>> settings_ = {};      ///< of each key
    std::vector<std::vector<std::string>> refusals_ = {};  ///< of each key, why a value is wrong
    std::vector<std::size_t> order_ = {};                  ///< of keys, when several are set
    bool whole_ = false;  ///< a model file sets every key of the model
};

}  // namespace

SweepAxis parse_axis(std::string_view text, std::string_view option) {
    const auto [key, values] = config::split_assignment(text);
    const std::string whole = fmt::format("{} {}", option, text);
    const std::optional<std::string> path = recipe::plan_schema().resolve_path(key);
    SweepAxis axis;
    axis.path =
        path.value_or(key);  // an unknown key is reported by the first point, with suggestions
    axis.unit = unit_of(axis.path);
    for (const std::string& value : split_values(values, whole)) {
        if (is_range(value, axis.path)) {
            for (std::string& expanded : expand_range(value, whole))
                axis.values.push_back(std::move(expanded));
        } else {
            axis.values.push_back(without_quotes(value, whole));
        }
    }
    if (axis.values.size() == 1 && axis.values.front().empty())
        throw ConfigError(fmt::format("{}: no values given", whole));
    return axis;
}

SolvedColumns solved_columns(const recipe::PlanKeys& base, std::span<const SweepAxis> axes) {
    const auto some_point_solves = [&](Quantity quantity, bool given_first) {
        if (!given_first) return true;
        for (const SweptKey& swept : swept_keys(axes)) {
            if (swept.key->path != path_of(quantity)) continue;
            for (const std::string& text : swept.key->values) {
                if (!refusal_of(swept.key->path, text).empty()) continue;
                const auto value =
                    recipe::plan_schema().parse_assignment(swept.key->path, text).value;
                if (std::holds_alternative<std::string>(value) ||
                    std::holds_alternative<std::monostate>(value)) {
                    return true;
                }
            }
        }
        return false;
    };
    const recipe::TrainingGear& gear = base.training_gear;
    return {.num_gpus = some_point_solves(Quantity::num_gpus, gear.num_gpus.is_given()),
            .available_hours =
                some_point_solves(Quantity::available_hours, gear.available_hours.is_given())};
}

void parse_with(std::vector<SweepAxis>& axes, std::string_view text) {
    if (axes.empty())
        throw ConfigError(fmt::format("--with {}: it moves with the --over before it", text));
    SweepAxis key = parse_axis(text, "--with");
    SweepAxis& axis = axes.back();
    if (key.values.size() != axis.values.size()) {
        throw ConfigError(
            fmt::format("--with {}: {} values for the {} of --over {}; each value goes with one",
                        text, key.values.size(), axis.values.size(), axis.path));
    }
    axis.with.push_back(std::move(key));
}

std::vector<SweptKey> swept_keys(std::span<const SweepAxis> axes) {
    std::vector<SweptKey> keys;
    for (std::size_t axis = 0; axis < axes.size(); ++axis) {
        keys.push_back({&axes[axis], axis});
        for (const SweepAxis& with : axes[axis].with) keys.push_back({&with, axis});
    }
    return keys;
}

std::string first_value(const SweepAxis& key) {
    for (const std::string& value : key.values) {
        if (refusal_of(key.path, value).empty()) return value;
    }
    return key.values.front();
}

void sweep(const recipe::PlanKeys& base, std::span<const SweepAxis> axes,
           const hardware::GpuTable& gpus, const std::function<void(const SweepRow&)>& visit) {
    double points = 1;
    for (const SweepAxis& axis : axes) points *= static_cast<double>(axis.values.size());
    if (points > static_cast<double>(kMaxSweepPoints)) {
        throw ConfigError(fmt::format("the sweep has {:.0f} points; at most {} are allowed", points,
                                      kMaxSweepPoints));
    }
    const Detail detail =
        points > static_cast<double>(kMaxSearchedPoints) ? Detail::fast_row : Detail::row;
    Grid grid(base, axes);
    while (true) {
        const std::string refusal = grid.refusal();
        visit(refusal.empty() ? row_at(grid.config(), gpus, grid.indices(), detail)
                              : refused_row(grid.indices(), refusal));
        std::size_t axis = axes.size();
        while (axis > 0) {
            --axis;
            const std::uint32_t next = grid.indices()[axis] + 1;
            if (next < axes[axis].values.size()) {
                grid.move(axis, next);
                break;
            }
            grid.move(axis, 0);
            if (axis == 0) return;
        }
        if (axes.empty()) return;
    }
}

}  // namespace isoflop::planner
