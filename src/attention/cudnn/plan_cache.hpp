// Plans that cuDNN has compiled, on disk: a plan takes about a second to compile, and every run of
// the same shape on the same device needs the same ones.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace isoflop::attention::cudnn {

/// A folder with a file for each plan. What cannot be read or written counts as missing: a plan is
/// then compiled again.
class PlanCache {
public:
    PlanCache() = default;  ///< keeps nothing
    /// `origin` is what plans depend on besides their own key: library version, device.
    PlanCache(std::filesystem::path folder, std::string origin)
        : folder_(std::move(folder)), origin_(std::move(origin)) {}

    [[nodiscard]] bool enabled() const { return !folder_.empty(); }
    /// In the words of cuDNN's JSON, as it was put.
    [[nodiscard]] std::optional<std::string> find(const std::string& key) const;
    void put(const std::string& key, const std::string& plan) const;

private:
    [[nodiscard]] std::string head(const std::string& key) const;
    [[nodiscard]] std::filesystem::path file_of(const std::string& key) const;

    std::filesystem::path folder_;
    std::string origin_;
};

}  // namespace isoflop::attention::cudnn
