#include "isoflop/machine/selfcheck.hpp"

#include <fmt/format.h>

#include "isoflop/attention_lab/attention_choice.hpp"
#include "isoflop/base/text.hpp"

namespace isoflop::machine {

attention_lab::AttentionTrials check_attention(const recipe::RunPlan& plan,
                                               device::Context& context) {
    attention::Shape shape = attention_lab::attention_shape(plan.config);
    shape.batch = 1;
    return attention_lab::try_attention(context, shape, attention_lab::kAttentionBackends,
                                        {.dtype = plan.config.execution.dtype,
                                         .deterministic = plan.config.execution.deterministic,
                                         .repeats = 5,
                                         .seconds = 0.5});
}

std::string selfcheck_text(const recipe::RunPlan& plan,
                           const attention_lab::AttentionTrials& trials, text::Colour colour) {
    const model::ModelConfig& model = plan.config.model;
    const cost::Execution& execution = plan.config.execution;
    text::TextReport report(colour);
    report.title(
        fmt::format("Attention backends against a double-precision reference: S {}, {} "
                    "heads ({} kv) x {}, {} on a {}",
                    execution.sequence_length, model.num_attention_heads, model.num_key_value_heads,
                    model.head_dim, short_name(execution.dtype),
                    execution.device == cost::DeviceKind::cuda ? "GPU" : "CPU"));
    text::Table table({{"backend", text::Align::left},
                       {"o"},
                       {"lse"},
                       {"dq"},
                       {"dk"},
                       {"dv"},
                       {"allowed"},
                       {"forward"},
                       {"backward"},
                       {"", text::Align::left}});
    const auto error = [](double value) { return fmt::format("{:.1e}", value); };
    for (const attention_lab::AttentionTrial& trial : trials.backends) {
        if (!trial.ran) {
            table.row({std::string(to_string(trial.backend)), "-", "-", "-", "-", "-", "-", "-",
                       "-", (trial.failed ? "FAILED: " : "") + trial.reason});
            continue;
        }
        const attention_lab::AttentionErrors errors =
            trial.errors.value_or(attention_lab::AttentionErrors{});
        table.row({std::string(to_string(trial.backend)), error(errors.output), error(errors.lse),
                   error(errors.d_query), error(errors.d_key), error(errors.d_value),
                   error(trial.tolerance.values), human_seconds(trial.forward_seconds),
                   human_seconds(trial.backward_seconds), trial.passed() ? "ok" : "OUT"});
    }
    report.table(table);
    report.line("relative errors; medians of times");
    if (!trials.part.empty()) report.line("compared on " + trials.part);
    return report.str();
}

}  // namespace isoflop::machine
