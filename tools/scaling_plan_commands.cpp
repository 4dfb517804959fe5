#include "scaling_plan_commands.hpp"

#include <fmt/format.h>

#include <array>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/planner/compat_dsc180_a06.hpp"
#include "isoflop/planner/emit_plan.hpp"
#include "isoflop/planner/model_analysis.hpp"
#include "isoflop/planner/planned_training.hpp"
#include "isoflop/recipe/architecture_value.hpp"
#include "isoflop/recipe/attention_resolution.hpp"
#include "isoflop/recipe/file_kind.hpp"
#include "isoflop/recipe/plan_keys.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "isoflop/report/compat_report.hpp"
#include "isoflop/report/list_report.hpp"
#include "isoflop/report/model_report.hpp"
#include "isoflop/report/model_types.hpp"
#include "isoflop/report/plan_plot.hpp"
#include "isoflop/report/plan_report.hpp"
#include "isoflop/validation/validation.hpp"
#include "scaling_plan_output.hpp"
#include "scaling_plan_support.hpp"

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

}  // namespace

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

namespace {

planner::compat::BackwardResult compat_backward(const PlanKeys& config, const BackwardPlan& exact) {
    if (!exact.solution.is_of_budget()) {
        throw ConfigError(
            "--compat dsc180_a06: the earlier system plans from GPUs and hours only; give "
            "training_gear.num_gpus and training_gear.available_hours, or leave --compat out");
    }
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

}  // namespace

void write_new_file(const std::string& path, const std::string& text) {
    if (!write_new_text_file(path, text))
        throw ConfigError(fmt::format("{}: exists already and is not overwritten", path));
}

namespace {

/// What a command writes beside its report.
struct ExtraOutput {
    OutputFile file;
    std::function<std::string()> text;
};

/// Files are written when all texts are made: a refused command leaves none.
void add_outputs(Result& result, const std::vector<ExtraOutput>& outputs) {
    std::vector<std::string> texts;
    texts.reserve(outputs.size());
    for (const ExtraOutput& output : outputs)
        texts.push_back(output.file.wanted() ? output.text() : std::string());
    for (std::size_t i = 0; i < outputs.size(); ++i)
        write_output_file(result, outputs[i].file, std::move(texts[i]));
}

/// Keys that describe the execution rather than the model, for `model FILE --batch_size=4`. Returns
/// a warning for each that has no effect.
std::vector<std::string> split_overrides(const std::vector<std::string>& overrides,
                                         std::vector<std::string>& model_overrides,
                                         PlanKeys& execution) {
    std::vector<std::string> warnings;
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
            if (is_without_effect(*path)) warnings.push_back(without_effect(key));
        }
    }
    return warnings;
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
    return fitted(report::model_text(analysis, text_options), options);
}

void warn_of_fallback(std::vector<std::string>& warnings, const planner::ModelAnalysis& analysis) {
    if (analysis.attention.fell_back())
        warnings.push_back(recipe::fallback_warning(analysis.attention));
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
    if (!is_imported) {
        if (std::string warning = recipe::use_vocabulary_of_data(keys); !warning.empty())
            result.warnings.push_back(std::move(warning));
    }
    const recipe::Machine machine =
        recipe::planned_machine({.automatic_device = recipe::likely_device()}, keys);
    const recipe::Recipe config =
        is_imported ? recipe::recipe_of(keys, model::read_model_file(imported).config, machine)
                    : recipe::recipe_of(keys, machine);
    const hardware::GpuTable table = gpu_table(options);
    const bool on_gpu = config.execution.device == cost::DeviceKind::cuda;
    const planner::ModelAnalysis analysis = planner::analyze_model(
        config.model, config.execution, *config.optimizer, recipe::resolve_attention(config),
        gpu_to_fit(on_gpu ? keys.run.gpu_type : std::string(), table, recipe::KeysOf::training));
    for (const std::string& assignment : options.overrides) {
        const std::string key = config::split_assignment(assignment).first;
        if (key == "expected_mfu") result.warnings.push_back(without_effect(key));
    }
    warn_of_fallback(result.warnings, analysis);
    const ReadAs read{FileKind::training, recipe::title(FileKind::training),
                      model::assumptions(keys.model, config.model)};
    result.output =
        analysis_output(analysis, with_convention(options, keys.run.flop_convention), read, result);
    return result;
}

}  // namespace

AnalysedModel analysed_model(const config::Document& file, const Options& options) {
    std::vector<std::string> model_overrides;
    PlanKeys execution_keys;
    AnalysedModel model;
    model.warnings = split_overrides(options.overrides, model_overrides, execution_keys);
    if (execution_keys.training_gear.num_gpus.is_asked()) {
        throw ConfigError(
            "training_gear.num_gpus: model has no budget to solve it from; give a number, or plan "
            "with scaling-plan backward");
    }
    model.description = model::read_model(file, model_overrides);
    model.convention = execution_keys.training_efficiency.flop_convention;
    const hardware::GpuTable table = gpu_table(options);
    model.analysis = planner::analyze_model(
        model.description.config, recipe::execution_of(execution_keys, model.description),
        recipe::optimizer_of(execution_keys), {},
        gpu_to_fit(execution_keys.training_gear.gpu_type, table, recipe::KeysOf::plan));
    if (!execution_keys.dataset_constraints.sequence_length)
        model.assumed_length = model.analysis.execution.sequence_length;
    model.warnings.insert(model.warnings.begin(), model.description.warnings.begin(),
                          model.description.warnings.end());
    warn_of_fallback(model.warnings, model.analysis);
    if (std::string note = recipe::training_context(execution_keys, model.description.config).note;
        !note.empty()) {
        model.warnings.push_back(std::move(note));
    }
    return model;
}

std::string_view format_title(const model::ModelDescription& description, FileKind kind) {
    return description.format.empty() ? recipe::title(kind) : description.format;
}

namespace {

Result analyse_model(const config::Document& file, const Options& options, FileKind kind) {
    const auto [description, analysis, convention, warnings, assumed_length] =
        analysed_model(file, options);
    Result result;
    result.warnings = warnings;
    if (wants_compat(options)) {
        const auto compat = planner::compat::analyze_model(
            description.config, description.keys.use_flash_attention.value_or(false));
        result.output =
            options.json
                ? dump(with_kind(report::compat_model_json(compat, analysis), kind))
                : fitted(report::compat_model_text(compat, analysis, options.colour), options);
        return result;
    }
    ReadAs read{kind, format_title(description, kind), model::assumptions(description)};
    if (assumed_length) read.assumed.push_back(fmt::format("sequence_length {}", *assumed_length));
    result.output = analysis_output(analysis, with_convention(options, convention), read, result);
    return result;
}

std::string plan_output(const BackwardPlan& plan, const PlanKeys& config, const Options& options,
                        FileKind kind) {
    report::PlanTextOptions text_options;
    text_options.file_kind = recipe::title(kind);
    text_options.colour = options.colour;
    text_options.show_breakdown = config.output_options.show_breakdown;
    text_options.verify_calculations = config.output_options.verify_calculations;
    text_options.all_conventions = options.all_conventions;
    text_options.quiet = options.quiet;
    text_options.convention = choice<cost::Convention>("--convention", options.convention);
    text_options.megatron_memory = wants_megatron(options);
    return options.json ? dump(with_kind(report::plan_json(plan), kind))
                        : fitted(report::plan_text(plan, text_options), options);
}

}  // namespace

namespace {

/// The earlier system's figures instead of the plan.
Result compat_result(const BackwardPlan& plan, const PlanKeys& config, const Options& options,
                     FileKind kind) {
    if (options.emit_train_config)
        throw ConfigError("--emit-train-config executes the exact plan; leave --compat out");
    if (options.emit_plan) {
        throw ConfigError("--emit-plan writes the advice of the exact plan; leave --compat out");
    }
    if (options.plot) throw ConfigError("--plot draws the exact plan; leave --compat out");
    const auto compat = compat_backward(config, plan);
    Result result;
    result.output =
        options.json ? dump(with_kind(report::compat_backward_json(compat, plan), kind))
                     : fitted(report::compat_backward_text(compat, plan, options.colour), options);
    return result;
}

}  // namespace

Result run_backward(const Options& options) {
    const OutputFile train_config{"--emit-train-config", options.emit_train_config};
    const OutputFile advised{"--emit-plan", options.emit_plan};
    const OutputFile plot{"--plot", options.plot};
    check_output_files(std::array{train_config, advised, plot}, options);
    config::Document document = config::read_jsonc_file(only_file(options, "backward"));
    const FileKind kind = recipe::file_kind(document).value_or(FileKind::plan);
    const PlanKeys config = recipe::read_plan_keys(std::move(document), options.overrides);
    const BackwardPlan plan = planner::backward_plan(config, gpu_table(options));
    if (wants_compat(options)) return compat_result(plan, config, options, kind);
    Result result;
    result.warnings = plan.warnings;
    result.output = plan_output(plan, config, options, kind);
    add_outputs(result, {{train_config, [&] { return planner::emit_planned_training(plan); }},
                         {advised, [&] { return planner::emit_advised_plan(plan); }},
                         {plot, [&] { return report::plan_plot_svg(plan); }}});
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
    result.output = options.json
                        ? dump(report::laws_json(scaling_law::laws()))
                        : fitted(report::laws_text(scaling_law::laws(), options.colour), options);
    return result;
}

Result run_gpus(const Options& options) {
    const hardware::GpuTable table = gpu_table(options);
    Result result;
    result.output =
        options.json ? dump(report::gpus_json(table))
                     : fitted(report::gpus_text(table, options.colour, width_of(options)), options);
    return result;
}

Result run_types(const Options& options) {
    const OutputFile markdown{"--markdown", options.markdown};
    check_output_files({&markdown, 1}, options);
    Result result;
    result.output =
        options.json ? dump(report::model_types_json())
                     : fitted(report::model_types_text(options.colour, width_of(options)), options);
    if (markdown.wanted()) write_output_file(result, markdown, report::model_types_markdown());
    return result;
}

Result run_validate(const Options& options) {
    std::vector<validation::ValidationCase> cases = validation::run_validation();
    const auto compat = validation::run_compat_validation();
    cases.insert(cases.end(), compat.begin(), compat.end());
    Result result;
    result.output = options.json ? dump(report::validation_json(cases))
                                 : fitted(report::validation_text(cases, options.colour,
                                                                  options.quiet, width_of(options)),
                                          options);
    for (const auto& item : cases) {
        if (!item.passed()) result.exit_code = static_cast<int>(ExitCode::check_failed);
    }
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
    return key == recipe::kArchitecture || recipe::plan_schema().resolve_path(key).has_value() ||
           model::model_schema().resolve_path(key).has_value() ||
           recipe::train_schema().resolve_path(key).has_value();
}

std::vector<std::string> config_keys() {
    std::vector<std::string> keys = recipe::plan_schema().paths();
    keys.emplace_back(recipe::kArchitecture);
    return keys;
}

std::string config_help(std::string_view command) {
    if (command == "model") {
        const model::ModelFile defaults;
        return config::help_text(model::model_schema(), &defaults) +
               "Keys of plans that describe the execution apply too: gpu_type, num_gpus, dtype, "
               "batch_size, attention_backend, recompute, parallelism, sequence_length, "
               "flop_convention (scaling-plan backward --help-all).\n";
    }
    const PlanKeys defaults;
    return config::help_text(recipe::plan_schema(), &defaults);
}

}  // namespace isoflop::tools
