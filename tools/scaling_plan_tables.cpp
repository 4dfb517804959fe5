// The commands that print tables: compare and sweep, as text, JSON, CSV and Markdown.
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <optional>

#include "isoflop/base/error.hpp"
#include "isoflop/planner/backward_plan.hpp"
#include "isoflop/planner/sweep.hpp"
#include "isoflop/recipe/plan_keys.hpp"
#include "isoflop/report/model_comparison.hpp"
#include "isoflop/report/plan_report.hpp"
#include "isoflop/report/sweep_table.hpp"
#include "scaling_plan_output.hpp"
#include "scaling_plan_support.hpp"

namespace isoflop::tools {
namespace {

using recipe::FileKind;
using recipe::PlanKeys;

OutputFile csv_file(const Options& options) {
    return {"--csv", options.csv};
}
OutputFile markdown_file(const Options& options) {
    return {"--markdown", options.markdown};
}

/// Before anything is computed; a refused command writes no file.
void check_table_files(const Options& options) {
    check_output_files(std::array{csv_file(options), markdown_file(options)}, options);
}

/// The texts of one table; those that are not wanted are empty.
struct TableTexts {
    std::string standard_output = {};  ///< text or JSON
    std::string csv = {};
    std::string markdown = {};
};

bool prints_table_file(const Options& options) {
    return csv_file(options).printed() || markdown_file(options).printed();
}

void write_tables(Result& result, TableTexts texts, const Options& options) {
    result.output = std::move(texts.standard_output);
    write_output_file(result, csv_file(options), std::move(texts.csv));
    write_output_file(result, markdown_file(options), std::move(texts.markdown));
}

/// A file of the command line, read once.
struct NamedDocument {
    std::string name;
    config::Document document;
    FileKind kind{};
};

/// Names of files without folder and extension, with as much of the path as tells them apart:
/// files of Hugging Face are all config.json.
std::vector<std::string> short_names(const std::vector<std::string>& files) {
    std::vector<std::string> names;
    names.reserve(files.size());
    for (const std::string& file : files)
        names.push_back(std::filesystem::path(file).stem().string());
    const std::vector<std::string> stems = names;
    for (std::size_t i = 0; i < files.size(); ++i) {
        if (std::count(stems.begin(), stems.end(), stems[i]) < 2) continue;
        const std::string folder =
            std::filesystem::path(files[i]).parent_path().filename().string();
        if (!folder.empty()) names[i] = folder + "/" + stems[i];
    }
    return names;
}

std::vector<NamedDocument> read_documents(const Options& options) {
    const std::vector<std::string> names = short_names(options.files);
    std::vector<NamedDocument> documents;
    for (std::size_t i = 0; i < options.files.size(); ++i) {
        NamedDocument named{names[i], config::read_jsonc_file(options.files[i])};
        recipe::refuse_other_kinds(named.document,
                                   {FileKind::plan, FileKind::model, FileKind::hugging_face});
        named.kind = recipe::file_kind(named.document).value_or(FileKind::plan);
        documents.push_back(std::move(named));
    }
    return documents;
}

bool is_plan(const NamedDocument& named) {
    return named.kind == FileKind::plan;
}

/// A key that belongs to a plan and neither to a model nor to how a step of it executes: with it,
/// model files are planned instead of analysed.
bool sets_a_budget(const std::string& assignment) {
    constexpr std::string_view kOfExecution[] = {"training_gear.num_gpus",
                                                 "training_gear.dtype",
                                                 "training_efficiency.batch_size",
                                                 "training_efficiency.gradient_accumulation_steps",
                                                 "training_efficiency.use_flash_attention",
                                                 "training_efficiency.attention_backend",
                                                 "training_efficiency.recompute",
                                                 "training_efficiency.parallelism",
                                                 "training_efficiency.gradient_dtype",
                                                 "training_efficiency.loss_chunk",
                                                 "dataset_constraints.sequence_length"};
    const auto path =
        recipe::plan_schema().resolve_path(config::split_assignment(assignment).first);
    if (!path || path->substr(0, path->find('.')) == recipe::kArchitecture) return false;
    return std::find(std::begin(kOfExecution), std::end(kOfExecution), *path) ==
           std::end(kOfExecution);
}

Result compare_models(std::span<const NamedDocument> documents, const Options& options) {
    std::vector<report::NamedModel> models;
    Result result;
    for (const NamedDocument& named : documents) {
        AnalysedModel model = analysed_model(named.document, options);
        for (const std::string& warning : model.warnings)
            result.warnings.push_back(fmt::format("{}: {}", named.name, warning));
        models.push_back({named.name, std::string(to_string(named.kind)),
                          std::string(format_title(model.description, named.kind)),
                          model::assumptions(model.description), std::move(model.warnings),
                          std::move(model.analysis)});
    }
    TableTexts texts;
    if (options.json)
        texts.standard_output = dump(report::model_comparison_json(models));
    else if (!prints_table_file(options))
        texts.standard_output =
            report::model_comparison_text(models, options.colour, width_of(options));
    if (options.csv) texts.csv = report::model_comparison_csv(models);
    if (options.markdown) texts.markdown = report::model_comparison_markdown(models);
    write_tables(result, std::move(texts), options);
    return result;
}

/// A model file among plans has everything but its architecture from the first of them.
PlanKeys plan_keys_of(const NamedDocument& named, std::span<const NamedDocument> documents,
                      const std::vector<std::string>& overrides) {
    const auto plan = std::find_if(documents.begin(), documents.end(), is_plan);
    if (is_plan(named) || plan == documents.end())
        return recipe::read_plan_keys(named.document, overrides);
    return recipe::read_plan_keys(plan->document, overrides, named.document);
}

Result compare_plans(std::span<const NamedDocument> documents, const Options& options) {
    const hardware::GpuTable table = gpu_table(options);
    std::vector<report::NamedPlan> plans;
    Result result;
    for (const NamedDocument& named : documents) {
        try {
            const PlanKeys config = plan_keys_of(named, documents, options.overrides);
            plans.push_back({named.name, planner::backward_plan(config, table)});
        } catch (const ConfigError& error) {
            const std::string_view message = error.what();
            if (message.find(": error: ") != std::string_view::npos) throw;  // names its file
            throw ConfigError(fmt::format("{}: {}", named.name, message));
        }
        for (const std::string& warning : plans.back().plan.warnings)
            result.warnings.push_back(fmt::format("{}: {}", named.name, warning));
    }
    TableTexts texts;
    if (options.json)
        texts.standard_output = dump(report::comparison_json(plans));
    else if (!prints_table_file(options))
        texts.standard_output = report::comparison_text(plans, options.colour, width_of(options));
    if (options.csv) texts.csv = report::comparison_csv(plans);
    if (options.markdown) texts.markdown = report::comparison_markdown(plans);
    write_tables(result, std::move(texts), options);
    return result;
}

std::vector<planner::SweepAxis> axes_of(const Options& options) {
    std::vector<planner::SweepAxis> axes;
    for (const SweepOption& option : options.sweep_axes) {
        if (option.with)
            planner::parse_with(axes, option.text);
        else
            axes.push_back(planner::parse_axis(option.text));
    }
    return axes;
}

/// The sweep sets these keys at every point, so that another value has no effect.
void refuse_swept_keys(const std::vector<std::string>& overrides,
                       std::span<const planner::SweepAxis> axes) {
    for (const std::string& assignment : overrides) {
        const std::string key = config::split_assignment(assignment).first;
        const std::string path = recipe::plan_schema().resolve_path(key).value_or(key);
        for (const planner::SweptKey& swept : planner::swept_keys(axes)) {
            if (swept.key->path != path) continue;
            throw ConfigError(fmt::format(
                "{0} is set to a value and swept; leave one of --set {1} and --over {0} out", path,
                assignment));
        }
    }
}

/// Energy and money are of interest where the plan or the command says something about them.
bool shows_costs(const PlanKeys& config, std::span<const planner::SweptKey> keys) {
    const bool sweeps_costs =
        std::any_of(keys.begin(), keys.end(), [](const planner::SweptKey& swept) {
            return swept.key->path.starts_with("cost_assumptions.");
        });
    return sweeps_costs || config.cost_assumptions != recipe::CostAssumptions();
}

/// Some point has a limit of the data.
bool limits_data(const PlanKeys& config, std::span<const planner::SweptKey> keys) {
    return config.dataset_constraints.dataset_size.has_value() ||
           std::any_of(keys.begin(), keys.end(), [](const planner::SweptKey& swept) {
               return swept.key->path == "dataset_constraints.dataset_size";
           });
}

void check_markdown_size(std::span<const planner::SweepAxis> axes, const Options& options) {
    double points = 1;
    for (const planner::SweepAxis& axis : axes) points *= static_cast<double>(axis.values.size());
    if (options.markdown && points > static_cast<double>(report::kMaxMarkdownRows)) {
        throw ConfigError(
            fmt::format("--markdown takes at most {} rows; this sweep has {:.0f}, "
                        "which --csv can write",
                        report::kMaxMarkdownRows, points));
    }
}

/// A sweep without a plan ends as the plan of its point does.
class PlannedPoints {
public:
    void add(const planner::SweepRow& row) {
        if (count_++ == 0) first_refusal_ = row.refusal;
        any_ = any_ || row.refusal.empty();
    }
    void require_one() const {
        if (any_) return;
        if (count_ == 1) throw ConfigError(first_refusal_);
        throw ConfigError(
            fmt::format("{}\nNone of the {} points of the sweep can be planned; this is the reason "
                        "of the first.",
                        first_refusal_, count_));
    }

private:
    std::size_t count_ = 0;
    std::string first_refusal_ = {};
    bool any_ = false;
};

TableTexts sweep_texts(const PlanKeys& config, std::span<const planner::SweepAxis> axes,
                       const Options& options) {
    const planner::SolvedColumns solved = planner::solved_columns(config, axes);
    const report::SweepTable table(axes,
                                   {.num_gpus = solved.num_gpus,
                                    .available_hours = solved.available_hours,
                                    .costs = shows_costs(config, planner::swept_keys(axes)),
                                    .data = limits_data(config, planner::swept_keys(axes))},
                                   width_of(options));
    TableTexts texts;
    std::vector<planner::SweepRow> rows;  // for Markdown, whose columns are as wide as the widest
    const bool prints_text = !options.json && !prints_table_file(options);
    bool first = true;
    PlannedPoints points;
    if (options.json) texts.standard_output = "{\"kind\":\"sweep\",\"rows\":[\n";
    if (prints_text) texts.standard_output = table.header();
    if (options.csv) texts.csv = table.csv_header();
    planner::sweep(config, axes, gpu_table(options), [&](const planner::SweepRow& row) {
        if (options.json) {
            if (!first) texts.standard_output += ",\n";
            table.append_json(texts.standard_output, row);
        }
        if (prints_text) table.append_row(texts.standard_output, row);
        if (options.csv) table.append_csv(texts.csv, row);
        if (options.markdown) rows.push_back(row);
        first = false;
        points.add(row);
    });
    points.require_one();
    if (options.json) texts.standard_output += "\n]}\n";
    if (prints_text) texts.standard_output += table.footer();
    if (options.markdown) texts.markdown = table.markdown(rows);
    return texts;
}

}  // namespace

Result run_compare(const Options& options) {
    if (options.files.empty()) {
        throw ConfigError(
            "compare takes configuration files. Example: scaling-plan compare "
            "configs/plan/*.jsonc");
    }
    check_table_files(options);
    const std::vector<NamedDocument> documents = read_documents(options);
    const bool plans =
        std::any_of(documents.begin(), documents.end(), is_plan) ||
        std::any_of(options.overrides.begin(), options.overrides.end(), sets_a_budget);
    return plans ? compare_plans(documents, options) : compare_models(documents, options);
}

Result run_sweep(const Options& options) {
    if (options.sweep_axes.empty()) {
        throw ConfigError(
            "sweep needs at least one --over KEY=VALUES. Example: scaling-plan sweep --over "
            "training_gear.num_gpus=8,16,32 configs/plan/hoffmann.jsonc");
    }
    check_table_files(options);
    const std::vector<planner::SweepAxis> axes = axes_of(options);
    check_markdown_size(axes, options);
    refuse_swept_keys(options.overrides, axes);
    // Values swept over may be missing from the file.
    std::vector<std::string> overrides = options.overrides;
    for (const planner::SweptKey& swept : planner::swept_keys(axes))
        overrides.push_back(
            fmt::format("{}={}", swept.key->path, planner::first_value(*swept.key)));
    const PlanKeys config = recipe::read_plan_keys_unchecked(
        config::read_jsonc_file(only_file(options, "sweep")), overrides);
    Result result;
    result.warnings = config.notes;
    write_tables(result, sweep_texts(config, axes, options), options);
    return result;
}

}  // namespace isoflop::tools
