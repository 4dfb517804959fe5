#include "isoflop/report/plan_plot.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "isoflop/base/text.hpp"
#include "isoflop/text/svg.hpp"

namespace isoflop::report {
namespace {

using planner::BackwardPlan;
using text::svg::Axis;
using text::svg::escaped;

constexpr double kWidth = 800, kHeight = 500;
constexpr double kLeft = 84, kRight = kWidth - 32, kTop = 126, kBottom = kHeight - 94;
constexpr int kSamples = 96;
constexpr double kWidthFactor = 10;    ///< the curve reaches this far beyond plan and optimum
constexpr double kNearOptimum = 0.01;  ///< nats; the shaded models are this close to the optimum

/// One model of the family, trained with the compute of the plan; repeated tokens have the value
/// that they have.
struct Sample {
    double n_params = 0, n_tokens = 0, loss = 0;
};

/// The curve from few to many parameters, and the two points on it that are marked.
struct Curve {
    std::vector<Sample> samples;
    Sample plan, optimum;
    double allowed_tokens = 0;
};

/// The scale at which `value(scale)`, which grows with the scale, reaches `target`.
template <class Function>
double scale_where(const Function& value, double target) {
    double low = std::log(1e-6), high = std::log(1e6);
    for (int i = 0; i < 60; ++i) {
        const double middle = (low + high) / 2;
        (value(std::exp(middle)) < target ? low : high) = middle;
    }
    return std::exp((low + high) / 2);
}

Curve curve_of(const BackwardPlan& plan) {
    const planner::ShapeFamily family = planner::shape_family(
        plan.run.config.model, plan.run.config.execution.sequence_length, plan.law.counts);
    const double compute = plan.budget.compute_flops;
    const scaling_law::DataSupply& data = plan.tokens.data;
    const auto sample = [&](double scale) {
        const double n_params = family.n_params(scale);
        const double n_tokens = compute / family.training_flops_per_token(scale);
        return Sample{
            n_params, n_tokens,
            scaling_law::loss_with_repetition(plan.law, n_params, n_tokens, data.unique_tokens)
                .total};
    };
    const scaling_law::Optimum best =
        planner::family_optimum(plan.run.config.model, plan.run.config.execution.sequence_length,
                                plan.law, compute, data)
            .continuous;
    Curve curve;
    curve.plan = {plan.tokens.n_tokens / plan.optimum.tokens_per_parameter, plan.tokens.n_tokens,
                  plan.loss_with_repetition.total};
    curve.optimum = {best.n_params, best.n_tokens, best.loss.total};
    curve.allowed_tokens = data.allowed_tokens;
    const auto n_params = [&](double scale) { return family.n_params(scale); };
    const auto [least, most] = std::minmax(curve.plan.n_params, curve.optimum.n_params);
    const double first = std::log(scale_where(n_params, least / kWidthFactor));
    const double last = std::log(scale_where(n_params, most * kWidthFactor));
    for (int i = 0; i <= kSamples; ++i)
        curve.samples.push_back(sample(std::exp(first + (last - first) * i / kSamples)));
    return curve;
}

/// Parameters and tokens at ticks: "500M", "2B".
std::string short_count(double count) {
    constexpr std::string_view kUnits[] = {"", "K", "M", "B", "T"};
    std::size_t unit = 0;
    for (; unit + 1 < std::size(kUnits) && count >= 999.5; ++unit) count /= 1000;
    return fmt::format("{:.4g}{}", count, kUnits[unit]);
}

std::string text_at(double x, double y, std::string_view attributes, std::string_view text) {
    return fmt::format("<text x=\"{:.1f}\" y=\"{:.1f}\" {}>{}</text>\n", x, y, attributes,
                       escaped(text));
}

std::string heading(const BackwardPlan& plan) {
    const planner::ComputeBudget& budget = plan.budget;
    const double middle = kWidth / 2;
    return text_at(middle, 34, R"(class="title")",
                   fmt::format("Predicted loss against model size at C = {} FLOP",
                               human_flops(budget.compute_flops))) +
           text_at(
               middle, 58, R"(class="note")",
               fmt::format("{:.0f} x {}, {:g} h ({}), MFU {:.1f} % ({}), law {}", budget.num_gpus,
                           budget.gpu_id, budget.hours, human_seconds(budget.hours * 3600),
                           budget.mfu * 100, to_string(budget.convention), plan.law.id));
}

/// Grid, tick labels and titles of the loss axis on the left and the model size axis below.
std::string axes(const BackwardPlan& plan, const Curve& curve, const Axis& x, const Axis& y,
                 const std::vector<double>& losses) {
    std::string svg;
    const double step = losses[1] - losses[0];
    const int decimals = std::max(0, static_cast<int>(-std::floor(std::log10(step) + 1e-9)));
    for (const double loss : losses) {
        svg += fmt::format(
            "<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
            kLeft, kRight, y.at(loss), y.at(loss));
        svg += text_at(kLeft - 8, y.at(loss) + 4, R"(text-anchor="end")",
                       fmt::format("{:.{}f}", loss, decimals));
    }
    const double low = curve.samples.front().n_params, high = curve.samples.back().n_params;
    for (const double n_params : text::svg::log_ticks(low, high)) {
        if (n_params < low || n_params > high) continue;
        svg += fmt::format(
            "<line class=\"grid\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n",
            x.at(n_params), x.at(n_params), kTop, kBottom);
        svg +=
            text_at(x.at(n_params), kBottom + 20, R"(text-anchor="middle")", short_count(n_params));
    }
    const bool total = plan.law.counts == scaling_law::ParameterCount::total;
    svg += text_at((kLeft + kRight) / 2, kBottom + 44, R"(class="axis")",
                   fmt::format("model size N, {} (logarithmic)",
                               total ? "parameters" : "non-embedding parameters"));
    svg += fmt::format(
        "<text class=\"axis\" transform=\"translate(24 {:.1f}) rotate(-90)\">predicted loss, nats "
        "per token</text>\n",
        (kTop + kBottom) / 2);
    return svg;
}

/// The axis of training tokens above the plot: more parameters leave fewer tokens.
std::string token_axis(const Curve& curve, const Axis& x) {
    std::string svg = text_at((kLeft + kRight) / 2, kTop - 32, R"(class="axis")",
                              "training tokens D = C / training FLOPs per token");
    const double most = curve.samples.front().n_tokens, least = curve.samples.back().n_tokens;
    for (const double n_tokens : text::svg::log_ticks(least, most)) {
        if (n_tokens < least || n_tokens > most) continue;
        const auto after =
            std::find_if(curve.samples.begin() + 1, curve.samples.end(),
                         [&](const Sample& each) { return each.n_tokens <= n_tokens; });
        const auto before = after - 1;
        // Between two samples both axes are straight lines, to less than a pixel.
        const double part =
            std::log(before->n_tokens / n_tokens) / std::log(before->n_tokens / after->n_tokens);
        const double at =
            x.at(before->n_params) + part * (x.at(after->n_params) - x.at(before->n_params));
        svg += fmt::format(
            "<line class=\"tick\" x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\"/>\n", at,
            at, kTop - 5, kTop);
        svg += text_at(at, kTop - 11, R"(text-anchor="middle")", short_count(n_tokens));
    }
    return svg;
}

/// Shades the models whose loss is within kNearOptimum of the smallest.
std::string near_optimum(const Curve& curve, const Axis& x) {
    const auto near = [&](const Sample& each) {
        return each.loss <= curve.optimum.loss + kNearOptimum &&
               each.n_tokens <= curve.allowed_tokens;
    };
    const auto first = std::find_if(curve.samples.begin(), curve.samples.end(), near);
    if (first == curve.samples.end()) return {};
    const auto last = std::find_if(curve.samples.rbegin(), curve.samples.rend(), near);
    const double from = x.at(first->n_params), to = x.at(last->n_params);
    return fmt::format(
               "<rect class=\"near\" x=\"{:.1f}\" y=\"{:.1f}\" width=\"{:.1f}\" "
               "height=\"{:.1f}\"/>\n",
               from, kTop, to - from, kBottom - kTop) +
           text_at((from + to) / 2, kBottom - 9, R"(class="note")",
                   fmt::format("within {:g} nats of the optimum", kNearOptimum));
}

struct Mark {
    std::string_view name;
    Sample sample;
    std::string_view style;
    double label_x = 0, label_y = 0;
    std::string_view anchor;
};

std::string marked(const Mark& mark, const Axis& x, const Axis& y) {
    const double at_x = x.at(mark.sample.n_params), at_y = y.at(mark.sample.loss);
    std::string svg = fmt::format(
        "<line class=\"leader\" x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\"/>\n"
        "<circle class=\"{}\" cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"6\"/>\n",
        at_x, at_y, mark.label_x, mark.anchor == "middle" ? mark.label_y - 16 : mark.label_y,
        mark.style, at_x, at_y);
    const double indent = mark.anchor == "end" ? -6 : mark.anchor == "start" ? 6 : 0;
    svg += text_at(mark.label_x + indent, mark.label_y - 3,
                   fmt::format(R"(class="strong" text-anchor="{}")", mark.anchor),
                   fmt::format("{}: loss {:.4f}", mark.name, mark.sample.loss));
    svg += text_at(mark.label_x + indent, mark.label_y + 14,
                   fmt::format(R"(text-anchor="{}")", mark.anchor),
                   fmt::format("N {}, D {}, D/N {:.1f}", human_count(mark.sample.n_params),
                               human_count(mark.sample.n_tokens),
                               mark.sample.n_tokens / mark.sample.n_params));
    return svg;
}

/// Labels stand below the curve, on the outer sides of the two points. Where the plan is far above
/// the optimum, its label stands beside its point, inside the curve.
std::pair<Mark, Mark> marks_of(const BackwardPlan& plan, const Curve& curve, const Axis& x,
                               const Axis& y) {
    const bool left = curve.plan.n_params <= curve.optimum.n_params;
    const double plan_x = x.at(curve.plan.n_params), plan_y = y.at(curve.plan.loss);
    const double optimum_x = x.at(curve.optimum.n_params), below = kBottom - 50;
    Mark plan_mark{plan.tokens.constrained ? "plan, limited by the data" : "plan",
                   curve.plan,
                   "plan",
                   plan_x + (left ? -24 : 24),
                   below,
                   left ? "end" : "start"};
    Mark optimum_mark{plan.optimum.within_data ? "optimum within the data" : "optimum",
                      curve.optimum,
                      "optimum",
                      optimum_x + (left ? 24 : -24),
                      below,
                      left ? "start" : "end"};
    if (y.at(curve.optimum.loss) - plan_y > 40) {
        const bool room_right = plan_x < (kLeft + kRight) / 2;
        plan_mark.label_x = plan_x + (room_right ? 14 : -14);
        plan_mark.label_y = std::max(plan_y - 20, kTop + 22);
        plan_mark.anchor = room_right ? "start" : "end";
        optimum_mark.label_x = optimum_x;
        optimum_mark.label_y = below + 8;
        optimum_mark.anchor = "middle";
    }
    return {plan_mark, optimum_mark};
}

constexpr std::string_view kStyle = R"(<style>
text { font: 13px system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; fill: #24292f; }
.title { font-size: 18px; font-weight: 600; text-anchor: middle; }
.axis { text-anchor: middle; font-weight: 600; } .strong { font-weight: 600; }
.note { text-anchor: middle; fill: #57606a; }
.card { fill: #ffffff; stroke: #d0d7de; } .frame { fill: none; stroke: #8c959f; }
.grid { stroke: #e4e8ec; } .tick, .leader { stroke: #57606a; } .near { fill: #ddf4e4; }
.curve { fill: none; stroke: #0b62b0; stroke-width: 2.5; }
.plan { fill: #b3400b; stroke: #ffffff; stroke-width: 1.5; }
.optimum { fill: #1a7f37; stroke: #ffffff; stroke-width: 1.5; }
</style>
)";

}  // namespace

std::string plan_plot_svg(const BackwardPlan& plan) {
    const Curve curve = curve_of(plan);
    double highest = curve.plan.loss, least = curve.optimum.loss;
    std::string points;
    for (const Sample& sample : curve.samples) {
        highest = std::max(highest, sample.loss);
        least = std::min(least, sample.loss);
    }
    // A law whose terms vanish gives the same loss everywhere; the axis needs a length.
    const double flat = 1e-6 * std::max(std::abs(highest), 1.0);
    if (highest - least < flat) highest = least + flat;
    // The labels of the two marks need room below the curve.
    const double lowest = least - 0.25 * (highest - least);
    const std::vector<double> losses = text::svg::linear_ticks(lowest, highest);
    const Axis x({curve.samples.front().n_params, curve.samples.back().n_params}, {kLeft, kRight},
                 text::svg::Scale::logarithmic);
    const Axis y({losses.front(), losses.back()}, {kBottom, kTop}, text::svg::Scale::linear);
    for (const Sample& sample : curve.samples)
        points += fmt::format("{:.1f},{:.1f} ", x.at(sample.n_params), y.at(sample.loss));
    points.pop_back();
    const auto [plan_mark, optimum_mark] = marks_of(plan, curve, x, y);
    return fmt::format(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" role=\"img\" viewBox=\"0 0 {0} {1}\" "
               "width=\"{0}\" height=\"{1}\">\n<title>Predicted loss against model size: plan N "
               "{2}, "
               "optimum N {3}</title>\n",
               kWidth, kHeight, human_count(curve.plan.n_params),
               human_count(curve.optimum.n_params)) +
           std::string(kStyle) +
           fmt::format(
               "<rect class=\"card\" x=\"0.5\" y=\"0.5\" width=\"{}\" height=\"{}\" rx=\"8\"/>\n",
               kWidth - 1, kHeight - 1) +
           heading(plan) + near_optimum(curve, x) + axes(plan, curve, x, y, losses) +
           token_axis(curve, x) +
           fmt::format("<rect class=\"frame\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>\n",
                       kLeft, kTop, kRight - kLeft, kBottom - kTop) +
           fmt::format("<polyline class=\"curve\" points=\"{}\"/>\n", points) +
           marked(optimum_mark, x, y) + marked(plan_mark, x, y) +
           text_at(
               kWidth / 2, kHeight - 20, R"(class="note")",
               fmt::format("Models with the proportions of the plan's model; FLOPs per token are "
                           "exact (every matrix product, S = {}).",
                           plan.run.config.execution.sequence_length)) +
           "</svg>\n";
}

}  // namespace isoflop::report
