// A folder that becomes the result by one rename, or disappears.
#pragma once

#include <filesystem>

namespace isoflop::data {

class TemporaryFolder {
public:
    /// Makes a folder beside `target`. Throws ConfigError when the target exists and is not an
    /// empty folder, IoError when it cannot be made.
    explicit TemporaryFolder(std::filesystem::path target);
    TemporaryFolder(const TemporaryFolder&) = delete;
    TemporaryFolder& operator=(const TemporaryFolder&) = delete;
    ~TemporaryFolder();

    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    /// Renames it to the target. Throws as the constructor.
    void commit();

private:
    std::filesystem::path target_;
    std::filesystem::path path_;  ///< empty after commit()
};

}  // namespace isoflop::data
