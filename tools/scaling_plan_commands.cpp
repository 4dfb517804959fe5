#include "scaling_plan_commands.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/planner/compat_dsc180_a06.hpp"
#include "isoflop/planner/model_analysis.hpp"
#include "isoflop/planner/planned_training.hpp"
#include "isoflop/planner/sweep.hpp"
#include "isoflop/recipe/attention_resolution.hpp"
#include "isoflop/recipe/data_vocabulary.hpp"
#include "isoflop/recipe/file_kind.hpp"
#include "isoflop/recipe/plan_keys.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "isoflop/report/compat_report.hpp"
#include "isoflop/report/list_report.hpp"
#include "isoflop/report/model_report.hpp"
#include "isoflop/report/plan_plot.hpp"
#include "isoflop/report/plan_report.hpp"
#include "isoflop/validation/validation.hpp"

namespace isoflop::tools {
namespace {

using planner::BackwardPlan;
using recipe::FileKind;
using recipe::PlanKeys;

template <class T>
T choice(std::string_view option, const std::string& text) {
    if (const auto value = from_string<T>(text)) return *value;
    const auto names = all_names<T>();
    throw ConfigError(fmt::format("{} must be one of {}; found \"{}\"{}", option, join(names), text,
                                  suggestion(text, names)));
}

bool wants_megatron(const Options& options) {
    if (options.memory_model == "isoflop") return false;
    if (options.memory_model == "megatron") return true;
    throw ConfigError(fmt::format("--memory-model must be isoflop or megatron; found \"{}\"",
                                  options.memory_model));
}

bool wants_compat(const Options& options) {
    if (options.compat.empty()) return false;
    if (options.compat == "dsc180_a06") return true;
    throw ConfigError(
        fmt::format("--compat knows one system, dsc180_a06; found \"{}\"", options.compat));
}

hardware::GpuTable gpu_table(const Options& options) {
    return options.gpu_table.empty() ? hardware::GpuTable::builtin()
                                     : hardware::GpuTable::from_file(options.gpu_table);
}

const std::string& only_file(const Options& options, std::string_view command) {
    if (options.files.size() == 1) return options.files.front();
    throw ConfigError(fmt::format(
        "{} takes one configuration file; found {}. Example: scaling-plan {} configs/{}", command,
        options.files.size(), command,
        command == "model" ? "models/llama3_8b.jsonc" : "plan/hoffmann.jsonc"));
}

/// File names may hold bytes that are no UTF-8; JSON may not.
std::string dump(const nlohmann::ordered_json& json) {
    return printable_json(
               json.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace)) +
           "\n";
}

planner::compat::BackwardResult compat_backward(const PlanKeys& config, const BackwardPlan& exact) {
    planner::compat::BackwardInput input;
    const auto& gear = config.training_gear;
    if (gear.peak_flops_per_gpu) {
        input.peak_flops_per_gpu = *gear.peak_flops_per_gpu;
    } else {
        const auto peak = planner::compat::gpu_peak_flops(gear.gpu_type, gear.dtype);
        if (!peak) {
            throw ConfigError(fmt::format(
                "--compat dsc180_a06: the earlier system has no {} figure for '{}'; set "
                "training_gear.peak_flops_per_gpu, or leave --compat out",
                short_name(gear.dtype), gear.gpu_type));
        }
        input.peak_flops_per_gpu = *peak;
    }
    if (exact.law.form != scaling_law::Form::chinchilla) {
        throw ConfigError(
            fmt::format("--compat dsc180_a06: the earlier system has no law {}", exact.law.id));
    }
    if (!config.dataset_constraints.dataset_size) {
        throw ConfigError("--compat dsc180_a06 needs dataset_constraints.dataset_size");
    }
    input.num_gpus = exact.budget.num_gpus;
    input.available_hours = exact.budget.hours;
    input.expected_mfu = exact.budget.mfu;
    input.dataset_size = static_cast<double>(*config.dataset_constraints.dataset_size);
    input.max_epochs = config.dataset_constraints.max_epochs;
    input.sequence_length = static_cast<double>(exact.run.config.execution.sequence_length);
    input.law = exact.law.chinchilla;
    return planner::compat::backward(exact.run.config.model, input);
}

/// Writes a file that must not exist yet.
void write_new_file(const std::string& path, const std::string& text) {
    if (!write_new_text_file(path, text))
        throw ConfigError(fmt::format("{}: exists already and is not overwritten", path));
}

/// Keys that describe the execution rather than the model, for `model FILE --batch_size=4`.
void split_overrides(const std::vector<std::string>& overrides,
                     std::vector<std::string>& model_overrides, PlanKeys& execution) {
    for (const std::string& assignment : overrides) {
        const auto [key, value] = config::split_assignment(assignment);
        const auto path = recipe::plan_schema().resolve_path(key);
        constexpr std::string_view kModelSection = "architecture.";
        const bool of_model = !path || path->compare(0, kModelSection.size(), kModelSection) == 0;
        if (of_model) {
            model_overrides.push_back(key.compare(0, kModelSection.size(), kModelSection) == 0
                                          ? assignment.substr(kModelSection.size())
                                          : assignment);
        } else {
            recipe::plan_schema().set(execution, key, value);
        }
    }
}

/// The report of a command, with what its file was read as.
nlohmann::ordered_json with_kind(nlohmann::ordered_json json, FileKind kind) {
    json["file_kind"] = to_string(kind);
    return json;
}

/// How a model file was understood.
struct ReadAs {
    FileKind kind{};
    std::string_view title;            ///< another program's format, else of the kind
    std::vector<std::string> assumed;  ///< what the file does not say
};

std::string analysis_output(const planner::ModelAnalysis& analysis, const Options& options,
                            const ReadAs& read, const Result& result) {
    if (options.json) {
        nlohmann::ordered_json json = with_kind(report::model_json(analysis), read.kind);
        json["read_as"] = read.title;
        json["assumed"] = read.assumed;
        json["warnings"] = result.warnings;
        return dump(json);
    }
    report::ModelTextOptions text_options;
    text_options.file_kind = read.title;
    text_options.assumed = read.assumed;
    text_options.colour = options.colour;
    text_options.all_conventions = options.all_conventions;
    text_options.quiet = options.quiet;
    text_options.convention = choice<cost::Convention>("--convention", options.convention);
    text_options.megatron_memory = wants_megatron(options);
    return report::model_text(analysis, text_options);
}

void warn_of_fallback(Result& result, const planner::ModelAnalysis& analysis) {
    if (analysis.attention.fell_back())
        result.warnings.push_back(recipe::fallback_warning(analysis.attention));
}

/// Planned as `train --dry-run` plans it for one rank: the memory tables are the same.
Result analyse_training(const config::Document& file, const Options& options) {
    if (wants_compat(options))
        throw ConfigError("--compat dsc180_a06 analyses model configs, not training configs");
    Result result;
    recipe::TrainKeys keys = recipe::read_train_keys(file, options.overrides);
    const std::filesystem::path imported =
        std::filesystem::path(keys.run.init_from) / "config.json";
    const bool is_imported = std::filesystem::exists(imported);
    if (!keys.model.vocab_size && !is_imported) {
        try {
            const std::int64_t vocabulary = recipe::data_vocab_size(keys.data);
            if (vocabulary > 0) keys.model.vocab_size = vocabulary;
        } catch (const IoError& error) {
            result.warnings.push_back(
                fmt::format("the vocabulary of the preset is used: {}", error.what()));
        }
    }
    const recipe::Machine machine{.automatic_device = recipe::likely_device()};
    const recipe::Recipe config =
        is_imported ? recipe::recipe_of(keys, model::read_model_file(imported).config, machine)
                    : recipe::recipe_of(keys, machine);
    const planner::ModelAnalysis analysis = planner::analyze_model(
        config.model, config.execution, *config.optimizer, recipe::resolve_attention(config));
    warn_of_fallback(result, analysis);
    const ReadAs read{FileKind::training, recipe::title(FileKind::training),
                      model::assumptions(keys.model, config.model)};
    result.output = analysis_output(analysis, options, read, result);
    return result;
}

Result analyse_model(const config::Document& file, const Options& options, FileKind kind) {
    std::vector<std::string> model_overrides;
    PlanKeys execution_keys;
    split_overrides(options.overrides, model_overrides, execution_keys);
    const model::ModelDescription description = model::read_model(file, model_overrides);
    const planner::ModelAnalysis analysis = planner::analyze_model(
        description.config, recipe::execution_of(execution_keys, description),
        recipe::optimizer_of(execution_keys));
    Result result;
    result.warnings = description.warnings;
    warn_of_fallback(result, analysis);
    if (std::string note = recipe::training_context(execution_keys, description.config).note;
        !note.empty()) {
        result.warnings.push_back(std::move(note));
    }
    if (wants_compat(options)) {
        const auto compat = planner::compat::analyze_model(
            description.config, description.keys.use_flash_attention.value_or(false));
        result.output = options.json
                            ? dump(with_kind(report::compat_model_json(compat, analysis), kind))
                            : report::compat_model_text(compat, analysis, options.colour);
        return result;
    }
    const ReadAs read{kind, description.format.empty() ? recipe::title(kind) : description.format,
                      model::assumptions(description)};
    result.output = analysis_output(analysis, options, read, result);
    return result;
}

std::string plan_output(const BackwardPlan& plan, const PlanKeys& config, const Options& options) {
    report::PlanTextOptions text_options;
    text_options.file_kind = recipe::title(FileKind::plan);
    text_options.colour = options.colour;
    text_options.show_breakdown = config.output_options.show_breakdown;
    text_options.verify_calculations = config.output_options.verify_calculations;
    text_options.all_conventions = options.all_conventions;
    text_options.quiet = options.quiet;
    text_options.convention = choice<cost::Convention>("--convention", options.convention);
    text_options.megatron_memory = wants_megatron(options);
    return options.json ? dump(with_kind(report::plan_json(plan), FileKind::plan))
                        : report::plan_text(plan, text_options);
}

}  // namespace

Result run_backward(const Options& options) {
    const PlanKeys config =
        recipe::read_plan_keys(only_file(options, "backward"), options.overrides);
    const BackwardPlan plan = planner::backward_plan(config, gpu_table(options));
    Result result;
    if (wants_compat(options)) {
        if (!options.emit_train_config.empty()) {
            throw ConfigError("--emit-train-config executes the exact plan; leave --compat out");
        }
        if (!options.plot.empty()) {
            throw ConfigError("--plot draws the exact plan; leave --compat out");
        }
        const auto compat = compat_backward(config, plan);
        result.output =
            options.json
                ? dump(with_kind(report::compat_backward_json(compat, plan), FileKind::plan))
                : report::compat_backward_text(compat, plan, options.colour);
        return result;
    }
    result.warnings = plan.warnings;
    if (options.emit_train_config.empty() && options.emits_train_config)
        throw ConfigError("--emit-train-config takes a file name, or - for standard output");
    // Files are written last: a refused command leaves none.
    result.output = plan_output(plan, config, options);
    const bool emits = !options.emit_train_config.empty();
    const std::string train_config = emits ? planner::emit_planned_training(plan) : std::string();
    if (!options.plot.empty()) write_new_file(options.plot, report::plan_plot_svg(plan));
    if (options.emit_train_config == "-")
        result.output = train_config;
    else if (emits)
        write_new_file(options.emit_train_config, train_config);
    return result;
}

Result run_model(const Options& options) {
    const std::string& file = only_file(options, "model");
    const config::Document document = config::read_jsonc_file(file);
    recipe::refuse_other_kinds(document,
                               {FileKind::training, FileKind::model, FileKind::hugging_face});
    const FileKind kind = recipe::file_kind(document).value_or(FileKind::model);
    return kind == FileKind::training ? analyse_training(document, options)
                                      : analyse_model(document, options, kind);
}

Result run_laws(const Options& options) {
    Result result;
    result.output = options.json ? dump(report::laws_json(scaling_law::laws()))
                                 : report::laws_text(scaling_law::laws(), options.colour);
    return result;
}

Result run_gpus(const Options& options) {
    const hardware::GpuTable table = gpu_table(options);
    Result result;
    result.output =
        options.json ? dump(report::gpus_json(table)) : report::gpus_text(table, options.colour);
    return result;
}

Result run_validate(const Options& options) {
    std::vector<validation::ValidationCase> cases = validation::run_validation();
    const auto compat = validation::run_compat_validation();
    cases.insert(cases.end(), compat.begin(), compat.end());
    Result result;
    result.output = options.json ? dump(report::validation_json(cases))
                                 : report::validation_text(cases, options.colour, options.quiet);
    for (const auto& item : cases) {
        if (!item.passed()) result.exit_code = static_cast<int>(ExitCode::check_failed);
    }
    return result;
}

/// Of tables that are written to files and pipes.
constexpr std::size_t kFileWidth = 100;

Result run_compare(const Options& options) {
    if (options.files.empty()) {
        throw ConfigError(
            "compare takes configuration files. Example: scaling-plan compare "
            "configs/plan/*.jsonc");
    }
    const hardware::GpuTable table = gpu_table(options);
    std::vector<report::NamedPlan> plans;
    Result result;
    for (const std::string& file : options.files) {
        const PlanKeys config = recipe::read_plan_keys(file, options.overrides);
        report::NamedPlan named{std::filesystem::path(file).stem().string(),
                                planner::backward_plan(config, table)};
        for (const std::string& warning : named.plan.warnings) {
            result.warnings.push_back(fmt::format("{}: {}", named.name, warning));
        }
        plans.push_back(std::move(named));
    }
    result.output = options.json ? dump(report::comparison_json(plans))
                                 : report::comparison_text(plans, options.colour,
                                                           options.width.value_or(kFileWidth));
    return result;
}

Result run_sweep(const Options& options) {
    if (options.sweep_axes.empty()) {
        throw ConfigError(
            "sweep needs at least one --over KEY=VALUES. Example: scaling-plan sweep --over "
            "training_gear.num_gpus=8,16,32 configs/plan/hoffmann.jsonc");
    }
    // Values swept over may be missing from the file.
    std::vector<planner::SweepAxis> axes;
    std::vector<std::string> overrides = options.overrides;
    for (const std::string& text : options.sweep_axes) {
        axes.push_back(planner::parse_axis(text));
        overrides.push_back(fmt::format("{}={}", axes.back().path, axes.back().values.front()));
    }
    const PlanKeys config = recipe::read_plan_keys_unchecked(
        config::read_jsonc_file(only_file(options, "sweep")), overrides);
    const report::SweepTable table(axes);
    Result result;
    bool first = true;
    result.output = options.json ? "{\"kind\":\"sweep\",\"rows\":[\n" : table.header();
    planner::sweep(config, axes, gpu_table(options), [&](const planner::SweepRow& row) {
        if (options.json) {
            if (!first) result.output += ",\n";
            table.append_json(result.output, row);
        } else {
            table.append_row(result.output, row);
        }
        first = false;
    });
    if (options.json) result.output += "\n]}\n";
    return result;
}

Result run_schema(const Options& options) {
    const PlanKeys plan_defaults;
    const model::ModelFile model_defaults;
    Result result;
    if (options.subject == "plan") {
        result.output = config::json_schema(recipe::plan_schema(), &plan_defaults);
    } else if (options.subject == "model") {
        result.output = config::json_schema(model::model_schema(), &model_defaults);
    } else if (options.subject == "markdown") {
        result.output =
            "# Configuration\n\nGenerated by `scaling-plan schema markdown`; do not edit.\n\n" +
            config::markdown(recipe::plan_schema(), &plan_defaults) + "\n" +
            config::markdown(model::model_schema(), &model_defaults);
    } else {
        throw ConfigError(
            fmt::format("schema takes plan, model or markdown; found \"{}\"", options.subject));
    }
    return result;
}

bool is_config_key(std::string_view key) {
    return recipe::plan_schema().resolve_path(key).has_value() ||
           model::model_schema().resolve_path(key).has_value() ||
           recipe::train_schema().resolve_path(key).has_value();
}

std::vector<std::string> config_keys() {
    return recipe::plan_schema().paths();
}

std::string config_help(std::string_view command) {
    if (command == "model") {
        const model::ModelFile defaults;
        return config::help_text(model::model_schema(), &defaults);
    }
    const PlanKeys defaults;
    return config::help_text(recipe::plan_schema(), &defaults);
}

}  // namespace isoflop::tools
