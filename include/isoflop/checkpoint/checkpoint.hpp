// Checkpoints of a run, as logical tensors (name, global shape, slice): they load on any number of
// ranks.
//
//   <run>/checkpoints/step_00000200/
//       model.safetensors        weights, by their Hugging Face names
//       optimizer.safetensors    exp_avg.<name>, exp_avg_sq.<name>
//       trainer_state.json       what the trainer needs to continue
//       manifest.json            format version, step, files with sizes and CRC-32C, slices
//   <run>/latest                 symbolic link to the newest one
//
// A checkpoint is written into checkpoints/.step_00000200.writing, flushed to the disk and then
// renamed: a step_* folder is complete, unless it was damaged later, which its checksums detect.
// With several ranks each rank writes its own files (model-00002-of-00004.safetensors) into the
// same folder, one rank begins and commits.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "isoflop/checkpoint/safetensors.hpp"
#include "isoflop/device/tensor_view.hpp"

namespace isoflop::checkpoint {

/// Key of the trainer state that holds the validation loss of the checkpoint (a number; absent or
/// null: not known). The lowest one marks the best checkpoint.
inline constexpr std::string_view kValidationLossKey = "val_loss";

/// A tensor, or the slice of it that this rank holds: elements [first_element, first_element +
/// data.size()) of the row-major whole. The memory must be readable by the CPU.
struct NamedTensor {
    std::string name;
    std::vector<std::int64_t> shape;  ///< of the whole tensor
    device::TensorView data;
    std::int64_t first_element = 0;
    std::shared_ptr<const void> owner = {};  ///< of the data, where it is a copy
};

struct CheckpointOptions {
    std::int64_t keep_checkpoints = 3;  ///< number of newest checkpoints to keep; 0 keeps all
    /// also keep the checkpoint with the lowest validation loss
    bool keep_best = true;
    /// Names the run that the checkpoint belongs to. Old checkpoints are removed only where they
    /// have the same lineage; checkpoints of older programs have an empty one.
    std::string lineage = {};
};

/// A name that no other run has.
[[nodiscard]] std::string new_lineage();

/// Writes <run>/checkpoints/step_NNNNNNNN, points `latest` at it, then removes old checkpoints. A
/// checkpoint of the same step is replaced. On failure (full disk, ...) throws IoError: the partial
/// checkpoint is removed and the older checkpoints stay. `trainer_state` is an object; numbers keep
/// every bit (except NaN and infinities, which JSON lacks). The name of an optimizer's tensor is
/// the prefix of the state and the name of the weight. Returns the folder.
std::filesystem::path write_checkpoint(const std::filesystem::path& run_dir, std::int64_t step,
                                       std::span<const NamedTensor> weights,
                                       std::span<const NamedTensor> optimizer_state,
                                       const nlohmann::ordered_json& trainer_state,
                                       const CheckpointOptions& options = {});

// Several ranks on one file system write a checkpoint in three steps:
//   one rank   begin_checkpoint;  barrier
//   each rank  write_shard with its slices;  barrier
//   one rank   commit_checkpoint
struct Shard {
    std::int64_t index = 0;
    std::int64_t count = 1;
};

/// Removes the remains of killed runs, makes the temporary folder and returns its path.
std::filesystem::path begin_checkpoint(const std::filesystem::path& run_dir, std::int64_t step);
void write_shard(const std::filesystem::path& run_dir, std::int64_t step, const Shard& shard,
                 std::span<const NamedTensor> weights,
                 std::span<const NamedTensor> optimizer_state);
/// Throws IoError when the slices of the shards do not form complete tensors.
std::filesystem::path commit_checkpoint(const std::filesystem::path& run_dir, std::int64_t step,
                                        std::int64_t shard_count,
                                        const nlohmann::ordered_json& trainer_state,
                                        const CheckpointOptions& options = {});
/// Removes the temporary folder after a failure; never throws.
void abandon_checkpoint(const std::filesystem::path& run_dir, std::int64_t step) noexcept;

/// The ranks of a run, as one of them sees them.
struct CheckpointRanks {
    Shard shard;
    /// Waits for all ranks. True on every rank when `failed` is true on one of them.
    std::function<bool(bool failed)> any_failed;
};

/// Those steps, called by all ranks at once: each writes the slices that it holds. When one fails,
/// it throws its own exception, all others IoError, and older checkpoints stay. Returns the folder
/// on the first rank, an empty path on the others.
std::filesystem::path write_checkpoint(const CheckpointRanks& ranks,
                                       const std::filesystem::path& run_dir, std::int64_t step,
                                       std::span<const NamedTensor> weights,
                                       std::span<const NamedTensor> optimizer_state,
                                       const nlohmann::ordered_json& trainer_state,
                                       const CheckpointOptions& options = {});

/// A tensor as the manifest describes it.
struct TensorDescription {
    std::string name;
    ElementType type = ElementType::f32;
    std::vector<std::int64_t> shape;
};

/// A verified checkpoint. Tensors of the optimizer are called prefix + name of the weight, with
/// the prefixes of cost/optimizer_state.hpp.
class CheckpointReader {
public:
    /// `path` is a step_NNNNNNNN folder, a `latest`, or a run's folder (its newest valid
    /// checkpoint). Reads every file once to verify its checksum. Throws IoError naming the file
    /// that is missing, truncated or altered.
    [[nodiscard]] static CheckpointReader open(const std::filesystem::path& path);

    CheckpointReader(CheckpointReader&&) noexcept;
    CheckpointReader& operator=(CheckpointReader&&) noexcept;
    ~CheckpointReader();

    [[nodiscard]] const std::filesystem::path& directory() const;
    [[nodiscard]] std::int64_t step() const;
    [[nodiscard]] std::optional<double> validation_loss() const;
    [[nodiscard]] const std::string& lineage() const;
    [[nodiscard]] std::int64_t ranks() const;  ///< that wrote it
    [[nodiscard]] nlohmann::ordered_json trainer_state() const;
    [[nodiscard]] const std::vector<TensorDescription>& tensors() const;
    [[nodiscard]] const TensorDescription* find(
        std::string_view name) const;  ///< nullptr when absent
    /// Throws IoError naming checkpoint and tensor unless it is there with this shape.
    const TensorDescription& require(std::string_view name,
                                     std::span<const std::int64_t> shape) const;

    /// Elements [offset, offset + values.size()) of the row-major tensor. Throws IoError when there
    /// is no such tensor, std::out_of_range when the range does not fit.
    void read(std::string_view name, std::int64_t offset, std::span<float> values) const;
    void read(std::string_view name, std::int64_t offset, std::span<double> values) const;

private:
    struct State;
    explicit CheckpointReader(std::unique_ptr<State> state);
    std::unique_ptr<State> state_;
};

/// Called for every damaged checkpoint that is skipped, newest first.
using CorruptCallback =
    std::function<void(const std::filesystem::path& checkpoint, const std::string& reason)>;

/// The newest valid checkpoint of a run. nullopt when the run has none at all; IoError when it has
/// some and all are damaged, since a new start would then hide the loss.
[[nodiscard]] std::optional<CheckpointReader> open_latest(const std::filesystem::path& run_dir,
                                                          const CorruptCallback& on_corrupt = {});

/// A checkpoint whose manifest is readable and whose files are complete; their content is not read.
struct CheckpointEntry {
    std::int64_t step = 0;
    std::filesystem::path path;
    std::string lineage;
    std::optional<double> validation_loss;
};
/// Newest first.
[[nodiscard]] std::vector<CheckpointEntry> undamaged_checkpoints(
    const std::filesystem::path& run_dir);

/// Whether there is any, damaged or not.
[[nodiscard]] bool has_checkpoints(const std::filesystem::path& run_dir);
/// Whether a run has ever had one, by its `latest`, which may lead nowhere.
[[nodiscard]] bool has_latest(const std::filesystem::path& run_dir);
/// Points `latest` at this checkpoint unless it leads there already; true when it did not.
bool repair_latest(const std::filesystem::path& run_dir, std::int64_t step);

/// Gives the checkpoint of this step another trainer state, such as one with the validation loss of
/// its weights, in one step; the tensors stay. Then removes old checkpoints.
void replace_state(const std::filesystem::path& run_dir, std::int64_t step,
                   const nlohmann::ordered_json& trainer_state,
                   const CheckpointOptions& options = {});

/// Renames the checkpoints of this lineage after `step` to diverged_step_NNNNNNNN, so that the run
/// resumes from `step`, to which `latest` then points. Returns their new folders.
std::vector<std::filesystem::path> set_aside_after(const std::filesystem::path& run_dir,
                                                   std::int64_t step, const std::string& lineage);

/// "step_00000200"
[[nodiscard]] std::string checkpoint_name(std::int64_t step);

}  // namespace isoflop::checkpoint
