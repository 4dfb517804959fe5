#include "attention/cudnn/plan_cache.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "isoflop/base/checksum.hpp"

namespace isoflop::attention::cudnn {

std::string PlanCache::head(const std::string& key) const {
    return fmt::format("isoflop cudnn plan, version 1\n{}\n{}\n", origin_, key);
}

std::filesystem::path PlanCache::file_of(const std::string& key) const {
    // Two keys with one checksum share a file, of which the head then tells whose it is.
    return folder_ / (checksum_text(crc32c(head(key))) + ".plan");
}

std::optional<std::string> PlanCache::find(const std::string& key) const {
    if (!enabled()) return std::nullopt;
    std::ifstream in(file_of(key), std::ios::binary);
    const std::string text{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
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
    std::error_code error;
    std::filesystem::create_directories(folder_, error);
    // Ranks on one machine share the folder: each writes its own file and then puts it in place.
    const std::filesystem::path file = file_of(key);
    const std::filesystem::path temporary = fmt::format("{}.{}.tmp", file.string(), getpid());
    std::ofstream out(temporary, std::ios::binary);
    out << head(key) << checksum_text(crc32c(plan)) << '\n' << plan;
    out.close();
    if (out) std::filesystem::rename(temporary, file, error);
    if (!out || error) std::filesystem::remove(temporary, error);
}

}  // namespace isoflop::attention::cudnn
