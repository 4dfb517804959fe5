#include "open_run_log.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <system_error>

#include "isoflop/base/file.hpp"
#include "isoflop/checkpoint/companion_files.hpp"
#include "isoflop/config/json.hpp"

namespace isoflop::trainer {
namespace {

run_log::ProgressOptions progress_options(const recipe::Recipe& config, text::Colour colour) {
    run_log::ProgressOptions options = run_log::progress_options_for_stdout();
    options.max_iters = config.max_iters;
    options.log_interval = config.keys.run.log_interval;
    options.colour = colour;
    return options;
}

constexpr const char* kLineageKey = "lineage";

nlohmann::ordered_json metadata_of(const recipe::Recipe& config, const std::string& lineage) {
    nlohmann::ordered_json metadata = {
        {"world_size", config.world_size},
        {"device", config.execution.device == cost::DeviceKind::cuda ? "cuda" : "cpu"},
        {"dtype", to_string(config.execution.dtype)},
        {"compile", false},
        {"use_zero1", config.keys.execution.use_zero1},
        {"use_fsdp", config.keys.execution.use_fsdp}};
    if (!lineage.empty()) metadata[kLineageKey] = lineage;
    return metadata;
}

/// What came with the model that the run starts from; empty for one from scratch.
std::filesystem::path companions_of(const RunSetup& setup) {
    if (setup.hugging_face) return setup.hugging_face->directory();
    if (setup.initial_weights)
        return checkpoint::companion_folder(setup.initial_weights->directory());
    return {};
}

}  // namespace

std::string lineage_of_log(const std::filesystem::path& run) {
    const std::filesystem::path path = run / "metrics.jsonl";
    std::error_code error;
    if (!std::filesystem::exists(path, error)) return {};
    (void)open_regular_file(path);  // refuses anything else, which reading might wait for
    std::ifstream log(path);
    std::string line;
    std::getline(log, line);
    const auto header = config::try_parse_json(line).value_or(nlohmann::ordered_json());
    const nlohmann::ordered_json::json_pointer place(fmt::format("/metadata/{}", kLineageKey));
    if (!header.contains(place) || !header.at(place).is_string()) return {};
    return header.at(place).get<std::string>();
}

run_log::RunLog open_run_log(const RunSetup& setup, const Hardware& hardware, const LogStart& start,
                             std::ostream& console, text::Colour colour) {
    const recipe::RunKeys& keys = setup.plan.config.keys.run;
    run_log::RunLogOptions options;
    options.save_json = keys.save_log_to_json;
    options.log_save_interval = keys.log_save_interval;
    // step_N and evaluation N are after N iterations.
    options.keep_boundary = !start.evaluates_checkpoint;
    for (const recipe::KeyChange& change : setup.resumption.changes)
        options.changes.push_back({change.key, change.before, change.now});
    options.notes = setup.resumption.notes;
    options.tensorboard = keys.tensorboard;
    options.console = &console;
    options.progress = progress_options(setup.plan.config, colour);
    // A run that was lost before its first checkpoint left a log, which begins again. An imported
    // model has none yet.
    const bool is_new =
        start.iteration == 0 && !std::filesystem::exists(setup.place.folder / "metrics.jsonl");
    if (!is_new) return run_log::RunLog::resume(setup.place.folder, start.iteration, options);
    run_log::RunLog log =
        run_log::RunLog::create(setup.place.folder, setup.place.name, config_record(setup.plan),
                                metadata_of(setup.plan.config, setup.lineage),
                                startup_record(setup.plan, hardware), options);
    if (setup.tokenizer) data::save_tokenizer(*setup.tokenizer, setup.place.folder);
    if (const auto companions = companions_of(setup); !companions.empty()) {
        checkpoint::copy_companion_files(companions,
                                         setup.place.folder / checkpoint::kCompanionFolder);
    }
    return log;
}

}  // namespace isoflop::trainer
