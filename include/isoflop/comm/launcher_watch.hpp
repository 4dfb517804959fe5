// Ranks whose launcher was killed: nobody else ends them.
#pragma once

#include <memory>

#include "isoflop/comm/launch.hpp"

namespace isoflop::comm {

/// Looks every half second whether the launcher of this rank (mpirun, torchrun, srun, train) still
/// runs, and requests a stop (base/stop.hpp) when it has ended, so that the rank saves and ends.
/// Watches nothing for processes that no launcher started.
class LauncherWatch {
public:
    explicit LauncherWatch(const LaunchInfo& launch);
    ~LauncherWatch();
    LauncherWatch(const LauncherWatch&) = delete;
    LauncherWatch& operator=(const LauncherWatch&) = delete;

private:
    class Thread;
    std::unique_ptr<Thread> thread_;
};

}  // namespace isoflop::comm
