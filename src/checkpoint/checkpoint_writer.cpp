// Writing: every shard its files and a record of them; then one commit that makes the checkpoint
// visible.
#include <fcntl.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "checkpoint_folders.hpp"
#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"
#include "manifest.hpp"

namespace isoflop::checkpoint {
namespace {

/// A tensor with the prefix that its name gets.
struct Item {
    std::string name;
    const NamedTensor* tensor = nullptr;
    ElementType type = ElementType::f32;
};

std::vector<Item> items_of(std::span<const NamedTensor> tensors) {
    std::vector<Item> items;
    for (const NamedTensor& tensor : tensors) {
        const auto elements = static_cast<std::int64_t>(element_count(tensor.shape));
        const std::int64_t first = tensor.first_element;
        if (first < 0 || first > elements || tensor.data.size() > elements - first) {
            throw std::logic_error(
                fmt::format("checkpoint: tensor '{}' [{}] has no elements {} to {}", tensor.name,
                            fmt::join(tensor.shape, ", "), first, first + tensor.data.size()));
        }
        // A rank without a part of this tensor; an empty tensor has no values.
        if (tensor.data.size() == 0 && elements != 0) continue;
        items.push_back(
            {.name = tensor.name, .tensor = &tensor, .type = element_type(tensor.data.dtype())});
    }
    return items;
}

std::string shard_file_name(std::string_view stem, const Shard& shard) {
    if (shard.count == 1) return fmt::format("{}.safetensors", stem);
    return fmt::format("{}-{:05}-of-{:05}.safetensors", stem, shard.index + 1, shard.count);
}

std::filesystem::path record_path(const std::filesystem::path& folder, std::int64_t index) {
    return folder / fmt::format("record-{:05}.json", index + 1);
}

TensorDeclaration declare(const Item& item) {
    const NamedTensor& tensor = *item.tensor;
    const bool whole =
        static_cast<std::uint64_t>(tensor.data.size()) == element_count(tensor.shape);
    return {.name = item.name,
            .type = item.type,
            .shape = whole ? tensor.shape : std::vector<std::int64_t>{tensor.data.size()}};
}

/// Writes one file and adds what it holds to the record.
void write_file(const std::filesystem::path& folder, const std::string& file_name,
                std::vector<Item> items, Manifest& record) {
    std::stable_sort(items.begin(), items.end(), [](const Item& a, const Item& b) {
        return size_in_bytes(a.type) > size_in_bytes(b.type);
    });
    std::vector<TensorDeclaration> declarations;
    declarations.reserve(items.size());
    for (const Item& item : items) declarations.push_back(declare(item));
    SafetensorsWriter writer(folder / file_name, declarations, {{"format", "pt"}});
    for (const Item& item : items) {
        const device::TensorView& data = item.tensor->data;
        writer.write_bytes(
            {static_cast<const std::byte*>(data.data()), static_cast<std::size_t>(data.bytes())});
        record.tensors.push_back(
            {.description = {.name = item.name, .type = item.type, .shape = item.tensor->shape},
             .slices = {
                 {.file = file_name, .first = item.tensor->first_element, .count = data.size()}}});
    }
    record.files.push_back({.name = file_name, .summary = writer.finish()});
}

Manifest write_files(const std::filesystem::path& folder, std::int64_t step, const Shard& shard,
                     std::span<const NamedTensor> weights,
                     std::span<const NamedTensor> optimizer_state) {
    if (shard.count < 1 || shard.index < 0 || shard.index >= shard.count) {
        throw std::logic_error("checkpoint: no such shard");
    }
    Manifest record;
    record.step = step;
    write_file(folder, shard_file_name("model", shard), items_of(weights), record);
    // Without an optimizer (an imported model) there is no such file.
    if (!optimizer_state.empty())
        write_file(folder, shard_file_name("optimizer", shard), items_of(optimizer_state), record);
    return record;
}

std::optional<double> validation_loss_of(const nlohmann::ordered_json& state) {
    const auto loss = state.find(std::string(kValidationLossKey));
    if (loss == state.end() || !loss->is_number()) return std::nullopt;
    return loss->get<double>();
}

/// From here on the checkpoint exists.
void seal(const std::filesystem::path& run_dir, std::int64_t step, Manifest manifest,
          const nlohmann::ordered_json& trainer_state, const std::string& lineage) {
    if (!trainer_state.is_object())
        throw std::logic_error("checkpoint: the trainer state must be an object");
    const auto folder = writing_folder(run_dir, step);
    check_slices(manifest, folder);
    manifest.step = step;
    manifest.lineage = lineage;
    manifest.validation_loss = validation_loss_of(trainer_state);

    const std::string state_text =
        trainer_state.dump(2, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
    write_text_file(folder / kStateFile, state_text);
    manifest.files.push_back(
        {.name = kStateFile,
         .summary = {.bytes = state_text.size(), .checksum = crc32c(state_text)}});
    write_text_file(folder / kManifestFile, manifest_text(manifest));
    publish(run_dir, step);
}

std::filesystem::path announce(const std::filesystem::path& run_dir, std::int64_t step,
                               const CheckpointOptions& options) {
    point_latest(run_dir, step);
    remove_old_checkpoints(run_dir, step, options);
    return final_folder(run_dir, step);
}

std::uint64_t bytes_of(std::span<const NamedTensor> tensors) {
    std::uint64_t bytes = 0;
    for (const NamedTensor& tensor : tensors) bytes += tensor.data.bytes();
    return bytes;
}

/// The fault, and its consequence for the run.
IoError explain_failure(const IoError& error, const std::filesystem::path& run_dir,
                        std::int64_t step, std::uint64_t bytes) {
    std::error_code unknown;
    const auto space = std::filesystem::space(run_dir, unknown);
    std::string message =
        fmt::format("{}. The checkpoint of step {} ({}) was not saved; earlier ones are untouched",
                    error.what(), step, human_bytes(static_cast<double>(bytes)));
    if (!unknown)
        message +=
            fmt::format(" ({} free there)", human_bytes(static_cast<double>(space.available)));
    return IoError(message);
}

/// The same file under another name, or a copy where the file system has no hard links.
void link_file(const std::filesystem::path& from, const std::filesystem::path& to) {
    std::error_code error;
    std::filesystem::create_hard_link(from, to, error);
    if (!error) return;
    const RandomAccessFile source(from);
    NewFile copy(to);
    std::vector<std::byte> piece(std::min<std::uint64_t>(source.size(), 1U << 20U));
    for (std::uint64_t done = 0; done < source.size(); done += piece.size()) {
        piece.resize(std::min<std::uint64_t>(source.size() - done, piece.size()));
        source.read(done, piece);
        copy.append(piece);
    }
    copy.commit();
}

}  // namespace

std::filesystem::path begin_checkpoint(const std::filesystem::path& run_dir, std::int64_t step) {
    if (step < 0) throw std::logic_error("checkpoint: negative step");
    make_directories(checkpoints_folder(run_dir));
    remove_leftovers(run_dir);
    auto folder = writing_folder(run_dir, step);
    make_directories(folder);
    return folder;
}

void write_shard(const std::filesystem::path& run_dir, std::int64_t step, const Shard& shard,
                 std::span<const NamedTensor> weights,
                 std::span<const NamedTensor> optimizer_state) {
    const auto folder = writing_folder(run_dir, step);
    const Manifest record = write_files(folder, step, shard, weights, optimizer_state);
    write_text_file(record_path(folder, shard.index), manifest_text(record));
}

std::filesystem::path commit_checkpoint(const std::filesystem::path& run_dir, std::int64_t step,
                                        std::int64_t shard_count,
                                        const nlohmann::ordered_json& trainer_state,
                                        const CheckpointOptions& options) {
    const auto folder = writing_folder(run_dir, step);
    std::vector<Manifest> records;
    for (std::int64_t index = 0; index < shard_count; ++index) {
        records.push_back(read_manifest(record_path(folder, index)));
        std::filesystem::remove(record_path(folder, index));
    }
    seal(run_dir, step, merge(records), trainer_state, options.lineage);
    return announce(run_dir, step, options);
}

void abandon_checkpoint(const std::filesystem::path& run_dir, std::int64_t step) noexcept {
    try {
        std::error_code ignored;
        std::filesystem::remove_all(writing_folder(run_dir, step), ignored);
    } catch (...) {  // out of memory: the next begin_checkpoint removes it
        return;
    }
}

void replace_state(const std::filesystem::path& run_dir, std::int64_t step,
                   const nlohmann::ordered_json& trainer_state, const CheckpointOptions& options) {
    const auto complete = final_folder(run_dir, step);
    Manifest manifest = read_manifest(complete / kManifestFile);
    std::erase_if(manifest.files, [](const FileRecord& file) { return file.name == kStateFile; });
    try {
        const auto folder = begin_checkpoint(run_dir, step);
        for (const FileRecord& file : manifest.files)
            link_file(complete / file.name, folder / file.name);
        seal(run_dir, step, std::move(manifest), trainer_state, options.lineage);
    } catch (...) {
        abandon_checkpoint(run_dir, step);
        throw;
    }
    remove_old_checkpoints(run_dir, step, options);
}

std::filesystem::path write_checkpoint(const std::filesystem::path& run_dir, std::int64_t step,
                                       std::span<const NamedTensor> weights,
                                       std::span<const NamedTensor> optimizer_state,
                                       const nlohmann::ordered_json& trainer_state,
                                       const CheckpointOptions& options) {
    try {
        const auto folder = begin_checkpoint(run_dir, step);
        Manifest manifest = write_files(folder, step, {}, weights, optimizer_state);
        seal(run_dir, step, std::move(manifest), trainer_state, options.lineage);
    } catch (const IoError& error) {
        abandon_checkpoint(run_dir, step);
        throw explain_failure(error, run_dir, step, bytes_of(weights) + bytes_of(optimizer_state));
    } catch (...) {
        abandon_checkpoint(run_dir, step);
        throw;
    }
    return announce(run_dir, step, options);
}

}  // namespace isoflop::checkpoint
