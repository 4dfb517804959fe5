#include "isoflop/trainer/train_loop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <exception>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ostream>

#include "dry_run.hpp"
#include "host_cores.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/stop.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/comm/launcher_watch.hpp"
#include "isoflop/data/token_dataset.hpp"
#include "isoflop/data/tokenizer.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/run_log/progress.hpp"
#include "isoflop/run_log/run_log.hpp"
#include "isoflop/text/fit.hpp"
#include "isoflop/trained_model/loaded_model.hpp"
#include "isoflop/trainer/sampling.hpp"
#include "isoflop/trainer/schedule.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "iteration_records.hpp"
#include "open_run_log.hpp"
#include "run_checkpoints.hpp"
#include "run_setup.hpp"
#include "world.hpp"

namespace isoflop::trainer {

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kMostSkippedInARow = 10;
/// Training samples for the train loss of an evaluation: far beyond the samples of any run, so that
/// the windows differ.
constexpr std::uint64_t kTrainEvaluationStart = 1ULL << 40U;

double milliseconds(Clock::time_point from, Clock::time_point to) {
    return std::chrono::duration<double, std::milli>(to - from).count();
}

/// Figures of all ranks together: all ranks measure at the same time.
Hardware measure_all_ranks(Session& session) {
    Hardware hardware = measure_hardware(session.context(), session.plan().config.execution.dtype);
    comm::Communicator* const ranks = session.communicator();
    if (ranks == nullptr) return hardware;
    if (hardware.gpu) {
        const std::vector<double> peaks = ranks->gather_values({&hardware.peak_flops, 1});
        hardware.peak_flops = std::accumulate(peaks.begin(), peaks.end(), 0.0);
        return hardware;
    }
    const RankCores mine = cores_of_this_rank(hardware.threads, hardware.peak_flops);
    const std::vector<double> all = ranks->gather_values(to_values(mine));
    share_cores(hardware, hosts_of(from_values(all, ranks->size())));
    return hardware;
}

class Run {
public:
    Run(RunSetup setup, const World& world, device::ThreadPool& pool,
        const RunEnvironment& environment)
        : setup_(std::move(setup)),
          world_(world),
          environment_(environment),
          session_(setup_.plan, pool, world.connector(setup_.plan.config.execution, *setup_.device),
                   *setup_.device),
          hardware_(measure_all_ranks(session_)),
          train_samples_(setup_.train_data, config().execution.sequence_length,
                         static_cast<std::uint64_t>(config().keys.execution.seed)),
          validation_samples_(validation_windows()),
          checkpoints_(setup_, session_, world.is_first()),
          records_(setup_, session_, hardware_) {}

    ExitCode execute() {
        setup_.plan.attention.run_by = session_.attention_run_by();
        environment_.out << text::fit_lines(
                                startup_text(setup_.plan, hardware_, setup_.memory,
                                             environment_.colour, environment_.file_kind),
                                environment_.width)
                         << '\n';
        warn_of_shared_cores(hardware_, environment_.out);
        set_initial_state();
        if (config().keys.run.eval_only) {
            environment_.out << run_log::evaluation_line(evaluate(), checkpoints_.best(),
                                                         environment_.colour)
                             << '\n';
            return ExitCode::ok;
        }
        (void)world_.from_first("free disk space", [&] {
            check_disk_space(setup_, iteration_);
            return std::string();
        });
        if (world_.is_first()) {
            log_ = open_run_log(setup_, hardware_, {iteration_, evaluation_is_missing()},
                                environment_.out, environment_.colour);
        }
        try {
            return iterate();
        } catch (const Stopped&) {  // on all ranks, during an evaluation
            return stop();
        } catch (const comm::LostRank& lost) {
            throw Error(ExitCode::lost_rank,
                        fmt::format("{}; in iteration {}", lost.what(), iteration_));
        }
    }

private:
    /// Too little validation data is as none where only the end asks for an evaluation.
    [[nodiscard]] std::optional<data::EvalSampler> validation_windows() const {
        if (!setup_.validation_data) return std::nullopt;
        try {
            return data::EvalSampler(*setup_.validation_data, config().execution.sequence_length);
        } catch (const ConfigError&) {
            if (run_keys().eval_interval > 0 || run_keys().eval_only) throw;
            return std::nullopt;
        }
    }
    [[nodiscard]] const recipe::Recipe& config() const { return setup_.plan.config; }
    [[nodiscard]] const recipe::RunKeys& run_keys() const { return config().keys.run; }

    void set_initial_state() {
        if (setup_.resumed) {
            const TrainerState& state = setup_.resumed_state;
            session_.load(*setup_.resumed, state.updates);
            iteration_ = state.iteration;
            session_.continue_data(iteration_, setup_.start.samples);
            session_.set_loss_scale(state.loss_scale);
            session_.set_updates_at_loss_scale(state.updates_at_loss_scale);
            sound_until_ = iteration_ - 1;
            environment_.out << fmt::format("resumed {} at iteration {}\n",
                                            printable(setup_.place.folder.string()), iteration_);
            for (const recipe::KeyChange& change : setup_.resumption.changes)
                environment_.out << "changed " << printable(recipe::to_text(change)) << '\n';
            for (const std::string& note : setup_.resumption.notes)
                environment_.out << "note: " << printable(note) << '\n';
            environment_.out << std::flush;
        } else if (setup_.hugging_face) {
            session_.load_weights(setup_.hugging_face->reader());
        } else if (setup_.initial_weights) {
            session_.load_weights(*setup_.initial_weights);
        } else {
            session_.initialize_from_scratch();
        }
        if (!setup_.start_note.empty())
            environment_.out << printable_lines(setup_.start_note) << '\n';
        check_weights();
    }

    /// Weights with NaN or infinity never recover.
    void check_weights() {
        const auto& found = session_.non_finite_weights();
        if (!session_.any_rank(!found.empty())) return;
        std::map<std::string, std::int64_t> counts;
        for (const Session::NonFinite& part : found) counts[part.tensor] += part.count;
        std::string text;
        for (const auto& [tensor, count] : counts)
            text += fmt::format("\n  {}: {} values", tensor, with_separators(count));
        if (text.empty()) text = " (on another rank)";
        const std::string message = "the weights contain NaN or infinity:" + text;
        if (!run_keys().allow_nonfinite_weights) {
            throw ConfigError(message +
                              "\nallow_nonfinite_weights=true trains from them all the "
                              "same");
        }
        environment_.out << "warning: " << printable_lines(message) << '\n';
    }

    ExitCode iterate() {
        const Clock::time_point start = Clock::now();
        device::ProductRecorder recorder;
        const std::int64_t first = iteration_;
        if (evaluation_is_missing()) evaluate_and_save(true);
        while (iteration_ < config().max_iters) {
            setup_.lock.check();
            session_.context().recorder = iteration_ == first ? &recorder : nullptr;
            if (iteration_ == first) counted_bytes_sent_ = bytes_sent();
            train_one();
            if (iteration_ == first + 1) {
                counted_flops_ = static_cast<double>(recorder.total_flops());
                flops_as_planned_ = static_cast<double>(recorder.flops_as_planned());
                counted_bytes_sent_ = bytes_sent() - counted_bytes_sent_;
            }
            if (skipped_in_a_row_ >= kMostSkippedInARow) return diverge();
            const bool out_of_time =
                config().keys.batch.max_hours &&
                milliseconds(start, Clock::now()) > *config().keys.batch.max_hours * 3.6e6;
            const std::exception_ptr unreadable = next_data_failure();
            if (session_.any_rank(stop_requested() || out_of_time || unreadable)) {
                save_and_fail_if_any(unreadable);
                return stop();
            }
            after_iteration();
        }
        return finish();
    }

    ExitCode stop() {
        if (skipped_in_a_row_ == 0) {
            checkpoints_.save(iteration_, log_);
        } else {
            log_.line(not_saved_text());
        }
        log_.line(fmt::format("stopped after iteration {}; continue with init_from=resume",
                              iteration_ - 1));
        log_.finish(run_log::EndState::stopped);
        return ExitCode::ok;
    }

    /// For a run that ends while updates are skipped. Of the checkpoints, those whose weights gave
    /// a sound loss stay.
    [[nodiscard]] std::string not_saved_text() const {
        const auto intact = checkpoints_.keep_until(sound_until_);
        return fmt::format(
            "not saved: the gradients of the last {} iteration{} were not finite. {}",
            skipped_in_a_row_, skipped_in_a_row_ == 1 ? "" : "s",
            intact ? fmt::format("{} is the newest checkpoint with a sound loss; "
                                 "init_from=resume continues from it",
                                 intact->string())
                   : std::string("There is no checkpoint with a sound loss"));
    }

    /// A run that ended between a checkpoint and its evaluation.
    [[nodiscard]] bool evaluation_is_missing() const {
        const std::int64_t interval = run_keys().eval_interval;
        return setup_.resumed && validation_samples_ && iteration_ > 0 &&
               !checkpoints_.evaluated(iteration_) &&
               (iteration_ == config().max_iters || (interval > 0 && iteration_ % interval == 0));
    }

    /// A rank that fails while it reads its data would leave the others in the middle of their
    /// iteration. So each reads beforehand what it needs next, and all save together.
    template <class Read>
    [[nodiscard]] std::exception_ptr failure_of(const Read& read) const {
        try {
            read();
        } catch (const IoError&) {
            return std::current_exception();
        }
        return nullptr;
    }

    [[nodiscard]] std::exception_ptr next_data_failure() const {
        if (iteration_ >= config().max_iters) return nullptr;
        return failure_of([&] { session_.read_iteration(iteration_, train_samples_); });
    }

    /// Called on all ranks. Saves and throws when a rank has a failure.
    void save_and_fail_if_any(const std::exception_ptr& failure) {
        if (!session_.any_rank(failure != nullptr)) return;
        if (is_sound()) checkpoints_.save(iteration_, log_);
        if (failure) std::rethrow_exception(failure);
        throw IoError("another rank could not read its data; its message names the file");
    }

    void train_one() {
        const recipe::RunKeys& keys = run_keys();
        const bool details =
            keys.gradient_log_interval > 0 && iteration_ % keys.gradient_log_interval == 0;
        const Clock::time_point start = Clock::now();
        const IterationOutcome outcome =
            session_.train_iteration(iteration_, train_samples_, details);
        const double time_ms = milliseconds(start, Clock::now());
        const bool tells_of_divergence = !outcome.overflowed && !outcome.without_targets;
        if (tells_of_divergence) skipped_in_a_row_ = outcome.skipped ? skipped_in_a_row_ + 1 : 0;
        if (!outcome.without_targets) judge(outcome.loss);
        ++iterations_here_;
        if (iterations_here_ > kWarmupIterations) timed_seconds_ += time_ms / 1000.0;
        log_.add(records_.of_iteration({iteration_, iterations_here_, time_ms}, outcome));
        ++iteration_;
    }

    /// A loss far over that of a uniform guess, or of the first iteration, is that of a model that
    /// is lost; the weights that gave it are those after `iteration_` iterations.
    void judge(double loss) {
        constexpr double kFarOver = 2;
        if (iterations_here_ == 0) first_loss_ = std::isfinite(loss) ? loss : 0;
        const double guess = std::log(static_cast<double>(config().model.vocab_size));
        loss_is_sound_ = std::isfinite(loss) && loss <= kFarOver * std::max(guess, first_loss_);
        if (loss_is_sound_) sound_until_ = iteration_;
    }

    struct EvaluationWindows {
        std::uint64_t validation = 0;
        std::uint64_t train = 0;
    };
    [[nodiscard]] EvaluationWindows evaluation_windows() const {
        const recipe::RunKeys& keys = run_keys();
        const auto micro_batch = static_cast<std::uint64_t>(config().execution.micro_batch_size);
        const std::uint64_t all = validation_samples_.value().num_windows();
        const std::uint64_t wanted =
            keys.eval_iters == 0 ? all : static_cast<std::uint64_t>(keys.eval_iters) * micro_batch;
        const std::uint64_t windows = std::min(all, wanted);
        return {windows, std::min<std::uint64_t>(windows, 32 * micro_batch)};
    }

    void read_for_evaluation() const {
        const EvaluationWindows windows = evaluation_windows();
        session_.read_windows(*validation_samples_, 0, windows.validation);
        session_.read_samples(train_samples_, kTrainEvaluationStart, windows.train);
    }

    [[nodiscard]] run_log::EvalRecord evaluate() {
        const EvaluationWindows windows = evaluation_windows();
        run_log::EvalRecord record;
        record.iter = iteration_;
        record.lr = learning_rate(config(), std::max<std::int64_t>(iteration_ - 1, 0));
        record.val_loss =
            session_.evaluate_windows(*validation_samples_, 0, windows.validation).mean();
        record.train_loss =
            session_.evaluate_samples(train_samples_, kTrainEvaluationStart, windows.train).mean();
        record.timestamp = run_log::timestamp_now();
        return record;
    }

    /// Evaluates, saves and samples when due after `iteration_` iterations.
    void after_iteration() {
        const recipe::RunKeys& keys = run_keys();
        const auto due = [&](std::int64_t interval) {
            return interval > 0 && iteration_ % interval == 0;
        };
        if (due(config().keys.execution.verify_replicas_interval)) session_.verify_replicas();
        if (iteration_ < config().max_iters) {
            const bool evaluates = due(keys.eval_interval) && validation_samples_;
            const bool saves = keys.checkpoint_interval > 0
                                   ? due(keys.checkpoint_interval)
                                   : due(keys.eval_interval) && keys.always_save_checkpoint;
            if (evaluates) {
                evaluate_and_save(saves);
            } else if (saves && is_sound()) {
                checkpoints_.save(iteration_, log_);
            }
        }
        if (due(keys.sample_interval)) print_sample();
    }

    /// Whether the weights may be saved: no update is being skipped, and the loss is not far worse
    /// than that of a guess.
    [[nodiscard]] bool is_sound() const { return skipped_in_a_row_ == 0 && loss_is_sound_; }

    /// Saves before it evaluates, where that is due whatever the result; else only the best.
    void evaluate_and_save(bool saves) {
        const Clock::time_point start = Clock::now();
        save_and_fail_if_any(failure_of([&] { read_for_evaluation(); }));
        if (saves && is_sound())
            checkpoints_.save(iteration_, log_, RunCheckpoints::Record::after_evaluation);
        run_log::EvalRecord record;
        try {
            record = evaluate();
        } catch (const Stopped&) {
            if (checkpoints_.has(iteration_)) checkpoints_.log_checkpoint(iteration_, log_);
            throw;
        }
        record.pause_ms = milliseconds(start, Clock::now());
        const bool best = checkpoints_.note_loss(iteration_, record.val_loss);
        record.best_val_loss = checkpoints_.best();
        log_.add(record);
        if (checkpoints_.has(iteration_)) {
            checkpoints_.add_loss_to_checkpoint(iteration_, log_);
        } else if (best && is_sound()) {
            checkpoints_.save(iteration_, log_);
        }
    }

    void print_sample() {
        if (!setup_.tokenizer) return;
        SampleRequest request;
        request.prompt = run_keys().sample_prompt;
        request.max_new_tokens = 100;
        request.sampling.seed = static_cast<std::uint64_t>(config().keys.execution.seed);
        const device::HostTensor weights = session_.whole_weights();
        if (!world_.is_first()) return;
        log_.line("sample: " + generate_text(config().model, setup_.plan.state, weights.view,
                                             session_.host_context(), *setup_.tokenizer, request));
    }

    ExitCode diverge() {
        const auto intact = checkpoints_.keep_until(sound_until_);
        log_.finish(run_log::EndState::diverged);
        log_.line(fmt::format(
            "The run diverged: gradients were not finite {} iterations in a row (last iteration "
            "{}). No update was made from them, and no checkpoint was written since. {}",
            kMostSkippedInARow, iteration_ - 1,
            intact ? fmt::format("{} is intact; init_from=resume continues from it. Try a lower "
                                 "learning_rate or a longer warmup_iters.",
                                 intact->string())
                   : std::string("There is no checkpoint from before. Try a lower learning_rate "
                                 "or a longer warmup_iters.")));
        return ExitCode::diverged;
    }

    /// Bytes of this rank so far, with operations in progress.
    [[nodiscard]] std::uint64_t bytes_sent() {
        if (session_.communicator() == nullptr) return 0;
        session_.synchronize();
        return session_.communication_totals().tensor_bytes_sent();
    }

    [[nodiscard]] std::int64_t parameters_of_all_ranks() {
        double elements = 0;
        for (const auto& tensor : session_.weight_tensors())
            elements += static_cast<double>(tensor.data.size());
        if (comm::Communicator* ranks = session_.communicator()) {
            const std::vector<double> all = ranks->gather_values({&elements, 1});
            elements = std::accumulate(all.begin(), all.end(), 0.0);
        }
        return static_cast<std::int64_t>(elements);
    }

    ExitCode finish() {
        if (skipped_in_a_row_ > 0) {
            log_.finish(run_log::EndState::diverged);
            log_.line(not_saved_text());
            return ExitCode::diverged;
        }
        loss_is_sound_ = true;  // of the last weights it is the user who decides
        if (validation_samples_ && !checkpoints_.evaluated(iteration_)) evaluate_and_save(true);
        checkpoints_.save(iteration_, log_);
        report();
        return ExitCode::ok;
    }

    void report() {
        MeasuredRun measured;
        measured.parameters = parameters_of_all_ranks();
        if (!world_.is_first()) return;
        const run_log::SummaryRecord summary = log_.finish(run_log::EndState::finished);
        const auto ranks = static_cast<double>(world_.size());
        measured.executed_flops_per_iteration = counted_flops_ * ranks;
        measured.flops_as_planned = flops_as_planned_ * ranks;
        measured.arena_bytes = session_.memory().high_water_bytes();
        measured.bytes_sent = counted_bytes_sent_;
        measured.resident_bytes = static_cast<std::uint64_t>(records_.peak_resident_gib() * kGiB);
        const std::int64_t timed = iterations_here_ - kWarmupIterations;
        measured.seconds_per_iteration =
            timed > 0 ? timed_seconds_ / static_cast<double>(timed) : summary.avg_time_ms / 1000.0;
        log_.line(
            text::fit_lines(plan_check_text(setup_.plan, hardware_, measured, environment_.colour),
                            environment_.width) +
            fmt::format("\nlog {}", log_.json_path().string()));
    }

    RunSetup setup_;
    const World& world_;
    const RunEnvironment& environment_;
    Session session_;
    Hardware hardware_;
    data::BatchSampler train_samples_;
    std::optional<data::EvalSampler> validation_samples_;  ///< absent without validation data
    RunCheckpoints checkpoints_;
    IterationRecords records_;
    run_log::RunLog log_;               ///< of the first rank; without sinks on the others
    std::int64_t iteration_ = 0;        ///< iterations done
    std::int64_t iterations_here_ = 0;  ///< of them by this process
    std::int64_t skipped_in_a_row_ = 0;
    bool loss_is_sound_ = true;
    double first_loss_ = 0;          ///< of this process
    std::int64_t sound_until_ = -1;  ///< the weights after as many iterations gave a sound loss
    double timed_seconds_ = 0;
    double counted_flops_ = 0;
    double flops_as_planned_ = 0;
    std::uint64_t counted_bytes_sent_ = 0;
};

}  // namespace

ExitCode run_training(recipe::TrainKeys keys, const RunEnvironment& environment) {
    const comm::LaunchInfo launch = comm::launch_from_environment();
    std::ostream silent(nullptr);  // only the first rank prints
    RunEnvironment of_rank{launch.rank == 0 ? environment.out : silent, environment.colour};
    of_rank.file_kind = environment.file_kind;
    of_rank.width = environment.width;
    if (environment.dry_run) {
        of_rank.planned_ranks = environment.planned_ranks;
        of_rank.planned_ranks_per_host = environment.planned_ranks_per_host;
        of_rank.json = environment.json;
        return dry_run(std::move(keys), launch, of_rank);
    }
    const comm::LauncherWatch watch(launch);
    const World world = World::join(launch, keys);
    device::ThreadPool pool(threads_of_rank(keys.execution, launch));
    RunSetup setup = prepare_run(std::move(keys), world, pool, false);
    Run run(std::move(setup), world, pool, of_rank);
    return run.execute();
}

}  // namespace isoflop::trainer
