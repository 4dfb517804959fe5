// train --selfcheck and train compare-attention.
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <nlohmann/json.hpp>

#include "isoflop/attention_lab/attention_choice.hpp"
#include "isoflop/attention_lab/attention_comparison.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/device/context.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/machine/selfcheck.hpp"
#include "isoflop/machine/this_machine.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/text/message.hpp"
#include "train_commands.hpp"

namespace isoflop::tools {
namespace {

/// Threads, and the device of a configuration.
struct Workplace {
    explicit Workplace(const recipe::Recipe& config)
        : pool(static_cast<int>(
              config.keys.execution.threads.value_or(device::default_thread_count()))),
          device(device::open_device(config.execution.device,
                                     {.deterministic = config.keys.execution.deterministic,
                                      .allow_tf32 = config.execution.dtype == DType::tf32})) {}

    device::ThreadPool pool;
    std::unique_ptr<device::Device> device;
    device::Context context{pool, *device};
};

}  // namespace

int run_selfcheck(const TrainOptions& options) {
    const recipe::RunPlan plan =
        attention_lab::plan_with_attention(machine::recipe_here(keys_of(options)));
    Workplace workplace(plan.config);
    const attention_lab::AttentionTrials trials = machine::check_attention(plan, workplace.context);
    std::cout << text::fit_lines(machine::selfcheck_text(plan, trials, options.colour),
                                 options.width);
    const bool passed =
        std::all_of(trials.backends.begin(), trials.backends.end(),
                    [](const attention_lab::AttentionTrial& trial) { return trial.passed(); });
    return static_cast<int>(passed ? ExitCode::ok : ExitCode::check_failed);
}

int run_compare_attention(const TrainOptions& options) {
    const recipe::TrainKeys keys =
        options.files.empty() ? recipe::train_keys_from(options.overrides) : keys_of(options);
    const recipe::Recipe config = machine::recipe_here(keys);
    std::vector<attention::Shape> shapes;
    for (const std::string& text : options.shapes)
        shapes.push_back(attention_lab::parse_attention_shape(text));
    if (shapes.empty())
        shapes =
            attention_lab::shapes_to_compare(attention_lab::attention_shape(config),
                                             config.execution.device == cost::DeviceKind::cuda);
    if (!config.dtype_note.empty())
        std::cerr << text::message_for(STDERR_FILENO,
                                       "warning: " + printable_lines(config.dtype_note))
                  << '\n';
    Workplace workplace(config);
    const attention_lab::AttentionComparison comparison =
        attention_lab::compare_attention(workplace.context, shapes,
                                         {.dtype = config.execution.dtype,
                                          .deterministic = config.execution.deterministic,
                                          .repeats = options.repeats,
                                          .reference_products = 1e9});
    if (options.json) {
        std::cout << printable_json(
                         attention_lab::attention_comparison_json(comparison)
                             .dump(2, ' ', false, nlohmann::json::error_handler_t::replace))
                  << '\n';
    } else {
        std::cout << text::fit_lines(
            attention_lab::attention_comparison_text(comparison, options.colour), options.width);
    }
    if (!options.html.empty())
        write_text_file(options.html, attention_lab::attention_comparison_html(comparison));
    return static_cast<int>(comparison.passed() ? ExitCode::ok : ExitCode::check_failed);
}

}  // namespace isoflop::tools
