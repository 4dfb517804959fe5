#include "isoflop/trainer/train_loop.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>
#include <ostream>

#include "isoflop/base/printable.hpp"
#include "isoflop/base/stop.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/comm/launcher_watch.hpp"
#include "isoflop/data/token_dataset.hpp"
#include "isoflop/data/tokenizer.hpp"
#include "isoflop/model/model_reader.hpp"
#include "isoflop/run_log/progress.hpp"
#include "isoflop/run_log/run_log.hpp"
#include "isoflop/trained_model/loaded_model.hpp"
#include "isoflop/trainer/sampling.hpp"
#include "isoflop/trainer/schedule.hpp"
#include "isoflop/trainer/startup_report.hpp"
#include "open_run_log.hpp"
#include "run_setup.hpp"
#include "world.hpp"

namespace isoflop::trainer {
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

constexpr std::int64_t kWarmupIterations = 5;  ///< without utilisation figures
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
    if (comm::Communicator* ranks = session.communicator()) {
        const std::vector<double> mine{hardware.peak_flops};
        hardware.peak_flops = 0;
        for (const double peak : ranks->gather_values(mine)) hardware.peak_flops += peak;
    }
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
          validation_samples_(setup_.validation_data, config().execution.sequence_length) {}

    ExitCode execute() {
        setup_.plan.attention.run_by = session_.attention_run_by();
        environment_.out << startup_text(setup_.plan, hardware_, environment_.colour,
                                         environment_.file_kind)
                         << '\n';
        set_initial_state();
        if (config().keys.run.eval_only) {
            environment_.out << run_log::evaluation_line(evaluate(), best_validation_loss_,
                                                         environment_.colour)
                             << '\n';
            return ExitCode::ok;
        }
        if (world_.is_first()) {
            log_ =
                open_run_log(setup_, hardware_, iteration_, environment_.out, environment_.colour);
        }
        try {
            return iterate();
        } catch (const comm::LostRank& lost) {
            throw Error(ExitCode::lost_rank,
                        fmt::format("{}; in iteration {}", lost.what(), iteration_));
        }
    }

private:
    [[nodiscard]] const recipe::Recipe& config() const { return setup_.plan.config; }
    [[nodiscard]] const recipe::RunKeys& run_keys() const { return config().keys.run; }

    void set_initial_state() {
        if (setup_.resumed) {
            const auto state = setup_.resumed->trainer_state();
            session_.load(*setup_.resumed, state.at("updates").get<std::int64_t>());
            iteration_ = state.at("iter").get<std::int64_t>();
            session_.set_loss_scale(state.value("loss_scale", 1.0));
            session_.set_updates_at_loss_scale(
                state.value("updates_at_loss_scale", std::int64_t{0}));
            if (!state.at("best_val_loss").is_null())
                best_validation_loss_ = state.at("best_val_loss").get<double>();
            environment_.out << fmt::format("resumed {} at iteration {}\n",
                                            printable(setup_.place.folder.string()), iteration_)
                             << std::flush;
        } else if (setup_.hugging_face) {
            session_.load_weights(setup_.hugging_face->reader());
        } else if (setup_.initial_weights) {
            session_.load_weights(*setup_.initial_weights);
        } else {
            session_.initialize_from_scratch();
        }
    }

    ExitCode iterate() {
        const Clock::time_point start = Clock::now();
        device::ProductRecorder recorder;
        const std::int64_t first = iteration_;
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
            if (session_.any_rank(stop_requested() || out_of_time)) {
                save(last_validation_loss_);
                log_.line(fmt::format("stopped after iteration {}; continue with init_from=resume",
                                      iteration_ - 1));
                log_.finish(run_log::EndState::stopped);
                return ExitCode::ok;
            }
            after_iteration();
        }
        finish();
        return ExitCode::ok;
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
        ++iterations_here_;
        log_.add(make_record(outcome, time_ms));
        ++iteration_;
    }

    [[nodiscard]] run_log::IterationRecord make_record(const IterationOutcome& outcome,
                                                       double time_ms) {
        run_log::IterationRecord record;
        record.iter = iteration_;
        record.loss = outcome.loss;
        record.time_ms = time_ms;
        record.lr = learning_rate(config(), iteration_);
        record.grad_norm = outcome.grad_norm;
        record.tokens = (iteration_ + 1) * config().tokens_per_iteration;
        record.skipped = outcome.skipped;
        record.gradients = outcome.gradients;
        record.memory = memory_record();
        record.communication = communication_record();
        if (iterations_here_ > kWarmupIterations) {
            record.utilisation = utilisation(time_ms / 1000.0);
            timed_seconds_ += time_ms / 1000.0;
        }
        return record;
    }

    [[nodiscard]] std::optional<run_log::CommunicationRecord> communication_record() {
        if (session_.communicator() == nullptr) return std::nullopt;
        const comm::CommunicationTotals now = session_.communication_totals();
        const comm::CommunicationTotals& before = communication_before_;
        const run_log::CommunicationRecord record{
            now.tensor_bytes_sent() - before.tensor_bytes_sent(),
            1000.0 * (now.seconds - before.seconds),
            1000.0 * (now.exposed_seconds - before.exposed_seconds)};
        communication_before_ = now;
        return record;
    }

    [[nodiscard]] run_log::MemoryRecord memory_record() {
        const double resident = static_cast<double>(setup_.device->memory_use().used_bytes) / kGiB;
        peak_resident_gib_ = std::max(peak_resident_gib_, resident);
        const double arena = static_cast<double>(session_.memory().high_water_bytes()) / kGiB;
        return {arena, resident, arena, peak_resident_gib_};
    }

    [[nodiscard]] run_log::UtilisationRecord utilisation(double seconds) const {
        const recipe::RunPlan& plan = setup_.plan;
        const double tokens_per_second =
            static_cast<double>(config().tokens_per_iteration) / seconds;
        run_log::UtilisationRecord record;
        record.convention = to_string(run_keys().flop_convention);
        record.flops_per_token = plan.model_flops_per_token;
        record.tokens_per_sec = tokens_per_second;
        record.flops_achieved = tokens_per_second * plan.model_flops_per_token;
        record.hardware_peak_flops = hardware_.peak_flops;
        if (hardware_.peak_flops > 0) {
            record.mfu = record.flops_achieved / hardware_.peak_flops;
            record.hfu = tokens_per_second * plan.executed_flops_per_token / hardware_.peak_flops;
        }
        record.attention_flops_per_layer = plan.attention_flops_per_layer;
        record.ffn_flops_per_layer = plan.ffn_flops_per_layer;
        record.attention_to_ffn_ratio =
            plan.ffn_flops_per_layer > 0 ? plan.attention_flops_per_layer / plan.ffn_flops_per_layer
                                         : 0;
        record.gpu_name = hardware_.device_name();
        record.precision = std::string(short_name(config().execution.dtype));
        record.num_gpus = config().world_size;
        record.architecture = model::summary_name(config().model);
        return record;
    }

    [[nodiscard]] run_log::EvalRecord evaluate() {
        const recipe::RunKeys& keys = run_keys();
        const auto micro_batch = static_cast<std::uint64_t>(config().execution.micro_batch_size);
        const std::uint64_t all = validation_samples_.num_windows();
        const std::uint64_t wanted =
            keys.eval_iters == 0 ? all : static_cast<std::uint64_t>(keys.eval_iters) * micro_batch;
        const std::uint64_t windows = std::min(all, wanted);
        run_log::EvalRecord record;
        record.iter = iteration_;
        record.lr = learning_rate(config(), std::max<std::int64_t>(iteration_ - 1, 0));
        record.val_loss = session_.evaluate_windows(validation_samples_, 0, windows).mean();
        const std::uint64_t train_windows = std::min<std::uint64_t>(windows, 32 * micro_batch);
        record.train_loss =
            session_.evaluate_samples(train_samples_, kTrainEvaluationStart, train_windows).mean();
        record.timestamp = run_log::timestamp_now();
        return record;
    }

    /// Evaluates, saves and samples when due after `iteration_` iterations.
    void after_iteration() {
        const recipe::RunKeys& keys = run_keys();
        const auto due = [&](std::int64_t interval) {
            return interval > 0 && iteration_ % interval == 0;
        };
        const bool last = iteration_ == config().max_iters;
        if (due(config().keys.execution.verify_replicas_interval)) session_.verify_replicas();
        if (due(keys.eval_interval) && !last) evaluate_and_save();
        if (keys.checkpoint_interval > 0 && due(keys.checkpoint_interval) && !last)
            save(std::nullopt);
        if (due(keys.sample_interval)) print_sample();
    }

    void evaluate_and_save() {
        const Clock::time_point start = Clock::now();
        run_log::EvalRecord record = evaluate();
        record.pause_ms = milliseconds(start, Clock::now());
        const bool best = std::isfinite(record.val_loss) &&
                          (!best_validation_loss_ || record.val_loss < *best_validation_loss_);
        if (best) best_validation_loss_ = record.val_loss;
        last_validation_loss_ = record.val_loss;
        record.best_val_loss = best_validation_loss_;
        log_.add(record);
        const bool last = iteration_ == config().max_iters;
        const bool with_evaluation = run_keys().checkpoint_interval == 0;
        if (last || (with_evaluation && (best || run_keys().always_save_checkpoint)))
            save(record.val_loss);
    }

    void save(std::optional<double> validation_loss) {
        const Clock::time_point start = Clock::now();
        setup_.lock.check_now();
        nlohmann::ordered_json state{{"iter", iteration_},
                                     {"updates", session_.updates()},
                                     {"loss_scale", session_.loss_scale()},
                                     {"updates_at_loss_scale", session_.updates_at_loss_scale()},
                                     {"best_val_loss", nullptr},
                                     {"config", to_json(config().keys)}};
        if (best_validation_loss_) state["best_val_loss"] = *best_validation_loss_;
        if (setup_.attention) state[std::string(kAttentionKey)] = to_json(*setup_.attention);
        if (!setup_.imported_model.is_null()) {
            state[std::string(trained_model::kImportedModelKey)] = setup_.imported_model;
        }
        if (validation_loss && std::isfinite(*validation_loss)) {
            state[std::string(checkpoint::kValidationLossKey)] = *validation_loss;
        }
        checkpoint::CheckpointOptions options;
        options.keep_checkpoints = run_keys().keep_checkpoints;
        const fs::path folder = session_.save(setup_.place.folder, iteration_, state, options);
        log_.add(run_log::CheckpointRecord{.iter = iteration_,
                                           .val_loss = validation_loss,
                                           .path = folder.string(),
                                           .timestamp = run_log::timestamp_now(),
                                           .pause_ms = milliseconds(start, Clock::now())});
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
        log_.finish(run_log::EndState::diverged);
        log_.line(fmt::format(
            "The run diverged: gradients were not finite {} iterations in a row (last iteration "
            "{}). No update was made "
            "from them; the last checkpoint is intact. Try a lower learning_rate or a longer "
            "warmup_iters.",
            kMostSkippedInARow, iteration_ - 1));
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

    void finish() {
        evaluate_and_save();
        MeasuredRun measured;
        measured.parameters = parameters_of_all_ranks();
        if (!world_.is_first()) return;
        const run_log::SummaryRecord summary = log_.finish(run_log::EndState::finished);
        const auto ranks = static_cast<double>(world_.size());
        measured.executed_flops_per_iteration = counted_flops_ * ranks;
        measured.flops_as_planned = flops_as_planned_ * ranks;
        measured.arena_bytes = session_.memory().high_water_bytes();
        measured.bytes_sent = counted_bytes_sent_;
        measured.resident_bytes = static_cast<std::uint64_t>(peak_resident_gib_ * kGiB);
        const std::int64_t timed = iterations_here_ - kWarmupIterations;
        measured.seconds_per_iteration =
            timed > 0 ? timed_seconds_ / static_cast<double>(timed) : summary.avg_time_ms / 1000.0;
        log_.line(plan_check_text(setup_.plan, hardware_, measured, environment_.colour) +
                  fmt::format("\nlog {}", log_.json_path().string()));
    }

    RunSetup setup_;
    const World& world_;
    const RunEnvironment& environment_;
    Session session_;
    Hardware hardware_;
    data::BatchSampler train_samples_;
    data::EvalSampler validation_samples_;
    run_log::RunLog log_;               ///< of the first rank; without sinks on the others
    std::int64_t iteration_ = 0;        ///< iterations done
    std::int64_t iterations_here_ = 0;  ///< of them by this process
    std::int64_t skipped_in_a_row_ = 0;
    std::optional<double> best_validation_loss_;
    std::optional<double> last_validation_loss_;
    double peak_resident_gib_ = 0;
    double timed_seconds_ = 0;
    double counted_flops_ = 0;
    double flops_as_planned_ = 0;
    std::uint64_t counted_bytes_sent_ = 0;
    comm::CommunicationTotals communication_before_;
};

}  // namespace

namespace {

ExitCode dry_run(recipe::TrainKeys keys, comm::LaunchInfo launch,
                 const RunEnvironment& environment) {
    if (environment.planned_ranks > 0) {
        launch.world_size = environment.planned_ranks;
        launch.local_world_size = 1;
    }
    device::ThreadPool pool(threads_of_rank(keys.execution, launch));
    device::Context context(pool);
    // A dry run allocates nothing: the plan may be for another machine.
    const RunSetup setup = prepare_run(std::move(keys), World::planned(launch), pool, true);
    Hardware hardware = planned_hardware(context, setup.plan.config.execution);
    hardware.peak_flops *= static_cast<double>(launch.world_size);
    environment.out << startup_text(setup.plan, hardware, environment.colour,
                                    environment.file_kind);
    return ExitCode::ok;
}

}  // namespace

ExitCode run_training(recipe::TrainKeys keys, const RunEnvironment& environment) {
    const comm::LaunchInfo launch = comm::launch_from_environment();
    std::ostream silent(nullptr);  // only the first rank prints
    RunEnvironment of_rank{launch.rank == 0 ? environment.out : silent, environment.colour};
    of_rank.file_kind = environment.file_kind;
    if (environment.dry_run) {
        of_rank.planned_ranks = environment.planned_ranks;
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
