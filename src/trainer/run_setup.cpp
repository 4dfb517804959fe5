#include "run_setup.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iostream>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/printable.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/config/json.hpp"
#include "isoflop/device/rank_gpu.hpp"
#include "isoflop/machine/this_machine.hpp"
#include "isoflop/recipe/data_vocabulary.hpp"
#include "isoflop/text/message.hpp"
#include "isoflop/trained_model/loaded_model.hpp"
#include "memory_check.hpp"
#include "open_run_log.hpp"

namespace isoflop::trainer {
namespace fs = std::filesystem;

namespace {

constexpr std::uint64_t kLargestConfig = std::uint64_t{1} << 27U;

data::TokenDataset open_data(const recipe::DataKeys& keys, data::Split split) {
    const std::string& given = split == data::Split::train ? keys.train_data : keys.val_data;
    return data::TokenDataset::open(given.empty() ? recipe::dataset_location(keys.dataset) : given,
                                    split);
}

void warn_of_damage(const fs::path& path, const std::string& why) {
    const std::string warning =
        fmt::format("warning: {} is damaged and passed over: {}", path.string(), why);
    std::cerr << text::message_for(STDERR_FILENO, printable_lines(warning)) << '\n';
}

/// The checkpoints of one run: continued from another run's, this one would be neither.
void check_lineages(const fs::path& run) {
    const auto entries = checkpoint::undamaged_checkpoints(run);
    const auto other = std::find_if(entries.begin(), entries.end(), [&](const auto& entry) {
        return entry.lineage != entries.front().lineage;
    });
    if (other == entries.end()) return;
    throw ConfigError(fmt::format(
        "{}: its checkpoints are of different runs: {} is of run {}, {} of run {}. Move those of "
        "one run elsewhere",
        run.string(), entries.front().path.filename().string(),
        entries.front().lineage.empty() ? "(unnamed)" : entries.front().lineage,
        other->path.filename().string(), other->lineage.empty() ? "(unnamed)" : other->lineage));
}

/// A log beside the checkpoints of another run would become that of both.
void check_log(const fs::path& run, const std::string& lineage) {
    const std::string logged = lineage_of_log(run);
    if (logged.empty() || lineage.empty() || logged == lineage) return;
    throw ConfigError(
        fmt::format("{}: its checkpoints are of run {}, its metrics.jsonl is of run {}; put the "
                    "files of one run together",
                    run.string(), lineage, logged));
}

/// `latest` is for people and other programs; the list of checkpoints decides.
void repair_latest(const fs::path& run, std::int64_t step) {
    if (!checkpoint::repair_latest(run, step)) return;
    std::cerr << printable_lines(
        fmt::format("note: {} was missing or led elsewhere; it leads to checkpoints/{} again\n",
                    (run / "latest").string(), checkpoint::checkpoint_name(step)));
}

/// The folder that train import makes has the model's config.json, which describes it completely.
void set_imported_model(TrainerState& state, const fs::path& checkpoint) {
    if (!state.imported_model.is_null() || state.iteration > 0) return;
    const fs::path companions = checkpoint::companion_folder(checkpoint);
    if (companions.empty()) return;
    state.imported_model = config::read_json_file(companions / "config.json", kLargestConfig);
}

/// Every rank continues from the checkpoint that the first rank found.
void open_resumed(RunSetup& setup, const recipe::RunKeys& keys, const World& world, bool dry_run) {
    const std::string run =
        world.from_first("run to resume", [&] { return existing_run(keys).folder.string(); });
    setup.place = {fs::path(run).filename().string(), run};
    const std::string checkpoint = world.from_first("checkpoint", [&] {
        if (setup.writes && !setup.lock.held()) setup.lock = lock_run(run);
        setup.resumed = checkpoint::open_latest(run, warn_of_damage);
        if (!setup.resumed)
            throw ConfigError(fmt::format("{}: holds no checkpoint to resume from", run));
        check_lineages(run);
        check_log(run, setup.resumed->lineage());
        setup.resumed_state = read_trainer_state(*setup.resumed, StateUse::resume);
        if (!dry_run) repair_latest(run, setup.resumed->step());
        return setup.resumed->directory().string();
    });
    if (!setup.resumed) {
        setup.resumed = checkpoint::CheckpointReader::open(checkpoint);
        setup.resumed_state = read_trainer_state(*setup.resumed, StateUse::resume);
    }
    set_imported_model(setup.resumed_state, setup.resumed->directory());
    setup.imported_model = setup.resumed_state.imported_model;
}

/// Whether the log of a run says that it had a checkpoint.
bool logs_checkpoint(const fs::path& run) {
    const fs::path path = run / "metrics.jsonl";
    std::error_code error;
    if (!fs::exists(path, error)) return false;
    (void)open_regular_file(path);  // refuses anything else, which reading might wait for
    std::ifstream log(path);
    std::string line;
    while (std::getline(log, line)) {
        if (line.starts_with(R"({"type":"checkpoint")")) return true;
    }
    return false;
}

/// A run begins at zero only where no checkpoint has ever been.
bool has_run(const fs::path& run) {
    if (checkpoint::has_checkpoints(run)) return true;
    if (checkpoint::has_latest(run) || logs_checkpoint(run)) {
        throw IoError(fmt::format(
            "{}: this run had checkpoints, and none is left. Restore them, or begin a new run with "
            "another run_name",
            run.string()));
    }
    return false;
}

void open_initial_state(RunSetup& setup, const recipe::RunKeys& keys, const World& world,
                        bool dry_run) {
    if (keys.init_from == "scratch") return;
    if (keys.init_from == "resume") return open_resumed(setup, keys, world, dry_run);
    if (keys.init_from == "auto") {
        if (keys.run_name.empty()) throw ConfigError("init_from=auto needs run_name");
        const std::string start = world.from_first("start", [&] {
            const fs::path run = fs::path(keys.out_dir) / keys.run_name;
            if (setup.writes) setup.lock = lock_run(run);
            return std::string(has_run(run) ? "resume" : "scratch");
        });
        if (start == "resume") return open_resumed(setup, keys, world, dry_run);
        if (start != "scratch") throw IoError("the start that rank 0 chose is damaged");
        return;
    }
    const fs::path path(keys.init_from);
    if (!fs::is_directory(path)) {
        throw ConfigError(
            fmt::format("init_from must be scratch, resume, auto or the folder of a checkpoint or "
                        "Hugging Face model; found \"{}\"{}",
                        keys.init_from,
                        keys.init_from.starts_with("gpt2")
                            ? ". Nothing is downloaded: give the folder of the published model"
                            : ""));
    }
    if (fs::exists(path / "config.json")) {
        setup.hugging_face = checkpoint::import_hugging_face(path);
        setup.imported_model = config::read_json_file(path / "config.json", kLargestConfig);
    } else {
        setup.initial_weights = checkpoint::CheckpointReader::open(path);
        setup.initial_state = read_trainer_state(*setup.initial_weights, StateUse::weights);
        set_imported_model(setup.initial_state, setup.initial_weights->directory());
        setup.imported_model = setup.initial_state.imported_model;
    }
}

/// Number of the GPU of this rank; 0 on a CPU.
int ordinal_of(cost::DeviceKind device, const comm::LaunchInfo& launch) {
    if (device != cost::DeviceKind::cuda) return 0;
    return device::gpu_of_rank(device::count_gpus().devices, launch.local_rank,
                               launch.local_world_size);
}

/// The device of this rank.
std::unique_ptr<device::Device> open_device(const recipe::Recipe& config, const World& world) {
    const recipe::ExecutionKeys& keys = config.keys.execution;
    return device::open_device(
        config.execution.device,
        {.ordinal = ordinal_of(config.execution.device, world.launch()),
         .deterministic = keys.deterministic,
         .allow_tf32 = config.execution.dtype == DType::tf32,
         .gemm_cache = keys.gemm_autotune
                           ? (fs::path(config.keys.run.out_dir) / "gemm_autotune.txt").string()
                           : std::string(),
         .plan_cache = (fs::path(config.keys.run.out_dir) / "cudnn_plans").string(),
         .ranks_on_host = world.launch().local_world_size});
}

/// The decision for auto, made by the first rank; nullopt when a backend is requested.
std::optional<attention_lab::AttentionDecision> agree_on_attention(const RunSetup& setup,
                                                                   const recipe::Recipe& config,
                                                                   const World& world,
                                                                   device::ThreadPool& pool) {
    if (config.keys.execution.attention_backend != recipe::AttentionChoice::automatic)
        return std::nullopt;
    const std::string text = world.from_first("attention backend", [&] {
        device::Context context(pool, *setup.device);
        const auto fits = [&](cost::AttentionBackend backend) {
            const recipe::RunPlan plan = attention_lab::plan_with_attention(
                config, attention_lab::AttentionDecision{backend, {}, {}});
            return memory_need(plan, setup.device->memory_use()).fits();
        };
        return to_json(attention_lab::decide_attention(config, context,
                                                       setup.resumed_state.attention, fits))
            .dump();
    });
    auto decision = attention_lab::attention_decision_from_json(
        config::parse_json(text, "attention backend of rank 0"));
    if (!decision) throw IoError("the attention backend that rank 0 chose is damaged");
    return decision;
}

/// Validation data may be missing where nothing asks for an evaluation.
std::optional<data::TokenDataset> open_validation_data(const recipe::TrainKeys& keys) {
    const bool only_training = !keys.data.train_data.empty() && keys.data.val_data.empty() &&
                               keys.data.dataset == recipe::DataKeys{}.dataset;
    const bool wanted = keys.run.eval_interval > 0 || keys.run.eval_only;
    if (only_training && wanted) {
        throw ConfigError(
            "train_data is given and val_data is not: give val_data, or eval_interval=0 to train "
            "without evaluations");
    }
    if (only_training) return std::nullopt;
    try {
        return open_data(keys.data, data::Split::validation);
    } catch (const Error& error) {
        if (wanted || !keys.data.val_data.empty()) {
            throw Error(
                error.exit_code(),
                fmt::format("{}; eval_interval=0 trains without validation data", error.what()));
        }
        return std::nullopt;
    }
}

/// Where the run starts, with the keys held to what a checkpoint fixes.
void set_start(RunSetup& setup, const RecordedRun& recorded, recipe::Recipe& config) {
    setup.data.training = describe_data(setup.train_data);
    if (setup.validation_data) setup.data.validation = describe_data(*setup.validation_data);
    setup.start.lr_decay_iters_of_keys = config.lr_decay_iters;
    if (setup.resumed) {
        setup.resumption = resume(recorded, config, setup.data, *setup.resumed);
        setup.start = {setup.resumption.lr_decay_iters_of_keys,
                       recorded.recipe ? recorded.samples
                                       : recorded.iteration * config.global_micro_steps *
                                             config.execution.micro_batch_size};
        setup.lineage = setup.resumed->lineage();
    } else if (setup.initial_weights) {
        setup.start_note = new_run_note(*setup.initial_weights, setup.initial_state, config);
    } else if (setup.hugging_face) {
        setup.start_note = fmt::format("a new run from the weights of the Hugging Face folder {}",
                                       config.keys.run.init_from);
    }
}

}  // namespace

RunSetup prepare_run(recipe::TrainKeys keys, const World& world, device::ThreadPool& pool,
                     bool dry_run) {
    RunSetup setup;
    setup.writes = !dry_run && !keys.run.eval_only;
    setup.train_data = open_data(keys.data, data::Split::train);
    setup.validation_data = open_validation_data(keys);
    for (const data::TokenSource& source : setup.train_data.sources()) {
        if (world.is_first() && !source.note().empty())
            std::cerr << text::message_for(STDERR_FILENO, "warning: " + printable(source.note()))
                      << '\n';
    }
    setup.tokenizer = setup.train_data.tokenizer();
    open_initial_state(setup, keys.run, world, dry_run);
    const bool imported = !setup.imported_model.is_null();
    if (!keys.model.vocab_size && !imported && setup.train_data.vocab_size() > 0) {
        keys.model.vocab_size = setup.train_data.vocab_size();  // as the data say
    }
    RecordedRun recorded;
    if (setup.resumed) {
        recorded = recorded_run(setup.resumed_state, setup.resumed->ranks());
        keep_global_batch(keys, recorded, world.size());
    }
    const recipe::Machine here = machine::this_machine(world.size());
    const recipe::Machine machine = dry_run ? recipe::planned_machine(here, keys) : here;
    recipe::Recipe config =
        imported ? recipe::recipe_of(
                       keys, trained_model::imported_model_config(setup.imported_model), machine)
                 : recipe::recipe_of(keys, machine);
    setup.train_data.set_model_vocab_size(config.model.vocab_size);
    if (setup.validation_data) setup.validation_data->set_model_vocab_size(config.model.vocab_size);
    set_start(setup, recorded, config);
    if (dry_run) {  // nothing is allocated or timed: the plan may be for another machine
        setup.plan = attention_lab::plan_with_attention(std::move(config));
        setup.memory = planned_verdict(setup.plan, world.launch().local_world_size);
        return setup;
    }
    setup.device = open_device(config, world);
    setup.attention = agree_on_attention(setup, config, world, pool);
    setup.plan = attention_lab::plan_with_attention(std::move(config), setup.attention);
    check_memory(setup.plan, setup.device->memory_use());
    setup.memory = memory_verdict(setup.plan, setup.device->memory_use(),
                                  setup.device->kind() == cost::DeviceKind::cuda
                                      ? setup.device->info().name
                                      : std::string("this machine"));
    if (!setup.resumed && setup.writes) {
        const fs::path folder = world.from_first(
            "run", [&] { return new_run(setup.plan, setup.lock).folder.string(); });
        setup.place = {folder.filename().string(), folder};
        setup.lineage = world.from_first("lineage", [&] {
            // A run that was lost before its first checkpoint left its log.
            const std::string logged = lineage_of_log(folder);
            return logged.empty() ? checkpoint::new_lineage() : logged;
        });
    }
    return setup;
}

}  // namespace isoflop::trainer
