// The ranks of a run: the rank of this process, the check that all ranks agree, and their
// connection. Internal to the trainer.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "isoflop/comm/launch.hpp"
#include "isoflop/comm/point_to_point.hpp"
#include "isoflop/comm/store.hpp"
#include "isoflop/recipe/recipe.hpp"
#include "isoflop/trainer/session.hpp"

namespace isoflop::trainer {

class World {
public:
    /// One rank without a launcher.
    World() = default;
    /// Ranks that are only planned.
    static World planned(const comm::LaunchInfo& launch);
    /// Finds the other ranks and compares program and configuration with those of the other ranks.
    /// Throws ConfigError or comm::LostRank.
    static World join(const comm::LaunchInfo& launch, const recipe::TrainKeys& keys);

    [[nodiscard]] const comm::LaunchInfo& launch() const { return launch_; }
    [[nodiscard]] int size() const { return launch_.world_size; }
    [[nodiscard]] bool is_first() const { return launch_.rank == 0; }

    /// Returns the result of `choose` on the first rank, on every rank. When `choose` throws, every
    /// rank throws.
    [[nodiscard]] std::string from_first(std::string_view what,
                                         const std::function<std::string()>& choose) const;

    /// Connects this rank with those of a group, by NCCL for tensors of a GPU; empty when
    /// there is one rank. This object and the device must outlive it.
    [[nodiscard]] CommunicatorFactory connector(const cost::Execution& execution,
                                                device::Device& device) const;

private:
    comm::LaunchInfo launch_;
    std::unique_ptr<comm::Store> store_;
    std::chrono::milliseconds timeout_{};
};

/// Whether a launcher that binds each rank to separate cores has divided the cores already.
[[nodiscard]] bool has_own_cores(const comm::LaunchInfo& launch);

/// Threads for this rank: its share of the cores that the ranks of this machine may use, or the
/// number in the configuration.
[[nodiscard]] int threads_of_rank(const recipe::ExecutionKeys& keys,
                                  const comm::LaunchInfo& launch);

}  // namespace isoflop::trainer
