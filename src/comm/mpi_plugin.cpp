#include "comm/mpi_plugin.hpp"

#include <dlfcn.h>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <future>
#include <memory>
#include <system_error>
#include <thread>
#include <vector>

#include "isoflop/base/error.hpp"
#include "isoflop/base/stop.hpp"
#include "isoflop/base/text.hpp"
#include "isoflop/comm/point_to_point.hpp"

namespace isoflop::comm {
namespace {

constexpr const char* kLibrary = "libisoflop_mpi.so";
/// isoflop_mpi_broadcast: the ranks of mpirun are not those of this run
constexpr int kWrongMpi = 2;

std::vector<std::string> places() {
    std::vector<std::string> paths;
    std::error_code error;
    const auto executable = std::filesystem::read_symlink("/proc/self/exe", error);
    if (!error) {
        const auto folder = executable.parent_path();
        for (const auto* below : {".", "../lib", "../" ISOFLOP_LIBRARY_FOLDER}) {
            paths.push_back((folder / below / kLibrary).lexically_normal().string());
        }
    }
    paths.emplace_back(kLibrary);
    return paths;
}

struct Answer {
    int status = 0;
    std::string text;
    std::string error;
};

}  // namespace

const MpiPlugin& MpiPlugin::instance() {
    static const MpiPlugin plugin;
    return plugin;
}

MpiPlugin::MpiPlugin() {
    void* handle = nullptr;
    std::error_code error;
    for (const std::string& place : places()) {
        const bool is_path = place.find('/') != std::string::npos;
        if (is_path && !std::filesystem::exists(place, error)) continue;
        // Global symbols: MPI loads plug-ins that need the symbols of MPI.
        handle = dlopen(place.c_str(), RTLD_NOW | RTLD_GLOBAL);
        if (handle != nullptr) break;
        const char* reason = dlerror();
        if (problem_.empty()) problem_ = reason == nullptr ? place : reason;
    }
    if (handle == nullptr) return;
    problem_.clear();
    broadcast_ = reinterpret_cast<Broadcast*>(dlsym(handle, "isoflop_mpi_broadcast"));
    auto* library = reinterpret_cast<const char* (*)()>(dlsym(handle, "isoflop_mpi_library"));
    if (broadcast_ == nullptr || library == nullptr) {
        broadcast_ = nullptr;
        problem_ = fmt::format("{} lacks functions of this version", kLibrary);
        return;
    }
    library_ = library();
}

std::string mpi_library() {
    return MpiPlugin::instance().library();
}

std::string MpiPlugin::broadcast(const LaunchInfo& launch, const std::string& text,
                                 std::chrono::milliseconds timeout) const {
    constexpr std::size_t kSize = 4096;
    auto promise = std::make_shared<std::promise<Answer>>();
    auto future = promise->get_future();
    std::thread([promise, text, function = broadcast_, rank = launch.rank,
                 size = launch.world_size] {
        std::vector<char> buffer(kSize, '\0');
        std::array<char, 512> error{};
        std::copy_n(text.begin(), std::min(text.size(), kSize - 1), buffer.begin());
        const int status = function(buffer.data(), static_cast<int>(kSize), rank, size,
                                    error.data(), static_cast<int>(error.size()));
        promise->set_value({status, buffer.data(), error.data()});
    }).detach();
    constexpr std::chrono::milliseconds kTick{50};
    const auto deadline = std::chrono::steady_clock::now() + timeout;
    while (future.wait_for(kTick) != std::future_status::ready &&
           std::chrono::steady_clock::now() < deadline) {
        throw_if_stopped("MPI brings the ranks together");
    }
    if (future.wait_for(std::chrono::seconds(0)) != std::future_status::ready) {
        throw LostRank(-1,
                       fmt::format("MPI ({}) has not brought the {} ranks together in {}; is "
                                   "one of them missing or hanging?",
                                   library_, launch.world_size,
                                   human_seconds(std::chrono::duration<double>(timeout).count())));
    }
    const Answer answer = future.get();
    if (answer.status == 0) return answer.text;
    if (answer.status == kWrongMpi) {
        throw ConfigError(
            fmt::format("{}; start with the mpirun of {}, or set MASTER_ADDR and "
                        "MASTER_PORT for all ranks",
                        answer.error, library_));
    }
    throw LostRank(-1, fmt::format("MPI ({}): {}", library_, answer.error));
}

}  // namespace isoflop::comm
