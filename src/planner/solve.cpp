// Which keys are given, the tokens they mean, and from these the GPUs or the hours. Each refusal
// names the figure that would have worked, rounded to the side on which it works.
#include "isoflop/planner/solve.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <initializer_list>
#include <limits>
#include <string>

#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/cost/flop_count.hpp"
#include "isoflop/model/parameter_layout.hpp"
#include "isoflop/planner/shape_family.hpp"
#include "isoflop/scaling_law/inverse.hpp"
#include "isoflop/scaling_law/repeated_data.hpp"

namespace isoflop::planner {
namespace {

using recipe::PlanKeys;

constexpr double kSecondsPerHour = 3600.0;
/// Relative rounding of a handful of products and quotients, with room: a count of GPUs within it
/// of a whole number is that number.
constexpr double kRounding = 1e-12;

/// The plan as numbers.
struct Problem {
    const PlanKeys& keys;
    const scaling_law::Law& law;
    double n_params = 0;         ///< as the law counts them
    double hours_per_token = 0;  ///< GPU hours

    double unique_tokens = std::numeric_limits<double>::infinity();

    [[nodiscard]] double gpu_hours(double tokens) const { return tokens * hours_per_token; }
    /// Repeated tokens at the value that they have.
    [[nodiscard]] double loss_after(double tokens) const {
        return scaling_law::loss_with_repetition(law, n_params, tokens, unique_tokens).total;
    }
    [[nodiscard]] std::optional<double> tokens_for(double loss) const {
        return scaling_law::tokens_for_loss_with_repetition(law, n_params, loss, unique_tokens);
    }
};

std::array<bool, kQuantityCount> given_keys(const PlanKeys& keys) {
    return {keys.training_gear.num_gpus.is_given(), keys.training_gear.available_hours.is_given(),
            keys.dataset_constraints.training_tokens.is_given(),
            keys.scaling_law.target_loss.is_given()};
}

/// Points at the first of the places that the file has.
[[noreturn]] void refuse(const PlanKeys& keys, std::initializer_list<std::string_view> places,
                         const std::string& message) {
    for (const std::string_view place : places) {
        std::string text = recipe::located(keys, place, message);
        if (text != message) throw ConfigError(text);
    }
    throw ConfigError(message);
}

[[noreturn]] void refuse(const PlanKeys& keys, Quantity place, const std::string& message) {
    refuse(keys, {path_of(place)}, message);
}

/// A figure with four digits that is not below (up) or above (down) the value.
std::string at_least(double value) {
    const double step = std::pow(10.0, std::floor(std::log10(value)) - 3);
    return fmt::format("{:.4g}", std::ceil(value / step) * step);
}
std::string at_most(double value) {
    const double step = std::pow(10.0, std::floor(std::log10(value)) - 3);
    return fmt::format("{:.4g}", std::floor(value / step) * step);
}

/// Of a loss, to a ten-thousandth.
std::string loss_at_least(double loss) {
    return fmt::format("{:.4f}", std::ceil(loss * 1e4) / 1e4);
}
std::string loss_at_most(double loss) {
    return fmt::format("{:.4f}", std::floor(loss * 1e4) / 1e4);
}

void refuse_too_many(const PlanKeys& keys, const Solution& solution) {
    if (solution.is_given(Quantity::training_tokens) && solution.is_given(Quantity::target_loss)) {
        refuse(
            keys, {path_of(Quantity::target_loss), path_of(Quantity::training_tokens)},
            "dataset_constraints.training_tokens and scaling_law.target_loss are both given, but "
            "for one architecture each of them determines the other; leave one of them out, or "
            "write \"solve\" for it");
    }
    const bool has_tokens =
        solution.is_given(Quantity::training_tokens) || solution.is_given(Quantity::target_loss);
    const bool has_budget =
        solution.is_given(Quantity::num_gpus) && solution.is_given(Quantity::available_hours);
    if (!has_tokens || !has_budget) return;
    const Quantity wanted = solution.is_given(Quantity::training_tokens) ? Quantity::training_tokens
                                                                         : Quantity::target_loss;
    refuse(
        keys, {path_of(Quantity::available_hours), path_of(Quantity::num_gpus), path_of(wanted)},
        fmt::format("training_gear.num_gpus, training_gear.available_hours and {} are given, but "
                    "any two of them determine the third; leave out, or write \"solve\" for, the "
                    "one that is asked for: available_hours (how long does it take), num_gpus "
                    "(how many GPUs does it need) or {} (what do GPUs and hours pay for)",
                    path_of(wanted), to_string(wanted)));
}

/// One of GPUs and hours, or none, without tokens.
[[noreturn]] void refuse_too_few(const PlanKeys& keys, const Solution& solution) {
    constexpr std::string_view kGear = "training_gear";
    if (solution.is_given(Quantity::num_gpus)) {
        refuse(keys, {path_of(Quantity::num_gpus), kGear},
               "training_gear.num_gpus alone determines no plan; add training_gear.available_hours "
               "(what do they pay for), or dataset_constraints.training_tokens or "
               "scaling_law.target_loss (how long does it take)");
    }
    if (solution.is_given(Quantity::available_hours)) {
        refuse(keys, {path_of(Quantity::available_hours), kGear},
               "training_gear.available_hours alone determine no plan; add training_gear.num_gpus "
               "(what do they pay for), or dataset_constraints.training_tokens or "
               "scaling_law.target_loss (how many GPUs does it need)");
    }
    refuse(keys, {kGear},
           "a plan needs two of training_gear.num_gpus, training_gear.available_hours and one of "
           "dataset_constraints.training_tokens and scaling_law.target_loss; none is given");
}

/// Tokens that the data allow; nullopt without a limit.
std::optional<double> data_limit(const PlanKeys& keys) {
    const recipe::DatasetConstraints& data = keys.dataset_constraints;
    if (!data.dataset_size) return std::nullopt;
    return static_cast<double>(*data.dataset_size) * data.max_epochs;
}

std::string data_words(const PlanKeys& keys) {
    const recipe::DatasetConstraints& data = keys.dataset_constraints;
    return fmt::format("dataset_size {} x max_epochs {:g} = {} tokens", *data.dataset_size,
                       data.max_epochs, *data_limit(keys));
}

double given_tokens(const PlanKeys& keys) {
    const double tokens = keys.dataset_constraints.training_tokens.value();
    const std::optional<double> limit = data_limit(keys);
    if (limit && tokens > *limit * (1 + kRounding)) {
        const double epochs = tokens / static_cast<double>(*keys.dataset_constraints.dataset_size);
        refuse(
            keys, Quantity::training_tokens,
            fmt::format("dataset_constraints.training_tokens {} are more than the data give: {}; "
                        "use at most that many, or allow max_epochs {}",
                        tokens, data_words(keys), at_least(epochs)));
    }
    return tokens;
}

/// Why the data do not reach a loss that the architecture can reach.
std::string reached_after(const Problem& problem, double target) {
    if (const auto tokens = problem.tokens_for(target))
        return fmt::format("reached after {} tokens", at_least(*tokens));
    const auto unique = scaling_law::tokens_for_loss(problem.law, problem.n_params, target);
    if (!unique) return "reached after uncountably many tokens";
    return fmt::format("reached after {} unique tokens, which no repetition of the data is worth",
                       at_least(*unique));
}

[[noreturn]] void refuse_low_loss(const Problem& problem, double target, double most_tokens) {
    const double limit = scaling_law::loss_limit(problem.law, problem.n_params);
    const double reached = problem.loss_after(most_tokens);
    const bool of_chinchilla = problem.law.form == scaling_law::Form::chinchilla;
    std::string_view remedy = "give that or more, or a larger model";
    std::string reason;
    if (of_chinchilla && target <= problem.law.chinchilla.E) {
        remedy = "give that or more";
        reason = fmt::format("not above {}, the irreducible loss E of {}, which no model reaches",
                             problem.law.chinchilla.E, problem.law.id);
    } else if (target <= limit) {
        reason = fmt::format(
            "below {}, which this architecture approaches with unlimited tokens "
            "({} of {})",
            loss_at_least(limit), of_chinchilla ? "E + A / N^alpha" : "(Nc / N)^alpha_N",
            problem.law.id);
    } else {
        reason = reached_after(problem, target);
    }
    const std::string all =
        data_limit(problem.keys)
            ? fmt::format("all the data ({})", data_words(problem.keys))
            : fmt::format("{:g} tokens, the most that are counted,", most_tokens);
    refuse(problem.keys, Quantity::target_loss,
           fmt::format("scaling_law.target_loss {} is {}; with {} the loss of this architecture is "
                       "{}; {}",
                       target, reason, all, loss_at_least(reached), remedy));
}

/// Tokens with which the architecture reaches the target loss.
double tokens_of_loss(const Problem& problem) {
    const double target = problem.keys.scaling_law.target_loss.value();
    const double most_tokens =
        std::min(data_limit(problem.keys).value_or(recipe::kMaxTokens), recipe::kMaxTokens);
    const std::optional<double> tokens = problem.tokens_for(target);
    if (!tokens || *tokens > most_tokens * (1 + kRounding)) {
        // A loss beyond that of the first token has no number of tokens either.
        if (target < problem.loss_after(1)) refuse_low_loss(problem, target, most_tokens);
    }
    if (!tokens || *tokens < 1) {
        const double first = problem.loss_after(1);
        refuse(problem.keys, Quantity::target_loss,
               fmt::format("scaling_law.target_loss {} is reached before the first token, after "
                           "which the law {} gives this architecture {}; give that or less",
                           target, problem.law.id, loss_at_most(first)));
    }
    return *tokens;
}

/// "at most X training_tokens", or the loss after them where a loss is given.
std::string affordable(const Problem& problem, double gpu_hours) {
    const double tokens = gpu_hours / problem.hours_per_token;
    if (!(tokens >= 1)) return "less than one token is affordable";
    if (problem.keys.dataset_constraints.training_tokens.is_given())
        return fmt::format("at most {} training_tokens", at_most(tokens));
    return fmt::format("target_loss of at least {}", loss_at_least(problem.loss_after(tokens)));
}

/// The key that asks for the tokens, and its value.
Quantity wanted_key(const Problem& problem) {
    return problem.keys.dataset_constraints.training_tokens.is_given() ? Quantity::training_tokens
                                                                       : Quantity::target_loss;
}

std::string hours_text(double hours) {
    return hours < 1000 ? fmt::format("{:.3g}", hours) : human_count(hours);
}

std::string wanted_text(const Problem& problem, double tokens) {
    if (wanted_key(problem) == Quantity::training_tokens)
        return fmt::format("dataset_constraints.training_tokens {} take", tokens);
    return fmt::format("scaling_law.target_loss {} takes {} tokens and",
                       problem.keys.scaling_law.target_loss.value(), human_count(tokens));
}

void solve_hours(const Problem& problem, Solution& solution) {
    const auto gpus = static_cast<double>(solution.num_gpus);
    const double gpu_hours = problem.gpu_hours(*solution.n_tokens);
    solution.hours = gpu_hours / gpus;
    if (solution.hours <= recipe::kMaxHours * (1 + kRounding)) return;
    const double gpus_needed = std::ceil(gpu_hours / recipe::kMaxHours);
    const std::string more_gpus = gpus_needed <= recipe::kMaxGpus
                                      ? fmt::format("num_gpus of at least {:.0f}, or ", gpus_needed)
                                      : std::string();
    refuse(
        problem.keys, {path_of(wanted_key(problem)), path_of(Quantity::num_gpus)},
        fmt::format("training_gear.available_hours would be {:.4g} on {:.0f} GPUs, over {:g}, the "
                    "most that are counted; use {}{}",
                    solution.hours, gpus, recipe::kMaxHours, more_gpus,
                    affordable(problem, gpus * recipe::kMaxHours)));
}

void solve_gpus(const Problem& problem, Solution& solution) {
    const double limit = problem.keys.training_gear.available_hours.value();
    const double gpu_hours = problem.gpu_hours(*solution.n_tokens);
    const double exact = gpu_hours / limit;
    if (exact > recipe::kMaxGpus * (1 + kRounding)) {
        const double hours_needed = gpu_hours / recipe::kMaxGpus;
        const std::string more_hours =
            hours_needed <= recipe::kMaxHours
                ? fmt::format("available_hours of at least {}, or ", at_least(hours_needed))
                : std::string();
        refuse(problem.keys, {path_of(Quantity::available_hours), path_of(wanted_key(problem))},
               fmt::format("training_gear.num_gpus would be {:.4g} for {:g} hours, over {:g}, the "
                           "most that are counted; use {}{}",
                           exact, limit, recipe::kMaxGpus, more_hours,
                           affordable(problem, limit * recipe::kMaxGpus)));
    }
    const double nearest = std::round(exact);
    const bool is_whole = std::abs(exact - nearest) <= kRounding * exact;
    const double gpus = std::max(1.0, is_whole ? nearest : std::ceil(exact));
    solution.exact_num_gpus = exact;
    solution.hours_limit = limit;
    solution.num_gpus = static_cast<std::int64_t>(gpus);
    solution.hours = std::min(limit, gpu_hours / gpus);
}

Problem problem_of(const PlanKeys& keys, const SolveTerms& terms) {
    const model::ParameterTotals totals = model::parameter_layout(terms.model).totals();
    const double flops_per_token = cost::training_flops_per_token(
        terms.model, totals, terms.execution, keys.training_efficiency.flop_convention);
    Problem problem{
        .keys = keys,
        .law = terms.law,
        .n_params = counted(totals, terms.law.counts),
        .hours_per_token = flops_per_token / (terms.flops_per_gpu_second * kSecondsPerHour)};
    if (keys.dataset_constraints.dataset_size)
        problem.unique_tokens = static_cast<double>(*keys.dataset_constraints.dataset_size);
    return problem;
}

}  // namespace

std::string_view path_of(Quantity quantity) {
    switch (quantity) {
        case Quantity::num_gpus: return "training_gear.num_gpus";
        case Quantity::available_hours: return "training_gear.available_hours";
        case Quantity::training_tokens: return "dataset_constraints.training_tokens";
        case Quantity::target_loss: return "scaling_law.target_loss";
    }
    return {};
}

Solution solve(const PlanKeys& keys, const SolveTerms& terms) {
    Solution solution;
    solution.given = given_keys(keys);
    refuse_too_many(keys, solution);
    solution.num_gpus = keys.training_gear.num_gpus.value_or(1);
    solution.hours = keys.training_gear.available_hours.value_or(0);
    const bool has_gpus = solution.is_given(Quantity::num_gpus);
    const bool has_hours = solution.is_given(Quantity::available_hours);
    if (has_gpus && has_hours) return solution;
    const bool has_loss = solution.is_given(Quantity::target_loss);
    if (!has_loss && !solution.is_given(Quantity::training_tokens)) refuse_too_few(keys, solution);

    const Problem problem = problem_of(keys, terms);
    if (has_loss) solution.target_loss = keys.scaling_law.target_loss.value();
    solution.n_tokens = has_loss ? tokens_of_loss(problem) : given_tokens(keys);
    if (!has_gpus && !has_hours) {
        refuse(keys, {path_of(wanted_key(problem)), "training_gear"},
               fmt::format("{} {} GPU hours on {}, but neither GPUs nor hours are given; add "
                           "training_gear.num_gpus (how long does it take) or "
                           "training_gear.available_hours (how many GPUs does it need)",
                           wanted_text(problem, *solution.n_tokens),
                           hours_text(problem.gpu_hours(*solution.n_tokens)),
                           keys.training_gear.gpu_type));
    }
    if (has_gpus)
        solve_hours(problem, solution);
    else
        solve_gpus(problem, solution);
    return solution;
}

}  // namespace isoflop::planner
