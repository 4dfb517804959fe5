// One rank that connects to the other ranks as a run does, for tests with real launchers: prints
// its rank.
//
//   mpirun -n 2 meet [CONFIG_TEXT]      exit codes as train's
#include <cstdio>

#include "isoflop/base/error.hpp"
#include "isoflop/comm/launch.hpp"
#include "isoflop/comm/store.hpp"

int main(int argc, char** argv) {
    using namespace isoflop;
    try {
        const comm::LaunchInfo launch = comm::launch_from_environment();
        const auto store = comm::open_store(launch, std::chrono::seconds(20));
        comm::agree(*store, launch, {.version = "1", .config = argc > 1 ? argv[1] : ""});
        std::printf("rank %d of %d by %s met\n", launch.rank, launch.world_size,
                    launch.launcher.c_str());
        return 0;
    } catch (const Error& error) {
        std::fprintf(stderr, "error: %s\n", error.what());
        return static_cast<int>(error.exit_code());
    }
}
