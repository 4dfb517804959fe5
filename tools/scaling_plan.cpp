// scaling-plan: from GPUs, hours, data and an architecture to parameters, tokens, compute, memory
// and loss. This file parses the command line, calls one command and prints its result; the work is
// in the library.
#include <fmt/format.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <new>
#include <sstream>

#include "isoflop/base/error.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/base/version.hpp"
#include "isoflop/config/overrides.hpp"
#include "isoflop/hardware/gpu_libraries.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/text/help_page.hpp"
#include "isoflop/text/message.hpp"
#include "isoflop/text/terminal.hpp"
#include "isoflop/text/usage_message.hpp"
#include "scaling_plan_commands.hpp"
#include "scaling_plan_help.hpp"

namespace isoflop::tools {
namespace {

constexpr std::string_view kExamples = R"(
Examples:
  scaling-plan backward configs/plan/hoffmann.jsonc
  scaling-plan backward configs/plan/hoffmann.jsonc --set training_gear.num_gpus=64 --json
  scaling-plan backward configs/plan/hoffmann.jsonc --emit-train-config train.jsonc
  scaling-plan backward configs/plan/hoffmann.jsonc --emit-plan best.jsonc
  scaling-plan model configs/models/llama3_8b.jsonc --sequence_length=8192 --all-conventions
  scaling-plan compare configs/plan/hoffmann.jsonc configs/plan/besiroglu.jsonc
  scaling-plan compare configs/models/llama3_8b.jsonc configs/models/qwen3_1_7b.jsonc --markdown -
  scaling-plan backward config.json --gpu_type=H100 --num_gpus=64 --available_hours=500 --expected_mfu=0.4
  scaling-plan sweep --over num_gpus=8,16,32 --over available_hours=24..72:24 configs/plan/auto.jsonc
  scaling-plan validate

Exit codes: 0 done (a plan that does not fit is still an answer), 1 a check failed, 2 usage or configuration,
3 input or output.
)";

constexpr std::string_view kOver = "--over";
constexpr std::string_view kWith = "--with";

struct Command {
    std::string name;
    std::string help;
    Result (*run)(const Options&);
    CLI::App* app = nullptr;
};

std::vector<Command> commands() {
    return {
        {"backward", "Plan a run: N, D, C, memory per GPU and predicted loss from a plan config",
         run_backward},
        {"model", "Analyse an architecture: parameters, FLOPs and memory by component", run_model},
        {"compare", "Plans or models of several configs side by side", run_compare},
        {"sweep", "A table of plans over a grid of values", run_sweep},
        {"laws", "List the scaling laws, their constants and sources", run_laws},
        {"gpus", "List the accelerators, their dense peaks and sources", run_gpus},
        {"types", "List the model types that are read, and whether train runs them", run_types},
        {"validate", "Check this program against published figures; exit 1 if any is out",
         run_validate},
        {"schema", "Print the JSON Schema of plan or model configs, or their keys as Markdown",
         run_schema}};
}

/// The files of a command that takes keys, and --set.
void add_config_options(CLI::App& app, const std::string& name, Options& options) {
    app.add_option("config", options.files,
                   name == "compare" ? "Configuration files" : "Configuration file")
        ->type_name("FILE");
    app.add_option("--set", options.overrides,
                   "Override a key; --key=VALUE and --key VALUE do the same")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.footer([name] { return "\nConfig keys:\n" + config_help(name); });
}

void add_gpu_table_option(CLI::App& app, Options& options) {
    app.add_option("--gpu-table", options.gpu_table,
                   "Use this GPU table instead of the built-in one")
        ->each([](const std::string& file) {
            if (file.empty())
                throw ConfigError("--gpu-table takes the name of a file; it is empty");
        })
        ->type_name("FILE");
}

void add_analysis_options(CLI::App& app, Options& options) {
    app.add_option("--compat", options.compat, "Figures of an earlier system: dsc180_a06")
        ->type_name("SYSTEM");
    app.add_option("--convention", options.convention,
                   "Also show training FLOPs by this convention: exact, palm, megatron, titan, "
                   "kaplan, 6nd, executed")
        ->type_name("NAME");
    app.add_flag("--all-conventions", options.all_conventions,
                 "Show training FLOPs by every convention");
    app.add_option("--memory-model", options.memory_model,
                   "isoflop: exact for our trainer; megatron: adds that estimate")
        ->type_name("NAME");
}

void add_plan_files(CLI::App& app, Options& options) {
    app.add_option("--emit-train-config", options.emit_train_config,
                   "Write the config with which train executes the plan; - prints it")
        ->type_name("FILE");
    app.add_option("--emit-plan", options.emit_plan,
                   "Write the advised architecture as a plan config; - prints it")
        ->type_name("FILE");
    app.add_option("--plot", options.plot,
                   "Write loss against model size at the plan's compute as an SVG picture; - "
                   "prints it")
        ->type_name("FILE");
}

/// add_axes reads both in the order of the command line.
void add_sweep_options(CLI::App& app) {
    app.add_option(std::string(kOver), "Values of a key: a,b,c or FIRST..LAST[:STEP]; repeatable")
        ->expected(1, CLI::detail::expected_max_vector_size)
        ->type_name("KEY=VALUES")
        ->allow_extra_args(false);
    app.add_option(std::string(kWith),
                   "Values of a key that moves with the --over before it; as many")
        ->expected(1, CLI::detail::expected_max_vector_size)
        ->type_name("KEY=VALUES")
        ->allow_extra_args(false);
}

void add_table_files(CLI::App& app, Options& options) {
    app.add_option("--csv", options.csv, "Write the table as CSV with full precision; - prints it")
        ->type_name("FILE");
    app.add_option("--markdown", options.markdown, "Write the table as Markdown; - prints it")
        ->type_name("FILE");
}

void add_options(Command& command, Options& options) {
    CLI::App& app = *command.app;
    const std::string& name = command.name;
    const bool makes_table = name == "sweep" || name == "compare";
    const bool analyses = name == "backward" || name == "model";
    if (makes_table || analyses) add_config_options(app, name, options);
    if (makes_table || analyses || name == "gpus") add_gpu_table_option(app, options);
    if (analyses) add_analysis_options(app, options);
    if (name == "backward") add_plan_files(app, options);
    if (name == "sweep") add_sweep_options(app);
    if (makes_table) add_table_files(app, options);
    if (name == "types") {
        app.add_option("--markdown", options.markdown,
                       "Write docs/models.md, with the released models; - prints it")
            ->type_name("FILE");
    }
    if (name == "schema") {
        app.add_option("subject", options.subject, "plan, model or markdown")
            ->required()
            ->type_name("SUBJECT");
        return;
    }
    app.add_flag("--json", options.json, "Print JSON with full precision (docs/json_output.md)");
    if (!makes_table && name != "laws" && name != "gpus" && name != "types")
        app.add_flag("--quiet", options.quiet, "Print the results only");
}

/// The axes of a sweep in the order of the command line.
void add_axes(const CLI::App& sweep, Options& options) {
    const CLI::Option* const over = sweep.get_option(std::string(kOver));
    const CLI::Option* const with = sweep.get_option(std::string(kWith));
    std::size_t overs = 0;
    std::size_t withs = 0;
    for (const CLI::Option* option : sweep.parse_order()) {
        if (option == over) options.sweep_axes.push_back({false, over->results().at(overs++)});
        if (option == with) options.sweep_axes.push_back({true, with->results().at(withs++)});
    }
}

/// `--backward_config FILE`, `--model_config FILE` and `--validate` are the earlier system's
/// spelling.
std::vector<std::string> modernize(std::vector<std::string> arguments) {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        for (const auto& [flag, command] :
             {std::pair<std::string, std::string>{"--backward_config", "backward"},
              {"--model_config", "model"},
              {"--validate", "validate"}}) {
            std::string& argument = arguments[i];
            const bool with_value = argument.compare(0, flag.size() + 1, flag + "=") == 0;
            if (argument != flag && !with_value) continue;
            const std::string value = with_value ? argument.substr(flag.size() + 1) : std::string();
            arguments.erase(arguments.begin() + static_cast<std::ptrdiff_t>(i));
            if (with_value)
                arguments.insert(arguments.begin() + static_cast<std::ptrdiff_t>(i), value);
            arguments.insert(arguments.begin(), command);
            return arguments;
        }
    }
    return arguments;
}

std::string version_text() {
    return fmt::format(
        "scaling-plan {} (commit {}, {}, {})\nbuild features: planner\nGPU libraries: {}\n",
        version(), commit(), compiler(), build_type(),
        hardware::gpu_libraries_text(cuda_version()));
}

std::vector<std::string> known_names(const CLI::App& app) {
    std::vector<std::string> names = config_keys();
    for (const CLI::App* part : app.get_subcommands()) {
        for (const CLI::Option* option : part->get_options()) {
            for (const std::string& name : option->get_lnames()) names.push_back(name);
        }
    }
    return names;
}

int print(const Result& result) {
    constexpr std::string_view kLevel = "warning: ";  // which the logger writes
    for (const std::string& warning : result.warnings) {
        const std::string message = std::string(kLevel) + printable_message(warning);
        spdlog::warn("{}", text::message_for(STDERR_FILENO, message).substr(kLevel.size()));
    }
    bool written =
        std::fwrite(result.output.data(), 1, result.output.size(), stdout) == result.output.size();
    written = std::fflush(stdout) == 0 && written;
    if (!written && !text::reader_has_left(STDOUT_FILENO))
        throw IoError("standard output: could not be written");
    return result.exit_code;
}

std::string command_names(const std::vector<Command>& commands) {
    std::vector<std::string_view> names;
    names.reserve(commands.size());
    for (const Command& command : commands) names.push_back(command.name);
    return join(names);
}

/// A first word that is no command, nor an option.
void refuse_wrong_command(const std::vector<std::string>& arguments,
                          const std::vector<Command>& commands) {
    if (arguments.empty() || arguments.front().starts_with("-")) return;
    std::vector<std::string_view> names;
    for (const Command& command : commands) {
        if (command.name == arguments.front()) return;
        names.push_back(command.name);
    }
    throw ConfigError(fmt::format("'{}' is no command{}; commands: {}", arguments.front(),
                                  suggestion(arguments.front(), names), command_names(commands)));
}

/// The help that `arguments` ask for.
std::string help(const CLI::App& app, const std::vector<Command>& commands,
                 const std::vector<std::string>& arguments, std::size_t width) {
    const bool all = text::help_of(arguments) == text::Help::all;
    std::vector<text::HelpRow> rows;
    for (const Command& command : commands) {
        rows.push_back({command.name, command.help});
        if (arguments.front() != command.name) continue;
        return all ? text::fit_lines(command.app->help(), width)
                   : text::help_text(help_page(*command.app), width);
    }
    return all ? text::fit_lines(app.help("", CLI::AppFormatMode::All), width)
               : text::help_text(help_page(std::move(rows)), width);
}

int run(std::vector<std::string> arguments) {
    arguments = config::rewrite_overrides(modernize(std::move(arguments)), is_config_key);
    CLI::App app("Plans a language-model training run: N, D, C, memory per GPU and predicted loss.",
                 "scaling-plan");
    app.require_subcommand(0, 1);
    if (!arguments.empty() && arguments.front() == "help") {
        arguments.erase(arguments.begin());  // "help model" is "model --help"
        arguments.emplace_back("--help");
    }
    app.set_version_flag("--version", version_text);
    app.add_flag_callback(
        "--doctor", [] { throw CLI::CallForVersion(version_text(), 0); },
        "Prints the features of this build and the GPU libraries of this machine");
    app.set_help_all_flag("--help-all", "Help of every command");
    app.footer(std::string(kExamples));
    Options options;
    options.colour = text::colour_of(STDOUT_FILENO);
    options.width = text::terminal_width(STDOUT_FILENO);
    std::vector<Command> all = commands();
    for (Command& command : all) {
        command.app = app.add_subcommand(command.name, command.help);
        add_options(command, options);
    }
    refuse_wrong_command(arguments, all);
    if (text::help_of(arguments) != text::Help::none) {
        Result result;
        result.output = help(app, all, arguments, options.width.value_or(text::kReportWidth));
        return print(result);
    }
    try {
        std::reverse(arguments.begin(), arguments.end());  // CLI11 takes a vector from its end
        app.parse(arguments);
    } catch (const CLI::Success& request) {
        std::ostringstream text;  // --help, --version
        app.exit(request, text, text);
        Result result;
        result.output = text.str();
        return print(result);
    } catch (const CLI::ParseError& error) {
        throw ConfigError(text::usage_message(error.what(), known_names(app)));
    }
    for (const Command& command : all) {
        if (!command.app->parsed()) continue;
        if (command.name == "sweep") add_axes(*command.app, options);
        return print(command.run(options));
    }
    throw ConfigError("no command given; commands: " + command_names(all));
}

}  // namespace
}  // namespace isoflop::tools

namespace {

void print_error(const std::string& message) {
    std::fprintf(stderr, "%s\n", isoflop::text::message_for(STDERR_FILENO, message).c_str());
}

}  // namespace

int main(int argc, char** argv) {
    try {
        std::signal(SIGPIPE, SIG_IGN);
        const bool coloured = isoflop::text::colour_of(STDERR_FILENO) == isoflop::text::Colour::on;
        auto logger = spdlog::stderr_color_st(
            "scaling-plan", coloured ? spdlog::color_mode::always : spdlog::color_mode::never);
        logger->set_pattern("%^%l%$: %v");
        spdlog::set_default_logger(logger);
        return isoflop::tools::run({argv + 1, argv + argc});
    } catch (const isoflop::Error& error) {
        const std::string message = isoflop::printable_message(error.what());
        const bool located = message.find(": error: ") != std::string::npos;
        print_error((located ? "" : "error: ") + message);
        return static_cast<int>(error.exit_code());
    } catch (const std::bad_alloc&) {
        print_error("error: this machine has not enough memory for that");
        return static_cast<int>(isoflop::ExitCode::out_of_memory);
    } catch (const std::exception& error) {
        print_error("internal error: " + isoflop::printable_message(error.what()));
        return static_cast<int>(isoflop::ExitCode::check_failed);
    }
}
