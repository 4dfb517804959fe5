// manifest.json: the files of a checkpoint with their checksums, and the place of each slice of
// each tensor. Its last line is the checksum of all bytes before it, so that the manifest itself is
// protected. The records that ranks write for the committing rank have the same form.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "isoflop/checkpoint/checkpoint.hpp"

namespace isoflop::checkpoint {

inline constexpr const char* kManifestFile = "manifest.json";
inline constexpr const char* kStateFile = "trainer_state.json";

struct FileRecord {
    std::string name;  ///< within the checkpoint's folder
    FileSummary summary;
};

/// Elements [first, first + count) of a tensor are the tensor of that name in this file.
struct SliceRecord {
    std::string file;
    std::int64_t first = 0;
    std::int64_t count = 0;
};

struct TensorRecord {
    TensorDescription description;
    std::vector<SliceRecord> slices;  ///< ascending; together the whole tensor
};

struct Manifest {
    std::int64_t step = 0;
    std::string lineage;  ///< of CheckpointOptions; empty in older checkpoints
    std::optional<double> validation_loss;
    std::vector<FileRecord> files;
    std::vector<TensorRecord> tensors;
};

[[nodiscard]] std::string manifest_text(const Manifest& manifest);
/// Throws IoError naming the file when it is missing, altered, or of another format version.
[[nodiscard]] Manifest read_manifest(const std::filesystem::path& path);

/// One manifest of the records of all shards. Throws IoError when they disagree about a tensor.
[[nodiscard]] Manifest merge(std::span<const Manifest> shards);
/// Sorts the slices of each tensor; throws IoError naming `path` and the tensor when they do not
/// form the complete tensor.
void check_slices(Manifest& manifest, const std::filesystem::path& path);

/// Whether all files exist with the right sizes; their content is not read.
[[nodiscard]] bool has_all_files(const Manifest& manifest, const std::filesystem::path& directory);

}  // namespace isoflop::checkpoint
