// Reading: all files are verified before the first value is returned.
#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "checkpoint_folders.hpp"
#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "isoflop/checkpoint/checkpoint.hpp"
#include "isoflop/config/json.hpp"
#include "manifest.hpp"

namespace isoflop::checkpoint {
namespace {

constexpr std::uint64_t kMaxStateBytes = std::uint64_t{1} << 28U;
constexpr std::size_t kPieceBytes = std::size_t{1} << 20U;

void verify_file(const std::filesystem::path& path, const FileSummary& expected) {
    const RandomAccessFile file(path);
    if (file.size() != expected.bytes) {
        throw IoError(fmt::format("'{}' is damaged: it has {} bytes instead of {}", path.string(),
                                  file.size(), expected.bytes));
    }
    std::uint32_t checksum = 0;
    std::vector<std::byte> piece(kPieceBytes);
    for (std::uint64_t offset = 0; offset < file.size(); offset += piece.size()) {
        piece.resize(
            static_cast<std::size_t>(std::min<std::uint64_t>(kPieceBytes, file.size() - offset)));
        file.read(offset, piece);
        checksum = crc32c(piece, checksum);
    }
    if (checksum != expected.checksum) {
        throw IoError(fmt::format("'{}' is damaged: its checksum is {} instead of {}",
                                  path.string(), checksum_text(checksum),
                                  checksum_text(expected.checksum)));
    }
}

/// The folder of the checkpoint that the user's path means; nullopt for a run's folder.
std::optional<std::filesystem::path> checkpoint_folder(const std::filesystem::path& path) {
    const bool is_file = std::filesystem::is_regular_file(path);
    const bool is_latest = path.filename() == "latest";
    if (is_file && !is_latest) {
        throw IoError(fmt::format(
            "'{}' is a file: a checkpoint is the folder of a run, or one of its step folders",
            path.string()));
    }
    if (is_latest && (is_file || std::filesystem::is_symlink(path))) {
        const auto target = follow_latest(path);
        if (!std::filesystem::is_directory(target)) {
            throw IoError(fmt::format("'{}' points to '{}', where there is no checkpoint",
                                      path.string(), target.string()));
        }
        return target;
    }
    if (!std::filesystem::is_directory(path)) {
        throw IoError(fmt::format("no checkpoint at '{}': no such folder", path.string()));
    }
    if (std::filesystem::is_directory(checkpoints_folder(path))) return std::nullopt;
    return path;
}

}  // namespace

struct CheckpointReader::State {
    struct Slice {
        const SafetensorsFile* file = nullptr;
        const TensorEntry* entry = nullptr;
        std::int64_t first = 0;
    };

    explicit State(const std::filesystem::path& folder)
        : directory(folder), manifest(read_manifest(folder / kManifestFile)) {
        check_slices(manifest, folder / kManifestFile);
        bool has_state = false;
        for (const FileRecord& file : manifest.files) {
            verify_file(folder / file.name, file.summary);
            if (file.name.ends_with(".safetensors"))
                files.try_emplace(file.name, folder / file.name);
            has_state = has_state || file.name == kStateFile;
        }
        if (!has_state) {
            throw IoError(fmt::format("'{}' is damaged: it does not list {}",
                                      (folder / kManifestFile).string(), kStateFile));
        }
        for (const TensorRecord& tensor : manifest.tensors) index(tensor);
    }

    void index(const TensorRecord& tensor) {
        descriptions.push_back(tensor.description);
        std::vector<Slice>& found = slices[tensor.description.name];
        for (const SliceRecord& record : tensor.slices) {
            const auto file = files.find(record.file);
            const TensorEntry* entry =
                file == files.end() ? nullptr : file->second.find(tensor.description.name);
            if (entry == nullptr || entry->type != tensor.description.type ||
                entry->elements() != record.count) {
                throw IoError(
                    fmt::format("'{}' is damaged: its tensor '{}' differs from the manifest",
                                (directory / record.file).string(), tensor.description.name));
            }
            found.push_back({.file = &file->second, .entry = entry, .first = record.first});
        }
    }

    template <class T>
    void read(std::string_view name, std::int64_t offset, std::span<T> values) const {
        const auto found = slices.find(name);
        if (found == slices.end()) {
            throw IoError(
                fmt::format("checkpoint '{}' has no tensor '{}'", directory.string(), name));
        }
        std::int64_t end = 0;
        for (const Slice& slice : found->second) end = slice.first + slice.entry->elements();
        const auto count = static_cast<std::int64_t>(values.size());
        if (offset < 0 || offset > end || count > end - offset) {
            throw std::out_of_range(fmt::format("tensor '{}': elements {} to {} of {}", name,
                                                offset, offset + count, end));
        }
        for (const Slice& slice : found->second) {
            const std::int64_t begin = std::max(offset, slice.first);
            const std::int64_t stop =
                std::min(offset + count, slice.first + slice.entry->elements());
            if (begin >= stop) continue;
            slice.file->read(*slice.entry, begin - slice.first,
                             values.subspan(static_cast<std::size_t>(begin - offset),
                                            static_cast<std::size_t>(stop - begin)));
        }
    }

    std::filesystem::path directory;
    Manifest manifest;
    std::map<std::string, SafetensorsFile> files = {};
    std::map<std::string, std::vector<Slice>, std::less<>> slices = {};
    std::vector<TensorDescription> descriptions = {};
};

CheckpointReader::CheckpointReader(std::unique_ptr<State> state) : state_(std::move(state)) {}
CheckpointReader::~CheckpointReader() = default;
CheckpointReader::CheckpointReader(CheckpointReader&&) noexcept = default;
CheckpointReader& CheckpointReader::operator=(CheckpointReader&&) noexcept = default;

CheckpointReader CheckpointReader::open(const std::filesystem::path& path) {
    if (const auto folder = checkpoint_folder(path))
        return CheckpointReader(std::make_unique<State>(*folder));
    if (auto newest = open_latest(path)) return std::move(*newest);
    throw IoError(fmt::format("run '{}' has no checkpoint", path.string()));
}

const std::filesystem::path& CheckpointReader::directory() const {
    return state_->directory;
}

std::int64_t CheckpointReader::step() const {
    return state_->manifest.step;
}

std::optional<double> CheckpointReader::validation_loss() const {
    return state_->manifest.validation_loss;
}

const std::string& CheckpointReader::lineage() const {
    return state_->manifest.lineage;
}

std::int64_t CheckpointReader::ranks() const {
    const auto& files = state_->manifest.files;
    return std::count_if(files.begin(), files.end(), [](const FileRecord& file) {
        return file.name.starts_with("model") && file.name.ends_with(".safetensors");
    });
}

nlohmann::ordered_json CheckpointReader::trainer_state() const {
    return config::read_json_file(state_->directory / kStateFile, kMaxStateBytes);
}

const std::vector<TensorDescription>& CheckpointReader::tensors() const {
    return state_->descriptions;
}

const TensorDescription* CheckpointReader::find(std::string_view name) const {
    const auto& all = state_->descriptions;
    const auto found = std::find_if(all.begin(), all.end(), [&](const TensorDescription& tensor) {
        return tensor.name == name;
    });
    return found == all.end() ? nullptr : &*found;
}

const TensorDescription& CheckpointReader::require(std::string_view name,
                                                   std::span<const std::int64_t> shape) const {
    const TensorDescription* tensor = find(name);
    if (tensor == nullptr) {
        throw IoError(
            fmt::format("checkpoint '{}' has no tensor '{}'", state_->directory.string(), name));
    }
    if (!std::equal(shape.begin(), shape.end(), tensor->shape.begin(), tensor->shape.end())) {
        throw IoError(fmt::format("tensor '{}' of checkpoint '{}' is [{}]; this model needs [{}]",
                                  name, state_->directory.string(), fmt::join(tensor->shape, ", "),
                                  fmt::join(shape, ", ")));
    }
    return *tensor;
}

void CheckpointReader::read(std::string_view name, std::int64_t offset,
                            std::span<float> values) const {
    state_->read(name, offset, values);
}

void CheckpointReader::read(std::string_view name, std::int64_t offset,
                            std::span<double> values) const {
    state_->read(name, offset, values);
}

std::optional<CheckpointReader> open_latest(const std::filesystem::path& run_dir,
                                            const CorruptCallback& on_corrupt) {
    std::string reasons;
    for (const CheckpointFolder& folder : list_checkpoints(run_dir)) {
        try {
            return CheckpointReader::open(folder.path);
        } catch (const IoError& error) {
            if (on_corrupt) on_corrupt(folder.path, error.what());
            reasons += fmt::format("\n  {}", error.what());
        }
    }
    if (reasons.empty()) return std::nullopt;
    throw IoError(
        fmt::format("every checkpoint of run '{}' is damaged:{}", run_dir.string(), reasons));
}

}  // namespace isoflop::checkpoint
