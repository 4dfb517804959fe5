#include "resume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>

#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/machine/this_machine.hpp"
#include "isoflop/recipe/data_vocabulary.hpp"
#include "isoflop/trained_model/loaded_model.hpp"
#include "isoflop/trainer/schedule.hpp"

namespace isoflop::trainer {

namespace {

/// What a program wrote is data, not a configuration of the user's.
recipe::Recipe recipe_of_state(const TrainerState& state, std::int64_t ranks) {
    const recipe::TrainKeys& keys = state.keys.value();
    const recipe::Machine here =
        machine::this_machine(state.batch.value_or(TrainerState::Batch{ranks, 1}).ranks);
    try {
        return state.imported_model.is_null()
                   ? recipe::recipe_of(keys, here)
                   : recipe::recipe_of(
                         keys, trained_model::imported_model_config(state.imported_model), here);
    } catch (const ConfigError& error) {
        throw IoError(fmt::format("'{}' is damaged: {}", state.source, error.what()));
    }
}

/// Tokens of all iterations are counted in 64 bits.
void check_counts(const TrainerState& state, const recipe::Recipe& recipe) {
    constexpr double kMost = 4e18;
    const auto length = static_cast<double>(recipe.execution.sequence_length);
    const double by_batch = static_cast<double>(state.iteration) *
                            static_cast<double>(recipe.global_micro_steps) *
                            static_cast<double>(recipe.execution.micro_batch_size) * length;
    const double by_samples = static_cast<double>(state.samples.value_or(0)) * length;
    if (by_batch <= kMost && by_samples <= kMost) return;
    throw IoError(
        fmt::format("'{}' is damaged: its 'iter', 'samples' and 'config' give more than "
                    "{:.0g} tokens",
                    state.source, kMost));
}

}  // namespace

RecordedRun recorded_run(const TrainerState& state, std::int64_t ranks) {
    RecordedRun run;
    run.iteration = state.iteration;
    run.imported = !state.imported_model.is_null();
    run.data = state.data.value_or(DataOfRun{});
    if (!state.keys) return run;
    run.recipe = recipe_of_state(state, ranks);
    recipe::Recipe& recipe = *run.recipe;
    check_counts(state, recipe);
    run.lr_decay_iters_of_keys = recipe.lr_decay_iters;
    // An older checkpoint has no count: every iteration had the batch of its keys.
    run.samples = state.samples.value_or(run.iteration * recipe.global_micro_steps *
                                         recipe.execution.micro_batch_size);
    if (state.schedule) {
        run.lr_decay_iters_of_keys = state.schedule->lr_decay_iters_of_keys;
        recipe.lr_decay_iters = state.schedule->lr_decay_iters;
        recipe.max_iters = state.schedule->max_iters;
        recipe.rewarm = state.schedule->rewarm;
    }
    return run;
}

namespace {

/// ", 16-bit tokens 1a2b3c4d", for which the same tokens in other files give the same text; empty
/// for the built-in corpus.
std::string describe_content(const data::TokenSource& source) {
    if (source.files().empty()) return {};
    data::TokenFile::Fingerprint all;
    for (const data::TokenFile& file : source.files()) {
        const auto width = static_cast<std::uint64_t>(file.bytes_per_token());
        const data::TokenFile::Fingerprint one = file.fingerprint();
        all.checksum = crc32c_of_both(all.checksum, one.checksum, file.size() * width);
        all.is_of_all = all.is_of_all && one.is_of_all;
    }
    return fmt::format(", {}{}-bit tokens {}", all.is_of_all ? "" : "some ",
                       8 * source.files().front().bytes_per_token(), checksum_text(all.checksum));
}

/// "..." of "...; ...", and the rest after it.
std::pair<std::string_view, std::string_view> split_once(std::string_view text,
                                                         std::string_view separator,
                                                         std::size_t from = 0) {
    const std::size_t end = text.find(separator, from);
    if (end == std::string_view::npos) return {text, {}};
    return {text.substr(0, end), text.substr(end + separator.size())};
}

/// Of two descriptions of data. What only one of them has is not compared: an older program wrote
/// less, and other files may hold the same tokens in another width.
bool same_data(std::string_view left, std::string_view right) {
    const auto of_source = [](std::string_view text) {  // "..., checksum X" and "KIND tokens Y"
        const std::size_t checksum = text.find(", checksum ");
        return split_once(text, ", ", checksum == std::string_view::npos ? 0 : checksum + 2);
    };
    while (!left.empty() && !right.empty()) {
        const auto [source_left, rest_left] = split_once(left, "; ");
        const auto [source_right, rest_right] = split_once(right, "; ");
        const auto [sample_left, content_left] = of_source(source_left);
        const auto [sample_right, content_right] = of_source(source_right);
        const bool comparable = split_once(content_left, " tokens ").first ==
                                split_once(content_right, " tokens ").first;
        if (sample_left != sample_right || (comparable && content_left != content_right))
            return false;
        left = rest_left;
        right = rest_right;
    }
    return left.empty() && right.empty();
}

}  // namespace

std::string describe_data(const data::TokenDataset& data) {
    constexpr std::uint64_t kTokens = 1024;
    std::string text;
    for (std::size_t i = 0; i < data.sources().size(); ++i) {
        const data::TokenSource& source = data.sources()[i];
        const std::uint64_t size = source.size();
        std::array<std::int32_t, kTokens> tokens{};
        std::uint32_t checksum = 0;
        for (std::uint64_t part = 0; part < 4; ++part) {
            const std::uint64_t count = std::min(kTokens, size);
            const std::span<std::int32_t> some = std::span(tokens).first(count);
            source.copy((size - count) / 3 * part, some);
            checksum = crc32c(std::as_bytes(some), checksum);
        }
        text +=
            fmt::format("{}{} tokens, share {:.6g}, checksum {}{}", text.empty() ? "" : "; ", size,
                        data.weights()[i], checksum_text(checksum), describe_content(source));
    }
    return text;
}

void add_to_state(const recipe::Recipe& recipe, const DataOfRun& data, const StateOfRun& run,
                  TrainerState& state) {
    state.keys = recipe.keys;
    state.samples = run.samples;
    state.batch = TrainerState::Batch{recipe.world_size, recipe.global_micro_steps};
    state.schedule = TrainerState::Schedule{recipe.max_iters, recipe.lr_decay_iters,
                                            run.lr_decay_iters_of_keys, recipe.rewarm};
    state.data = data;
}

namespace {

/// "1, 2 or 4"
std::string divisors_text(std::int64_t number) {
    std::vector<std::int64_t> divisors;
    for (std::int64_t i = 1; i <= number; ++i) {
        if (number % i == 0) divisors.push_back(i);
    }
    std::string text;
    for (std::size_t i = 0; i < divisors.size(); ++i) {
        const bool last = i + 1 == divisors.size();
        text += fmt::format("{}{}", i == 0 ? "" : last ? " or " : ", ", divisors[i]);
    }
    return text;
}

/// Keys that give the same global batch on other ranks; empty when none do.
std::string same_batch_advice(std::int64_t sequences, std::int64_t batch_size, std::int64_t ranks) {
    if (sequences % ranks != 0) return {};
    const std::int64_t of_rank = sequences / ranks;
    std::int64_t size = std::min(batch_size, of_rank);
    while (of_rank % size != 0) --size;
    return fmt::format("; --batch_size={} --gradient_accumulation_steps={} gives the same batch",
                       size, sequences / size);
}

}  // namespace

void keep_global_batch(recipe::TrainKeys& keys, const RecordedRun& run, std::int64_t ranks) {
    if (!run.trained() || keys.batch.gradient_accumulation_steps || keys.batch.total_batch_tokens)
        return;
    const std::int64_t micro_batches = run.recipe->global_micro_steps;
    if (micro_batches % ranks != 0) {
        throw ConfigError(fmt::format(
            "the run trains on {} micro-batch{} of {} sequences an iteration, whatever the number "
            "of ranks, and {} ranks do not divide them: resume with {} ranks{}",
            micro_batches, micro_batches == 1 ? "" : "es", keys.batch.batch_size, ranks,
            divisors_text(micro_batches),
            same_batch_advice(micro_batches * keys.batch.batch_size, keys.batch.batch_size,
                              ranks)));
    }
    keys.batch.gradient_accumulation_steps = micro_batches;
}

namespace {

/// The iterations that are left for max_tokens, at today's batch.
void count_tokens_done(const RecordedRun& run, recipe::Recipe& now) {
    if (!now.keys.batch.max_tokens) return;
    const std::int64_t done = run.samples * now.execution.sequence_length;
    const std::int64_t left = std::max<std::int64_t>(0, *now.keys.batch.max_tokens - done);
    now.max_iters =
        run.iteration + (left + now.tokens_per_iteration - 1) / now.tokens_per_iteration;
    if (!now.keys.optimizer.lr_decay_iters) now.lr_decay_iters = now.max_iters;
}

bool same_rate(double a, double b) {
    return std::abs(a - b) <= 1e-9 * std::max(std::abs(a), std::abs(b));
}

bool is_constant(const recipe::OptimizerKeys& keys) {
    return !keys.decay_lr || keys.lr_schedule == recipe::LearningRateSchedule::constant;
}

/// The choices where max_iters moves the end of the decay.
void move_decay(const RecordedRun& run, recipe::Recipe& now, Resumption& result) {
    const recipe::Recipe& before = run.recipe.value();
    const double old_rate = learning_rate(before, run.iteration);
    const double stretched_rate = learning_rate(now, run.iteration);
    const std::int64_t new_end = now.lr_decay_iters;
    switch (now.keys.optimizer.resume_schedule) {
        case recipe::ResumeSchedule::stretch: return;
        case recipe::ResumeSchedule::rewarm:
            now.rewarm = recipe::Rewarm{run.iteration, old_rate};
            result.notes.push_back(fmt::format(
                "the learning rate warms up from {:.3g} to {:.3g} again over {} iterations and {}",
                old_rate, now.keys.optimizer.learning_rate, now.keys.optimizer.warmup_iters,
                is_constant(now.keys.optimizer)
                    ? std::string("stays there")
                    : fmt::format("decays to {:.3g} at iteration {}", now.min_lr, new_end)));
            return;
        case recipe::ResumeSchedule::keep: break;
    }
    recipe::Recipe kept = now;
    kept.lr_decay_iters = before.lr_decay_iters;
    kept.rewarm = before.rewarm;
    const double kept_rate = learning_rate(kept, run.iteration);
    if (same_rate(kept_rate, stretched_rate)) return;  // not decaying yet
    now.lr_decay_iters = kept.lr_decay_iters;
    now.rewarm = kept.rewarm;
    result.notes.push_back(fmt::format(
        "a decay to iteration {} would make the learning rate jump from {:.3g} to {:.3g}, so it "
        "ends at iteration {} as before, with {:.3g} from there on. resume_schedule=rewarm warms "
        "up again and decays to iteration {}, resume_schedule=stretch takes the longer decay",
        new_end, kept_rate, stretched_rate, now.lr_decay_iters, now.min_lr, new_end));
}

void continue_schedule(const RecordedRun& run, recipe::Recipe& now, Resumption& result) {
    const recipe::Recipe& before = run.recipe.value();
    const auto& old_keys = before.keys.optimizer;
    const auto& new_keys = now.keys.optimizer;
    const bool asked =
        new_keys.lr_decay_iters && new_keys.lr_decay_iters != old_keys.lr_decay_iters;
    if (!asked) {
        if (now.lr_decay_iters == run.lr_decay_iters_of_keys &&
            new_keys.resume_schedule == old_keys.resume_schedule) {
            now.lr_decay_iters = before.lr_decay_iters;
            now.rewarm = before.rewarm;
        } else {
            move_decay(run, now, result);
        }
    }
    const double old_rate = learning_rate(before, run.iteration);
    const double new_rate = learning_rate(now, run.iteration);
    if (!result.notes.empty() || same_rate(old_rate, new_rate)) return;
    result.notes.push_back(
        fmt::format("the learning rate of iteration {} is {:.3g}; without these changes it would "
                    "be {:.3g}",
                    run.iteration, new_rate, old_rate));
}

/// Keys that name the same data in another place are no change of the run; other data under the
/// same name are.
void compare_data(const RecordedRun& run, const DataOfRun& now, recipe::ResumeChanges& changes) {
    const auto& [training, validation] = run.data;
    if (training.empty()) return;  // an older checkpoint: the names decide
    const bool same_training = same_data(training, now.training);
    const bool same_validation =
        validation.empty() || now.validation.empty() || same_data(validation, now.validation);
    const auto is_moved = [&](const recipe::KeyChange& change) {
        if (change.key == "train_data") return same_training;
        if (change.key == "val_data") return same_validation;
        return change.key == "dataset" && same_training && same_validation;
    };
    const auto moved =
        std::stable_partition(changes.fixed.begin(), changes.fixed.end(),
                              [&](const recipe::KeyChange& change) { return !is_moved(change); });
    std::move(moved, changes.fixed.end(), std::back_inserter(changes.noted));
    changes.fixed.erase(moved, changes.fixed.end());
    if (!same_training) changes.fixed.push_back({"training data", training, now.training});
    if (!same_validation) changes.fixed.push_back({"validation data", validation, now.validation});
}

/// Of a model that no run has trained yet only the weights matter.
void keep_model_changes(const recipe::Recipe& now, std::vector<recipe::KeyChange>& changes,
                        const std::vector<recipe::KeyChange>& of_model) {
    const bool learned = now.model.position_encoding == model::PositionEncoding::learned_absolute;
    std::erase_if(changes, [&](const recipe::KeyChange& change) {
        if (change.key == "block_size" && !learned) return true;
        return std::none_of(of_model.begin(), of_model.end(),
                            [&](const auto& entry) { return entry.key == change.key; });
    });
}

[[noreturn]] void refuse(const std::vector<recipe::KeyChange>& changes,
                         const checkpoint::CheckpointReader& checkpoint) {
    std::string lines;
    for (const recipe::KeyChange& change : changes) lines += "\n  " + recipe::to_text(change);
    throw ConfigError(fmt::format(
        "a resumed run keeps what its checkpoint fixes, and these keys change it:{}\nResume with "
        "the values of the checkpoint, or start a new run from its weights: --init_from={} "
        "--run_name=ANOTHER_NAME",
        lines, checkpoint.directory().string()));
}

/// Model keys have no effect beside an imported model, but a value that is not the model's would be
/// meant. Old values are those of the model, where it has the key.
void compare_ignored_model_keys(const recipe::Recipe& before, const recipe::Recipe& now,
                                recipe::ResumeChanges& changes) {
    for (const config::Field& field : recipe::train_schema().sections().front().fields) {
        const std::string key(field.info.key);
        const std::string given_before = config::to_text(field.get(&before.keys));
        const std::string given_now = config::to_text(field.get(&now.keys));
        if (given_before == given_now || recipe::on_resume(key) != recipe::OnResume::fixed)
            continue;
        if (key == "max_position_embeddings") continue;  // compared as the length of sequences
        const std::string of_model = recipe::model_value(before.model, key)
                                         .value_or(given_before.empty() ? "not set" : given_before);
        if (given_now.empty() || given_now == of_model) continue;
        changes.fixed.push_back({key, of_model, given_now});
    }
}

/// eval_iters counts micro-batches; 0 is all windows.
bool evaluates_other_windows(const recipe::Recipe& before, const recipe::Recipe& now) {
    const auto windows = [](const recipe::Recipe& recipe) {
        return recipe.keys.run.eval_iters * recipe.execution.micro_batch_size;
    };
    return windows(before) != windows(now);
}

}  // namespace

Resumption resume(const RecordedRun& run, recipe::Recipe& now, const DataOfRun& data,
                  const checkpoint::CheckpointReader& checkpoint) {
    Resumption result;
    result.lr_decay_iters_of_keys = now.lr_decay_iters;
    if (!run.recipe) return result;
    const recipe::Recipe& before = *run.recipe;
    if (run.trained()) {
        count_tokens_done(run, now);
        result.lr_decay_iters_of_keys = now.lr_decay_iters;
        continue_schedule(run, now, result);
    }
    recipe::ResumeChanges changes = recipe::resume_changes(before, now);
    const bool only_the_model = !run.trained() || now.keys.run.eval_only;
    if (only_the_model) {
        changes.noted.clear();
        keep_model_changes(now, changes.fixed, recipe::model_changes(before.model, now.model));
    } else {
        compare_data(run, data, changes);
        if (run.imported) compare_ignored_model_keys(before, now, changes);
    }
    if (!changes.fixed.empty()) refuse(changes.fixed, checkpoint);
    if (!only_the_model && evaluates_other_windows(before, now)) {
        result.starts_best_anew = true;
        result.notes.emplace_back(
            "evaluations take another number of windows than before: the lowest validation loss "
            "begins anew");
    }
    result.changes = std::move(changes.noted);
    return result;
}

std::string new_run_note(const checkpoint::CheckpointReader& checkpoint, const TrainerState& state,
                         const recipe::Recipe& now) {
    std::string note = fmt::format(
        "a new run from the weights of {}: iterations, data, optimizer and schedule begin anew",
        checkpoint.directory().string());
    if (!state.keys) return note;
    const recipe::Recipe before = recipe_of_state(state, checkpoint.ranks());
    for (const recipe::KeyChange& change : recipe::model_changes(before.model, now.model))
        note += fmt::format("\n  another model: {}", recipe::to_text(change));
    return note;
}

}  // namespace isoflop::trainer
