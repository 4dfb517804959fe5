#include "run_outputs.hpp"

#include <fmt/format.h>

#include <filesystem>
#include <nlohmann/json.hpp>

namespace isoflop::trainer {
namespace {

run_log::ProgressOptions progress_options(const recipe::Recipe& config, text::Colour colour) {
    run_log::ProgressOptions options = run_log::progress_options_for_stdout();
    options.max_iters = config.max_iters;
    options.log_interval = config.keys.run.log_interval;
    options.colour = colour;
    return options;
}

nlohmann::ordered_json metadata_of(const recipe::Recipe& config) {
    return {{"world_size", config.world_size},
            {"device", config.execution.device == cost::DeviceKind::cuda ? "cuda" : "cpu"},
            {"dtype", to_string(config.execution.dtype)},
            {"compile", false},
            {"use_zero1", config.keys.execution.use_zero1},
            {"use_fsdp", config.keys.execution.use_fsdp}};
}

}  // namespace

RunOutputs::RunOutputs(const RunSetup& setup, std::ostream& console, text::Colour colour)
    : console_(console), progress_(console, progress_options(setup.plan.config, colour)) {}

void RunOutputs::open(const RunSetup& setup, const Hardware& hardware, std::int64_t iteration) {
    const recipe::RunKeys& keys = setup.plan.config.keys.run;
    run_log::RunLogOptions options;
    options.save_json = keys.save_log_to_json;
    options.log_save_interval = keys.log_save_interval;
    options.keep_boundary = true;  // step_N and evaluation N are after N iterations
    // A run that was lost before its first checkpoint left a log, which begins anew.
    if (setup.resumed || std::filesystem::exists(setup.place.folder / "metrics.jsonl")) {
        log_ = run_log::RunLog::resume(setup.place.folder, iteration, options);
    } else {
        log_ = run_log::RunLog::create(setup.place.folder, setup.place.name,
                                       config_record(setup.plan), metadata_of(setup.plan.config),
                                       startup_record(setup.plan, hardware), options);
        if (setup.tokenizer) data::save_tokenizer(*setup.tokenizer, setup.place.folder);
    }
    if (keys.tensorboard) {
        tensorboard_.emplace(setup.place.folder,
                             setup.resumed ? std::optional<std::int64_t>(iteration) : std::nullopt);
    }
    progress_.line(fmt::format("run {}", setup.place.folder.string()));
}

void RunOutputs::add(const run_log::IterationRecord& record) {
    if (log_) log_->add(record);
    if (tensorboard_) tensorboard_->add(record);
    progress_.iteration(record);
}

void RunOutputs::add(const run_log::EvalRecord& record, std::optional<double> best,
                     double pause_ms) {
    if (log_) log_->add(record);
    if (tensorboard_) tensorboard_->add(record);
    progress_.evaluation(record, best, pause_ms);
}

void RunOutputs::add(const run_log::CheckpointRecord& record, double pause_ms) {
    if (log_) log_->add(record);
    progress_.line(fmt::format("saved {}", record.path), pause_ms);
}

void RunOutputs::print(const std::string& text) {
    progress_.clear();
    console_ << text;
}

std::optional<run_log::SummaryRecord> RunOutputs::finish(run_log::EndState state) {
    if (!log_) return std::nullopt;
    return log_->finish(state);
}

}  // namespace isoflop::trainer
