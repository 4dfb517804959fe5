#include "data/temporary_folder.hpp"

#include <fmt/format.h>
#include <unistd.h>

#include <system_error>
#include <utility>

#include "data/file_io.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::data {
namespace fs = std::filesystem;

namespace {

void check_target(const fs::path& target) {
    std::error_code error;
    const fs::file_status status = fs::status(target, error);
    if (status.type() == fs::file_type::not_found) return;
    if (status.type() != fs::file_type::directory) {
        throw ConfigError(fmt::format(
            "{}: error: this exists and is not a folder; choose another output", target.string()));
    }
    if (!fs::is_empty(target, error) || error) {
        throw ConfigError(
            fmt::format("{}: error: this folder is not empty, and nothing is overwritten: remove "
                        "it or name another output",
                        target.string()));
    }
}

}  // namespace

TemporaryFolder::TemporaryFolder(fs::path target) : target_(std::move(target)) {
    check_target(target_);
    fs::path absolute = fs::absolute(target_).lexically_normal();
    if (!absolute.has_filename())
        absolute = absolute.parent_path();  // "data/" and "data" are the same
    const fs::path parent = absolute.parent_path();
    std::error_code error;
    fs::create_directories(parent, error);
    if (error) fail(parent, fmt::format("cannot be created: {}", error.message()));
    const fs::path temporary =
        parent / fmt::format(".{}.partial-{}", absolute.filename().string(), ::getpid());
    if (!fs::create_directory(temporary, error)) {
        fail(temporary,
             error ? fmt::format("cannot be created: {}", error.message()) : "exists already");
    }
    path_ = temporary;
    target_ = absolute;
}

TemporaryFolder::~TemporaryFolder() {
    std::error_code error;
    if (!path_.empty()) fs::remove_all(path_, error);
}

void TemporaryFolder::commit() {
    sync_folder(path_);
    check_target(target_);
    std::error_code error;
    fs::rename(path_, target_, error);
    if (error)
        fail(target_,
             fmt::format("the finished folder cannot be renamed to it: {}", error.message()));
    path_.clear();
    sync_folder(target_.parent_path());
}

}  // namespace isoflop::data
