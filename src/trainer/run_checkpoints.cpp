#include "run_checkpoints.hpp"

#include <algorithm>
#include <chrono>
#include <cmath>

namespace isoflop::trainer {
namespace fs = std::filesystem;

using Clock = std::chrono::steady_clock;

RunCheckpoints::RunCheckpoints(const RunSetup& setup, Session& session, bool is_first_rank)
    : setup_(setup), session_(session), is_first_rank_(is_first_rank) {
    if (!setup.resumed) return;
    saved_at_ = setup.resumed_state.iteration;
    folder_ = setup.resumed->directory();
    best_ = setup.resumed_state.best_validation_loss;
    if (const auto loss = setup.resumed->validation_loss()) note_loss(saved_at_, *loss);
    if (setup.resumption.starts_best_anew) best_.reset();
}

nlohmann::ordered_json RunCheckpoints::state(std::int64_t iteration) const {
    TrainerState state;
    state.iteration = iteration;
    state.updates = session_.updates();
    state.loss_scale = session_.loss_scale();
    state.updates_at_loss_scale = session_.updates_at_loss_scale();
    state.best_validation_loss = best_;
    if (evaluated_at_ == iteration) state.validation_loss = loss_;
    state.attention = setup_.attention;
    state.imported_model = setup_.imported_model;
    add_to_state(setup_.plan.config, setup_.data,
                 {setup_.start.lr_decay_iters_of_keys, session_.samples_before(iteration)}, state);
    return to_json(state);
}

checkpoint::CheckpointOptions RunCheckpoints::options() const {
    checkpoint::CheckpointOptions options;
    options.keep_checkpoints = setup_.plan.config.keys.run.keep_checkpoints;
    options.lineage = setup_.lineage;
    return options;
}

void RunCheckpoints::save(std::int64_t iteration, run_log::RunLog& log, Record record) {
    if (has(iteration)) return;
    const Clock::time_point start = Clock::now();
    setup_.lock.check_now();
    folder_ = session_.save(setup_.place.folder, iteration, state(iteration), options());
    saved_at_ = iteration;
    pause_ms_ = std::chrono::duration<double, std::milli>(Clock::now() - start).count();
    if (record == Record::now) log_checkpoint(iteration, log);
}

void RunCheckpoints::log_checkpoint(std::int64_t iteration, run_log::RunLog& log) {
    log.add(run_log::CheckpointRecord{.iter = iteration,
                                      .val_loss = evaluated_at_ == iteration ? loss_ : std::nullopt,
                                      .path = folder_.string(),
                                      .timestamp = run_log::timestamp_now(),
                                      .pause_ms = pause_ms_});
}

bool RunCheckpoints::note_loss(std::int64_t iteration, double validation_loss) {
    evaluated_at_ = iteration;
    loss_.reset();
    if (!std::isfinite(validation_loss)) return false;
    loss_ = validation_loss;
    if (best_ && validation_loss >= *best_) return false;
    best_ = validation_loss;
    return true;
}

void RunCheckpoints::add_loss_to_checkpoint(std::int64_t iteration, run_log::RunLog& log) {
    if (is_first_rank_ && loss_)
        checkpoint::replace_state(setup_.place.folder, iteration, state(iteration), options());
    log_checkpoint(iteration, log);
}

std::optional<fs::path> RunCheckpoints::keep_until(std::int64_t iteration) const {
    const auto entries = checkpoint::undamaged_checkpoints(setup_.place.folder);
    const auto sound = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) {
        return entry.step <= iteration && entry.lineage == setup_.lineage;
    });
    if (sound == entries.end()) return std::nullopt;
    if (is_first_rank_)
        checkpoint::set_aside_after(setup_.place.folder, sound->step, setup_.lineage);
    return sound->path;
}

}  // namespace isoflop::trainer
