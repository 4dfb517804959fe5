#include "trainer_state.hpp"

#include <fmt/format.h>

#include <cmath>
#include <string_view>
#include <utility>

#include "isoflop/base/error.hpp"
#include "isoflop/trained_model/loaded_model.hpp"

namespace isoflop::trainer {

using nlohmann::ordered_json;

namespace {

constexpr const char* kIteration = "iter";
constexpr const char* kUpdates = "updates";
constexpr const char* kLossScale = "loss_scale";
constexpr const char* kUpdatesAtLossScale = "updates_at_loss_scale";
constexpr const char* kBestLoss = "best_val_loss";
constexpr const char* kConfig = "config";
constexpr const char* kSamples = "samples";
constexpr const char* kBatch = "batch";
constexpr const char* kSchedule = "schedule";
constexpr const char* kRewarm = "rewarm";
constexpr const char* kData = "data";
constexpr const char* kAttention = "attention";

/// Far beyond any run, and small enough for products with sizes of a batch.
constexpr std::int64_t kMostIterations = std::int64_t{1} << 40U;
constexpr std::int64_t kMostSamples = std::int64_t{1} << 50U;
constexpr std::int64_t kMostRanks = std::int64_t{1} << 24U;
constexpr std::int64_t kMost = std::int64_t{1} << 62U;  // of what keys set

/// An object of the file, with the path of its key in it: "schedule.".
class Members {
public:
    Members(const ordered_json& object, std::string source, std::string path)
        : object_(object), source_(std::move(source)), path_(std::move(path)) {}

    /// nullptr when it is missing or null.
    [[nodiscard]] const ordered_json* find(const char* key) const {
        const auto found = object_.find(key);
        return found == object_.end() || found->is_null() ? nullptr : &*found;
    }
    [[nodiscard]] const ordered_json& at(const char* key) const {
        if (const ordered_json* found = find(key)) return *found;
        throw IoError(fmt::format("'{}' is damaged: no '{}{}'", source_, path_, key));
    }
    [[nodiscard]] std::int64_t count(const char* key, std::int64_t least, std::int64_t most) const {
        const ordered_json& value = at(key);
        const auto upper = static_cast<std::uint64_t>(most);
        if (!value.is_number_unsigned() || value.get<std::uint64_t>() > upper ||
            value.get<std::int64_t>() < least)
            refuse(key, fmt::format("a whole number from {} to {}", least, most));
        return value.get<std::int64_t>();
    }
    [[nodiscard]] double number(const char* key) const {
        const ordered_json& value = at(key);
        if (!value.is_number() || !std::isfinite(value.get<double>()))
            refuse(key, "a finite number");
        return value.get<double>();
    }
    [[nodiscard]] std::string text(const char* key) const {
        const ordered_json& value = at(key);
        if (!value.is_string()) refuse(key, "a text");
        return value.get<std::string>();
    }
    /// nullopt when it is missing or null.
    [[nodiscard]] std::optional<Members> object(const char* key) const {
        const ordered_json* found = find(key);
        if (found == nullptr) return std::nullopt;
        if (!found->is_object()) refuse(key, "an object");
        return Members(*found, source_, fmt::format("{}{}.", path_, key));
    }
    [[nodiscard]] const ordered_json& json() const { return object_; }

    [[noreturn]] void refuse(const char* key, std::string_view wanted) const {
        constexpr std::size_t kShown = 40;
        std::string found = at(key).dump(-1, ' ', false, ordered_json::error_handler_t::replace);
        if (found.size() > kShown) found = found.substr(0, kShown) + "...";
        throw IoError(fmt::format("'{}' is damaged: '{}{}' must be {}; found {}", source_, path_,
                                  key, wanted, found));
    }

private:
    const ordered_json& object_;
    std::string source_;
    std::string path_;
};

TrainerState::Schedule read_schedule(const Members& schedule) {
    TrainerState::Schedule result;
    result.max_iters = schedule.count("max_iters", 0, kMost);
    result.lr_decay_iters = schedule.count("lr_decay_iters", 0, kMost);
    result.lr_decay_iters_of_keys = schedule.count("lr_decay_iters_of_keys", 0, kMost);
    if (const auto rewarm = schedule.object(kRewarm)) {
        result.rewarm =
            recipe::Rewarm{rewarm->count("start", 0, kMostIterations), rewarm->number("from")};
    }
    return result;
}

/// How far the run came.
void read_progress(const Members& members, std::int64_t step, StateUse use, TrainerState& state) {
    const bool resumes = use == StateUse::resume;
    if (resumes || members.find(kIteration) != nullptr) {
        state.iteration = members.count(kIteration, 0, kMostIterations);
        if (state.iteration != step)
            members.refuse(kIteration, fmt::format("that of the checkpoint, {}", step));
    }
    if (resumes || members.find(kUpdates) != nullptr)
        state.updates = members.count(kUpdates, 0, state.iteration);
    if (members.find(kLossScale) != nullptr) {
        state.loss_scale = members.number(kLossScale);
        if (state.loss_scale <= 0) members.refuse(kLossScale, "over 0");
    }
    if (members.find(kUpdatesAtLossScale) != nullptr)
        state.updates_at_loss_scale = members.count(kUpdatesAtLossScale, 0, kMostIterations);
    if (members.find(kBestLoss) != nullptr) state.best_validation_loss = members.number(kBestLoss);
    if (members.find(kSamples) != nullptr) state.samples = members.count(kSamples, 0, kMostSamples);
}

/// What the run was.
void read_run(const Members& members, TrainerState& state) {
    if (const auto config = members.object(kConfig)) {
        try {
            state.keys = recipe::train_keys_from_json(config->json(), state.source);
        } catch (const ConfigError& error) {  // what a program wrote is data, not a configuration
            throw IoError(fmt::format("'{}' is damaged: {}", state.source, error.what()));
        }
    }
    if (const auto batch = members.object(kBatch)) {
        state.batch = TrainerState::Batch{batch->count("ranks", 1, kMostRanks),
                                          batch->count("micro_batches", 1, kMost)};
    }
    if (const auto schedule = members.object(kSchedule)) state.schedule = read_schedule(*schedule);
    if (const auto data = members.object(kData)) {
        const bool validates = data->find("validation") != nullptr;
        state.data =
            DataOfRun{data->text("train"), validates ? data->text("validation") : std::string()};
    }
    if (const auto attention = members.object(kAttention))
        state.attention = attention_lab::attention_decision_from_json(attention->json());
    const std::string imported(trained_model::kImportedModelKey);
    if (const auto model = members.object(imported.c_str())) state.imported_model = model->json();
}

}  // namespace

TrainerState read_trainer_state(const checkpoint::CheckpointReader& checkpoint, StateUse use) {
    TrainerState state;
    state.source = (checkpoint.directory() / "trainer_state.json").string();
    const ordered_json json = checkpoint.trainer_state();
    if (!json.is_object())
        throw IoError(fmt::format("'{}' is damaged: it holds no object", state.source));
    const Members members(json, state.source, "");
    read_progress(members, checkpoint.step(), use, state);
    read_run(members, state);
    return state;
}

ordered_json to_json(const TrainerState& state) {
    ordered_json json{{kIteration, state.iteration},
                      {kUpdates, state.updates},
                      {kLossScale, state.loss_scale},
                      {kUpdatesAtLossScale, state.updates_at_loss_scale},
                      {kBestLoss, nullptr}};
    if (state.best_validation_loss) json[kBestLoss] = *state.best_validation_loss;
    if (state.keys) json[kConfig] = recipe::to_json(*state.keys);
    if (state.samples) json[kSamples] = *state.samples;
    if (state.batch) {
        json[kBatch] = {{"ranks", state.batch->ranks},
                        {"micro_batches", state.batch->micro_batches}};
    }
    if (const auto& schedule = state.schedule) {
        json[kSchedule] = {{"max_iters", schedule->max_iters},
                           {"lr_decay_iters", schedule->lr_decay_iters},
                           {"lr_decay_iters_of_keys", schedule->lr_decay_iters_of_keys}};
        if (schedule->rewarm) {
            json[kSchedule][kRewarm] = {{"start", schedule->rewarm->start},
                                        {"from", schedule->rewarm->from}};
        }
    }
    if (state.data) {
        json[kData] = {{"train", state.data->training}};
        if (!state.data->validation.empty()) json[kData]["validation"] = state.data->validation;
    }
    if (state.attention) json[kAttention] = attention_lab::to_json(*state.attention);
    if (!state.imported_model.is_null())
        json[std::string(trained_model::kImportedModelKey)] = state.imported_model;
    if (state.validation_loss)
        json[std::string(checkpoint::kValidationLossKey)] = *state.validation_loss;
    return json;
}

}  // namespace isoflop::trainer
