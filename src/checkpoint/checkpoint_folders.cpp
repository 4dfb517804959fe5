#include "checkpoint_folders.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <stdio.h>  // NOLINT(modernize-deprecated-headers): renameat2 is POSIX's, not <cstdio>'s
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <random>
#include <system_error>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "manifest.hpp"

namespace isoflop::checkpoint {
namespace {

constexpr std::string_view kPrefix = "step_";
constexpr std::string_view kHiddenPrefix = ".step_";
constexpr std::string_view kWritingSuffix = ".writing";
constexpr std::string_view kRemovingSuffix = ".removing";
constexpr std::size_t kStepDigits = 8;
constexpr std::uint64_t kMaxLatestBytes = 4096;

std::optional<std::int64_t> step_of(const std::string& name) {
    if (!name.starts_with(kPrefix) || name.size() < kPrefix.size() + kStepDigits)
        return std::nullopt;
    const char* begin = name.data() + kPrefix.size();
    const char* end = name.data() + name.size();
    std::int64_t step = 0;
    const auto [last, error] = std::from_chars(begin, end, step);
    if (error != std::errc{} || last != end || step < 0) return std::nullopt;
    return step;
}

std::filesystem::path hidden_folder(const std::filesystem::path& run_dir, std::int64_t step,
                                    std::string_view suffix) {
    return checkpoints_folder(run_dir) / fmt::format(".{}{}", checkpoint_name(step), suffix);
}

/// Renames the folder first, so that a partly removed checkpoint cannot be taken for a complete
/// one.
void remove_folder(const std::filesystem::path& folder, const std::filesystem::path& removing) {
    std::error_code error;
    std::filesystem::remove_all(removing, error);
    std::filesystem::rename(folder, removing, error);
    if (!error) std::filesystem::remove_all(removing, error);
}

/// Swaps two folders in one step; false where the file system cannot.
bool exchange(const std::filesystem::path& a, const std::filesystem::path& b) {
    if (::renameat2(AT_FDCWD, a.c_str(), AT_FDCWD, b.c_str(), RENAME_EXCHANGE) == 0) return true;
    if (errno == EINVAL || errno == ENOSYS || errno == EOPNOTSUPP) return false;
    throw_system_error("write", b, errno);
}

/// The checkpoint with the lowest validation loss; of equal losses the newest.
std::optional<std::int64_t> best_step(const std::vector<CheckpointEntry>& checkpoints) {
    const CheckpointEntry* best = nullptr;
    for (const CheckpointEntry& checkpoint : checkpoints) {
        if (!checkpoint.validation_loss) continue;
        if (best == nullptr || *checkpoint.validation_loss < *best->validation_loss)
            best = &checkpoint;
    }
    if (best == nullptr) return std::nullopt;
    return best->step;
}

std::vector<CheckpointEntry> undamaged_of(const std::filesystem::path& run_dir,
                                          const std::string& lineage) {
    std::vector<CheckpointEntry> found = undamaged_checkpoints(run_dir);
    std::erase_if(found, [&](const CheckpointEntry& entry) { return entry.lineage != lineage; });
    return found;
}

}  // namespace

std::string new_lineage() {
    std::random_device random;
    return fmt::format("{:08x}{:08x}", random(), random());
}

std::string checkpoint_name(std::int64_t step) {
    return fmt::format("{}{:0{}}", kPrefix, step, kStepDigits);
}

std::filesystem::path checkpoints_folder(const std::filesystem::path& run_dir) {
    return run_dir / "checkpoints";
}

std::filesystem::path final_folder(const std::filesystem::path& run_dir, std::int64_t step) {
    return checkpoints_folder(run_dir) / checkpoint_name(step);
}

std::filesystem::path writing_folder(const std::filesystem::path& run_dir, std::int64_t step) {
    return hidden_folder(run_dir, step, kWritingSuffix);
}

std::vector<CheckpointFolder> list_checkpoints(const std::filesystem::path& run_dir) {
    std::vector<CheckpointFolder> folders;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(checkpoints_folder(run_dir), error), end;
         !error && entry != end; entry.increment(error)) {
        const auto step = step_of(entry->path().filename().string());
        std::error_code ignored;
        if (step && entry->is_directory(ignored))
            folders.push_back({.step = *step, .path = entry->path()});
    }
    if (error && error != std::errc::no_such_file_or_directory) {
        throw_system_error("read", checkpoints_folder(run_dir), error.value());
    }
    std::sort(folders.begin(), folders.end(),
              [](const CheckpointFolder& a, const CheckpointFolder& b) { return a.step > b.step; });
    return folders;
}

void remove_leftovers(const std::filesystem::path& run_dir) {
    std::vector<std::filesystem::path> leftovers;
    std::error_code error;
    for (std::filesystem::directory_iterator entry(checkpoints_folder(run_dir), error), end;
         !error && entry != end; entry.increment(error)) {
        const std::string name = entry->path().filename().string();
        if (name.starts_with(kHiddenPrefix) &&
            (name.ends_with(kWritingSuffix) || name.ends_with(kRemovingSuffix))) {
            leftovers.push_back(entry->path());
        }
    }
    for (const auto& leftover : leftovers) {
        std::filesystem::remove_all(leftover, error);
        if (error) throw_system_error("remove", leftover, error.value());
    }
}

void publish(const std::filesystem::path& run_dir, std::int64_t step) {
    const auto complete = writing_folder(run_dir, step);
    const auto place = final_folder(run_dir, step);
    const auto removing = hidden_folder(run_dir, step, kRemovingSuffix);
    synchronize_directory(complete);
    if (!std::filesystem::exists(std::filesystem::symlink_status(place))) {
        rename_path(complete, place);
    } else if (exchange(complete, place)) {
        synchronize_directory(checkpoints_folder(run_dir));
        remove_folder(complete, removing);
    } else {
        rename_path(place, removing);
        rename_path(complete, place);
        std::error_code ignored;
        std::filesystem::remove_all(removing, ignored);
    }
    synchronize_directory(checkpoints_folder(run_dir));
}

void point_latest(const std::filesystem::path& run_dir, std::int64_t step) {
    const std::string target = "checkpoints/" + checkpoint_name(step);
    const auto latest = run_dir / "latest";
    const auto partial = run_dir / ".latest.writing";
    std::error_code error;
    if (std::filesystem::is_directory(std::filesystem::symlink_status(latest, error))) {
        // Made by a copy that followed links.
        const auto aside = run_dir / "latest.copied";
        std::filesystem::remove_all(aside, error);
        rename_path(latest, aside);
    }
    std::filesystem::remove(partial, error);
    std::filesystem::create_directory_symlink(target, partial, error);
    if (!error) {
        rename_path(partial, latest);
    } else if (error.value() == EPERM || error.value() == ENOSYS || error.value() == EOPNOTSUPP) {
        write_text_file(latest, target + "\n");  // a file system without symbolic links
    } else {
        throw_system_error("write", latest, error.value());
    }
    synchronize_directory(run_dir);
}

std::filesystem::path follow_latest(const std::filesystem::path& latest) {
    std::string target;
    if (std::filesystem::is_symlink(latest)) {
        target = std::filesystem::read_symlink(latest).string();
    } else {
        target = read_text_file(latest, kMaxLatestBytes);
        target.erase(target.find_last_not_of("\r\n ") + 1);
    }
    return latest.parent_path() / target;
}

void remove_old_checkpoints(const std::filesystem::path& run_dir, std::int64_t newest_step,
                            const CheckpointOptions& options) {
    if (options.keep_checkpoints <= 0) return;
    const std::vector<CheckpointEntry> checkpoints = undamaged_of(run_dir, options.lineage);
    const std::optional<std::int64_t> best =
        options.keep_best ? best_step(checkpoints) : std::nullopt;
    std::int64_t rank = 0;
    for (const CheckpointEntry& checkpoint : checkpoints) {
        const std::int64_t step = checkpoint.step;
        if (rank++ < options.keep_checkpoints || step == best || step == newest_step) continue;
        remove_folder(checkpoint.path, hidden_folder(run_dir, step, kRemovingSuffix));
    }
}

std::vector<CheckpointEntry> undamaged_checkpoints(const std::filesystem::path& run_dir) {
    std::vector<CheckpointEntry> found;
    for (CheckpointFolder& folder : list_checkpoints(run_dir)) {
        try {
            Manifest manifest = read_manifest(folder.path / kManifestFile);
            if (!has_all_files(manifest, folder.path)) continue;
            found.push_back({.step = folder.step,
                             .path = std::move(folder.path),
                             .lineage = std::move(manifest.lineage),
                             .validation_loss = manifest.validation_loss});
        } catch (const IoError&) {
            continue;
        }
    }
    return found;
}

bool has_checkpoints(const std::filesystem::path& run_dir) {
    return !list_checkpoints(run_dir).empty();
}

bool has_latest(const std::filesystem::path& run_dir) {
    std::error_code error;
    return std::filesystem::symlink_status(run_dir / "latest", error).type() !=
           std::filesystem::file_type::not_found;
}

bool repair_latest(const std::filesystem::path& run_dir, std::int64_t step) {
    const auto latest = run_dir / "latest";
    std::error_code error;
    if (has_latest(run_dir) &&
        !std::filesystem::is_directory(std::filesystem::symlink_status(latest, error)) &&
        std::filesystem::equivalent(follow_latest(latest), final_folder(run_dir, step), error)) {
        return false;
    }
    point_latest(run_dir, step);
    return true;
}

std::vector<std::filesystem::path> set_aside_after(const std::filesystem::path& run_dir,
                                                   std::int64_t step, const std::string& lineage) {
    std::vector<std::filesystem::path> moved;
    for (const CheckpointEntry& entry : undamaged_of(run_dir, lineage)) {
        if (entry.step <= step) continue;
        const auto place =
            checkpoints_folder(run_dir) / ("diverged_" + entry.path.filename().string());
        std::error_code error;
        std::filesystem::remove_all(place, error);  // of an earlier divergence
        rename_path(entry.path, place);
        moved.push_back(place);
    }
    if (!moved.empty()) point_latest(run_dir, step);
    return moved;
}

}  // namespace isoflop::checkpoint
