#include "resume.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/machine/this_machine.hpp"
#include "isoflop/recipe/data_vocabulary.hpp"
#include "isoflop/trained_model/loaded_model.hpp"
#include "isoflop/trainer/schedule.hpp"

namespace isoflop::trainer {

using nlohmann::ordered_json;

namespace {

constexpr const char* kSamples = "samples";
constexpr const char* kBatch = "batch";
constexpr const char* kSchedule = "schedule";
constexpr const char* kData = "data";

recipe::Recipe recipe_of_state(const ordered_json& state, const ordered_json& imported_model,
                               std::int64_t ranks, const std::string& source) {
    const recipe::TrainKeys keys = recipe::train_keys_from_json(state.at("config"), source);
    const recipe::Machine here = machine::this_machine(ranks);
    return imported_model.is_null()
               ? recipe::recipe_of(keys, here)
               : recipe::recipe_of(keys, trained_model::imported_model_config(imported_model),
                                   here);
}

void read_schedule(const ordered_json& schedule, RecordedRun& run) {
    recipe::Recipe& recipe = run.recipe.value();
    run.lr_decay_iters_of_keys = schedule.at("lr_decay_iters_of_keys").get<std::int64_t>();
    recipe.lr_decay_iters = schedule.at("lr_decay_iters").get<std::int64_t>();
    recipe.max_iters = schedule.at("max_iters").get<std::int64_t>();
    if (const auto rewarm = schedule.find("rewarm"); rewarm != schedule.end()) {
        recipe.rewarm = recipe::Rewarm{rewarm->at("start").get<std::int64_t>(),
                                       rewarm->at("from").get<double>()};
    }
}

}  // namespace

RecordedRun recorded_run(const checkpoint::CheckpointReader& checkpoint,
                         const ordered_json& imported_model) {
    RecordedRun run;
    run.state = checkpoint.trainer_state();
    const std::string source = (checkpoint.directory() / "trainer_state.json").string();
    try {
        run.iteration = run.state.at("iter").get<std::int64_t>();
        if (!run.state.contains("config")) return run;
        const ordered_json batch = run.state.value(kBatch, ordered_json::object());
        run.recipe = recipe_of_state(run.state, imported_model,
                                     batch.value("ranks", checkpoint.ranks()), source);
        run.lr_decay_iters_of_keys = run.recipe->lr_decay_iters;
        // An older checkpoint has no count: every iteration had the batch of its keys.
        run.samples = run.state.value(kSamples, run.iteration * run.recipe->global_micro_steps *
                                                    run.recipe->execution.micro_batch_size);
        if (const auto schedule = run.state.find(kSchedule); schedule != run.state.end())
            read_schedule(*schedule, run);
    } catch (const ordered_json::exception& error) {
        throw IoError(fmt::format("'{}' is not a state of this trainer: {}", source, error.what()));
    }
    return run;
}

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
        text += fmt::format("{}{} tokens, share {:.6g}, checksum {}", text.empty() ? "" : "; ",
                            size, data.weights()[i], checksum_text(checksum));
    }
    return text;
}

void add_to_state(const recipe::Recipe& recipe, const DataOfRun& data, const StateOfRun& run,
                  ordered_json& state) {
    state[kSamples] = run.samples;
    state[kBatch] = {{"ranks", recipe.world_size}, {"micro_batches", recipe.global_micro_steps}};
    state[kSchedule] = {{"max_iters", recipe.max_iters},
                        {"lr_decay_iters", recipe.lr_decay_iters},
                        {"lr_decay_iters_of_keys", run.lr_decay_iters_of_keys}};
    if (recipe.rewarm) {
        state[kSchedule]["rewarm"] = {{"start", recipe.rewarm->start},
                                      {"from", recipe.rewarm->from}};
    }
    state[kData] = {{"train", data.training}};
    if (!data.validation.empty()) state[kData]["validation"] = data.validation;
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
                "the learning rate warms up from {:.3g} to {:.3g} again over {} iterations and "
                "decays to {:.3g} at iteration {}",
                old_rate, now.keys.optimizer.learning_rate, now.keys.optimizer.warmup_iters,
                now.min_lr, new_end));
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
    const auto found = run.state.find(kData);
    if (found == run.state.end()) return;  // an older checkpoint: the names decide
    const std::string training = found->value("train", std::string());
    const std::string validation = found->value("validation", std::string());
    const bool same_training = training == now.training;
    const bool same_validation =
        validation.empty() || now.validation.empty() || validation == now.validation;
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

/// Model keys that have no effect beside an imported model, but whose change would be meant.
void compare_ignored_model_keys(const recipe::Recipe& before, const recipe::Recipe& now,
                                recipe::ResumeChanges& changes) {
    for (const config::Field& field : recipe::train_schema().sections().front().fields) {
        const std::string key(field.info.key);
        const std::string old_text = config::to_text(field.get(&before.keys));
        const std::string new_text = config::to_text(field.get(&now.keys));
        if (old_text == new_text || recipe::on_resume(key) != recipe::OnResume::fixed) continue;
        if (key == "max_position_embeddings") continue;  // compared as the length of sequences
        changes.fixed.push_back({key, old_text.empty() ? "not set" : old_text,
                                 new_text.empty() ? "not set" : new_text});
    }
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
        if (run.state.contains(trained_model::kImportedModelKey))
            compare_ignored_model_keys(before, now, changes);
    }
    if (!changes.fixed.empty()) refuse(changes.fixed, checkpoint);
    result.changes = std::move(changes.noted);
    return result;
}

std::string new_run_note(const checkpoint::CheckpointReader& checkpoint,
                         const recipe::Recipe& now) {
    std::string note = fmt::format(
        "a new run from the weights of {}: iterations, data, optimizer and schedule begin anew",
        checkpoint.directory().string());
    const ordered_json state = checkpoint.trainer_state();
    if (!state.contains("config")) return note;
    const ordered_json imported =
        state.value(std::string(trained_model::kImportedModelKey), ordered_json());
    const recipe::Recipe before =
        recipe_of_state(state, imported, checkpoint.ranks(),
                        (checkpoint.directory() / "trainer_state.json").string());
    for (const recipe::KeyChange& change : recipe::model_changes(before.model, now.model))
        note += fmt::format("\n  another model: {}", recipe::to_text(change));
    return note;
}

}  // namespace isoflop::trainer
