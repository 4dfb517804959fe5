#include "isoflop/comm/nccl.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string>

#include "comm/nccl_communicator.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::comm {
namespace {

constexpr char kMade = '+';
constexpr char kFailed = '-';

}  // namespace

namespace {

std::string gpu_key(const NcclOptions& options, int rank) {
    return "nccl/" + options.group + "/gpu/" + std::to_string(rank);
}

/// On the first rank. NCCL takes minutes to say so, or hangs.
void refuse_shared_gpus(Store& store, int ranks, const NcclOptions& options) {
    std::map<std::string, int> users;
    for (int rank = 0; rank < ranks; ++rank) {
        const std::string gpu = rank == 0 ? options.gpu : store.get(gpu_key(options, rank));
        if (gpu.empty()) continue;
        const auto [user, is_new] = users.emplace(gpu, rank);
        if (is_new) continue;
        throw ConfigError(fmt::format(
            "ranks {} and {} of the group {} both use {}; start at most as many ranks on a machine "
            "as it has GPUs, and show each rank another one",
            user->second, rank, options.group, gpu));
    }
}

/// On the other ranks.
NcclUniqueId id_of_answer(const std::string& answer) {
    if (answer.starts_with(kFailed)) throw ConfigError("rank 0: " + answer.substr(1));
    NcclUniqueId id;
    if (!answer.starts_with(kMade) || answer.size() != 1 + id.internal.size()) {
        throw IoError(fmt::format(
            "the NCCL id that rank 0 gave through the store is damaged: {} bytes instead of {}",
            answer.size(), 1 + id.internal.size()));
    }
    std::copy_n(answer.begin() + 1, id.internal.size(), id.internal.begin());
    return id;
}

}  // namespace

std::unique_ptr<Communicator> connect_nccl_with(const std::function<NcclLibraries()>& load,
                                                Store& store, std::unique_ptr<PointToPoint> control,
                                                const NcclOptions& options) {
    const std::string key = "nccl/" + options.group + "/unique_id";
    NcclUniqueId id;
    NcclLibraries libraries;
    if (control->rank() == 0) {
        try {
            refuse_shared_gpus(store, control->size(), options);
            libraries = load();
            libraries.check_nccl(libraries.nccl.get_unique_id(&id), "ncclGetUniqueId");
        } catch (const std::exception& error) {
            store.set(key, std::string(1, kFailed) + error.what());
            throw;
        }
        store.set(key, kMade + std::string(id.internal.begin(), id.internal.end()));
    } else {
        store.set(gpu_key(options, control->rank()), options.gpu);
        const std::string answer = store.get(key);
        id = id_of_answer(answer);
        libraries = load();
    }
    return std::make_unique<NcclCommunicator>(std::move(libraries), options, id,
                                              std::move(control));
}

std::unique_ptr<Communicator> connect_nccl(Store& store, std::unique_ptr<PointToPoint> control,
                                           const NcclOptions& options) {
    return connect_nccl_with(
        [&] {
            return NcclLibraries{load_nccl(), load_cuda_runtime(options.cuda_major)};
        },
        store, std::move(control), options);
}

std::string nccl_library() {
    try {
        const NcclFunctions nccl = load_nccl();
        int version = 0;
        if (nccl.get_version(&version) != kNcclSuccess) return {};
        return "NCCL " + nccl_version_text(version);
    } catch (const ConfigError&) {
        return {};
    }
}

}  // namespace isoflop::comm
