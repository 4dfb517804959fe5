#include "attention/cudnn/plan_cache.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include "isoflop/base/checksum.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"

namespace isoflop::attention::cudnn {
namespace {

constexpr std::uint64_t kLargestPlan = std::uint64_t{1} << 30U;

}  // namespace

std::string PlanCache::head(const std::string& key) const {
    return fmt::format("isoflop cudnn plan, version 1\n{}\n{}\n", origin_, key);
}

std::filesystem::path PlanCache::file_of(const std::string& key) const {
    // Two keys with one checksum share a file, of which the head then tells whose it is.
    return folder_ / (checksum_text(crc32c(head(key))) + ".plan");
}

std::optional<std::string> PlanCache::find(const std::string& key) const {
    if (!enabled()) return std::nullopt;
    std::string text;
    try {
        text = read_text_file(file_of(key), kLargestPlan);
    } catch (const IoError&) {
        return std::nullopt;
    }
    const std::string expected = head(key);
    if (!text.starts_with(expected)) return std::nullopt;
    const std::size_t end_of_checksum = text.find('\n', expected.size());
    if (end_of_checksum == std::string::npos) return std::nullopt;
    std::string plan = text.substr(end_of_checksum + 1);
    const std::string checksum = text.substr(expected.size(), end_of_checksum - expected.size());
    if (plan.empty() || checksum != checksum_text(crc32c(plan))) return std::nullopt;
    return plan;
}

void PlanCache::put(const std::string& key, const std::string& plan) const {
    if (!enabled()) return;
    const std::filesystem::path path = file_of(key);
    try {
        make_directories(folder_);
        // Ranks on one machine share the folder: each writes its own file and puts it in place.
        NewFile file(path, fmt::format("{}.{}.tmp", path.string(), getpid()));
        file.append(fmt::format("{}{}\n", head(key), checksum_text(crc32c(plan))));
        file.append(plan);
        file.commit(false);
    } catch (const IoError&) {
        return;  // the plan is made again next time
    }
}

}  // namespace isoflop::attention::cudnn
