// train: trains, samples from, exports and compares LLaMA-style models. This file parses the
// command line and calls the library.
#include <fmt/format.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <new>

#include "isoflop/base/error.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/base/version.hpp"
#include "isoflop/comm/launcher.hpp"
#include "isoflop/config/overrides.hpp"
#include "isoflop/hardware/gpu_libraries.hpp"
#include "isoflop/machine/doctor.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/text/help_page.hpp"
#include "isoflop/text/message.hpp"
#include "isoflop/text/terminal.hpp"
#include "isoflop/text/usage_message.hpp"
#include "train_commands.hpp"
#include "train_help.hpp"

namespace isoflop::tools {
namespace {

constexpr std::string_view kExamples = R"(
Examples:
  train configs/train/shakespeare.jsonc --max_iters=100
  train configs/train/arch_llama.jsonc --attention_backend=manual --dry-run
  train --nproc-per-node 4 configs/train/arch_llama.jsonc
  mpirun -n 4 train configs/train/arch_llama.jsonc
  train prepare-data --input TEXT_OR_FOLDER --tokenizer char --val-fraction 0.1 --out data/mine
  train sample --checkpoint out/RUN --prompt "To be" --tokens 200
  train export --checkpoint out/RUN --format hf --out exported
  train import HUGGING_FACE_FOLDER --out out/imported
  train compare out/*
  train compare-attention --shape 8,1024,16,16,64 --html attention.html
  train --doctor
  train --selfcheck configs/train/arch_llama.jsonc

Exit codes: 0 done, 1 a check failed, 2 usage or configuration, 3 data, checkpoint or disk,
4 lost rank or communication timeout, 5 does not fit in memory, 6 training diverged.
)";

bool is_key(std::string_view key) {
    return recipe::train_schema().resolve_path(key).has_value() ||
           !recipe::retired_key_advice(key).empty();
}

struct Command {
    std::string name;
    std::string help;
    int (*run)(const TrainOptions&);
    void (*declare)(CLI::App&, TrainOptions&);
    bool takes_keys = false;  ///< --key=value overrides a config key
};

void declare_run(CLI::App& app, TrainOptions& options) {
    app.add_option("config", options.files, "Training config")->type_name("CONFIG");
    app.add_option("--set", options.overrides,
                   "Overrides a key; --key=VALUE and --key VALUE do the same")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.add_flag("--dry-run", options.dry_run,
                 "Prints the startup report with the memory plan and stops; exits with 5 where "
                 "the run does not fit, as the run does");
    app.add_flag("--json", options.json, "With --dry-run: prints the plan as JSON");
    app.add_flag("--doctor", options.doctor, "Prints the features of this build and machine");
    app.add_flag("--selfcheck", options.selfcheck,
                 "Compares the attention backends on the shapes of the config");
    app.add_option("--print-keys", options.print_keys,
                   "Prints all config keys, as markdown or schema (JSON Schema)")
        ->type_name("FORM");
}

/// Options of the built-in launcher; any of them starts it.
void declare_launcher(CLI::App& app, TrainOptions& options) {
    comm::LauncherOptions& launcher = options.launcher;
    const auto add = [&](const std::string& name, auto& value, const std::string& help) {
        std::string underscored = name;
        std::replace(underscored.begin() + 2, underscored.end(), '-', '_');
        if (underscored == name) underscored.clear();
        app.add_option(underscored.empty() ? name : name + "," + underscored, value, help)
            ->group("Several processes")
            ->each([&options](const std::string&) { options.launch = true; });
    };
    add("--nproc-per-node", launcher.nproc_per_node, "Starts N ranks on this machine");
    add("--nnodes", launcher.nnodes, "Number of machines; each runs its own train");
    add("--node-rank", launcher.node_rank, "Number of this machine, from 0");
    add("--master-addr", launcher.master_addr, "Name or address of machine 0");
    add("--master-port", launcher.master_port,
        "Free port on machine 0; chosen automatically for one machine");
    add("--max-restarts", launcher.max_restarts,
        "Resumes from the last checkpoint, at most N times, when a rank is lost");
}

void declare_prepare(CLI::App& app, TrainOptions& options) {
    app.add_option("--input", options.input,
                   "Text file, folder of text files, or - for standard input")
        ->required();
    app.add_option("--tokenizer", options.tokenizer,
                   "Tokenizer: byte, char, sentencepiece:MODEL or sentencepiece-train:VOCAB_SIZE")
        ->capture_default_str();
    app.add_option("--val-fraction", options.validation_fraction, "Share of the tokens held out")
        ->capture_default_str();
    app.add_option("--out", options.out, "Folder to create")->required();
    app.add_option("--shard-tokens", options.shard_tokens, "Tokens per file")
        ->capture_default_str();
}

void declare_sample(CLI::App& app, TrainOptions& options) {
    app.add_option("--checkpoint", options.checkpoint, "Run, step folder or Hugging Face folder")
        ->required();
    app.add_option("--prompt", options.prompt, "Text to continue")->capture_default_str();
    app.add_option("--tokens", options.tokens, "Tokens to generate")->capture_default_str();
    app.add_option("--temperature", options.temperature,
                   "Temperature of sampling; 0 takes the most likely token")
        ->capture_default_str();
    app.add_option("--top-k", options.top_k,
                   "Number of most likely tokens to sample from; 0 samples from all")
        ->capture_default_str();
    app.add_option("--seed", options.seed, "Seed of the sampling")->capture_default_str();
    app.add_option("--tokenizer", options.tokenizer_folder,
                   "Folder with the tokenizer, if not in the folder of the model");
}

void declare_export(CLI::App& app, TrainOptions& options) {
    app.add_option("--checkpoint", options.checkpoint, "Run or step folder")->required();
    app.add_option("--format", options.format,
                   "Format of the export: hf (Hugging Face transformers)")
        ->capture_default_str();
    app.add_option("--out", options.out, "Folder to create")->required();
    app.add_option("--dtype", options.dtype,
                   "Type of the exported weights: float32, bfloat16 or float16")
        ->capture_default_str();
}

void declare_import(CLI::App& app, TrainOptions& options) {
    app.add_option("folder", options.files,
                   "Hugging Face folder with config.json and model.safetensors")
        ->required()
        ->expected(1);
    app.add_option("--out", options.out, "Run folder to create")->required();
}

void declare_compare(CLI::App& app, TrainOptions& options) {
    app.add_option("runs", options.files,
                   "Run folders, run_*.json files, or folders of these; by default --out_dir");
    app.add_option("--latest", options.latest, "Shows only the N newest runs")->type_name("N");
    app.add_option("--out_dir", options.out_dir, "Folder of runs")->capture_default_str();
    app.add_flag("--json", options.json, "Prints JSON");
}

void declare_compare_attention(CLI::App& app, TrainOptions& options) {
    app.add_option("config", options.files,
                   "Training config with model, device and dtype; by default the default model")
        ->type_name("CONFIG");
    app.add_option("--shape", options.shapes,
                   "Batch, sequence, heads, key/value heads, head size; repeatable. By default the "
                   "heads of the model at its sequence length and neighbouring lengths")
        ->type_name("B,S,H,Hkv,D[,full]")
        ->allow_extra_args(false);
    app.add_option("--set", options.overrides,
                   "Overrides a key; --device=cpu and --dtype=float16 do the same")
        ->type_name("KEY=VALUE")
        ->allow_extra_args(false);
    app.add_option("--repeats", options.repeats, "Number of timed repeats; the median is reported")
        ->check(CLI::Range(1, 1000))
        ->capture_default_str();
    app.add_flag("--json", options.json, "Prints JSON");
    app.add_option("--html", options.html, "Also writes a page with plots")->type_name("FILE");
}

std::vector<Command> commands() {
    return {{"prepare-data", "Turns text into token shards", run_prepare, declare_prepare},
            {"sample", "Generates text from a checkpoint", run_sample, declare_sample},
            {"export", "Writes a model that Hugging Face transformers loads", run_export,
             declare_export},
            {"import", "Makes a run from a Hugging Face folder", run_import, declare_import},
            {"compare", "Ranks runs by validation loss", run_compare, declare_compare},
            {"compare-attention", "Times the attention backends and checks their results",
             run_compare_attention, declare_compare_attention, true}};
}

std::string version_text() {
    return fmt::format("train {} (commit {}, {}, {})\nbuild features: {}\nGPU libraries: {}\n",
                       version(), commit(), compiler(), build_type(), machine::build_features(),
                       hardware::gpu_libraries_text(cuda_version()));
}

std::vector<std::string> known_names(const CLI::App& app) {
    std::vector<std::string> names = recipe::train_schema().paths();
    for (const config::Section& section : recipe::train_schema().sections()) {
        for (const config::Field& field : section.fields)
            names.insert(names.end(), field.info.aliases.begin(), field.info.aliases.end());
    }
    for (const CLI::Option* option : app.get_options()) {
        for (const std::string& name : option->get_lnames()) names.push_back(name);
    }
    return names;
}

/// Prints the help that `arguments` ask for.
int print_help(const CLI::App& app, const text::HelpPage& page,
               const std::vector<std::string>& arguments, std::size_t width) {
    std::cout << (text::help_of(arguments) == text::Help::all ? text::fit_lines(app.help(), width)
                                                              : text::help_text(page, width));
    return 0;
}

int parse_and_run(CLI::App& app, std::vector<std::string> arguments, const TrainOptions& options,
                  int (*run)(const TrainOptions&)) {
    try {
        std::reverse(arguments.begin(), arguments.end());  // CLI11 takes a vector from its end
        app.parse(arguments);
    } catch (const CLI::Success& request) {
        return app.exit(request);  // --help, --version
    } catch (const CLI::ParseError& error) {
        throw ConfigError(text::usage_message(error.what(), known_names(app)));
    }
    return run(options);
}

/// This program, with the arguments that the ranks get.
std::vector<std::string> rank_command(const std::vector<std::string>& arguments) {
    std::vector<std::string> command = comm::without_launcher_options(arguments);
    command.insert(command.begin(), std::filesystem::read_symlink("/proc/self/exe").string());
    return command;
}

int run_or_launch(const TrainOptions& options) {
    const bool trains =
        !options.dry_run && !options.doctor && !options.selfcheck && options.print_keys.empty();
    return options.launch && trains ? launch_train(options) : run_train(options);
}

int dispatch(std::vector<std::string> arguments) {
    TrainOptions options;
    options.colour = text::colour_of(STDOUT_FILENO);
    constexpr std::size_t kNarrowest = 40;
    options.width =
        std::max(kNarrowest, text::terminal_width(STDOUT_FILENO).value_or(text::kReportWidth));
    if (arguments.size() == 1 && arguments.front() == "help") arguments.front() = "--help";
    if (!arguments.empty()) {
        for (const Command& command : commands()) {
            if (command.name != arguments.front()) continue;
            CLI::App app(command.help, "train " + command.name);
            command.declare(app, options);
            arguments.erase(arguments.begin());
            if (text::help_of(arguments) != text::Help::none)
                return print_help(app, help_page(app, command.name), arguments, options.width);
            if (command.takes_keys) arguments = config::rewrite_overrides(arguments, is_key);
            return parse_and_run(app, std::move(arguments), options, command.run);
        }
    }
    CLI::App app("Trains a LLaMA-style language model exactly as planned.", "train");
    app.set_version_flag("--version", version_text);
    declare_run(app, options);
    declare_launcher(app, options);
    options.rank_command = rank_command(arguments);
    app.footer([] {
        std::string text = "\nCommands (train COMMAND --help):\n";
        for (const Command& command : commands())
            text += fmt::format("  {:<18} {}\n", command.name, command.help);
        const recipe::TrainKeys defaults;
        text += std::string(kExamples) + "\nConfig keys:\n";
        return text + config::help_text(recipe::train_schema(), &defaults);
    });
    if (text::help_of(arguments) != text::Help::none) {
        std::vector<text::HelpRow> rows;
        for (const Command& command : commands()) rows.push_back({command.name, command.help});
        return print_help(app, help_page(app, std::move(rows)), arguments, options.width);
    }
    return parse_and_run(app, config::rewrite_overrides(arguments, is_key), options, run_or_launch);
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
        const int code = isoflop::tools::dispatch({argv + 1, argv + argc});
        std::cout.flush();
        if (!std::cout && !isoflop::text::reader_has_left(STDOUT_FILENO))
            throw isoflop::IoError("standard output: could not be written");
        return code;
    } catch (const isoflop::Error& error) {
        std::cout.flush();
        const std::string message = isoflop::printable_lines(error.what());
        const bool located = message.find(": error: ") != std::string::npos;
        print_error((located ? "" : "error: ") + message);
        return static_cast<int>(error.exit_code());
    } catch (const std::bad_alloc&) {
        print_error("error: this machine has not enough memory for that");
        return static_cast<int>(isoflop::ExitCode::out_of_memory);
    } catch (const std::exception& error) {
        print_error("internal error: " + isoflop::printable_lines(error.what()));
        return static_cast<int>(isoflop::ExitCode::check_failed);
    }
}
