// MPI is used once: to send the address of rank 0 to all ranks of mpirun. MPI has no common binary
// interface, so a small separate library calls it. It is built where MPI is installed (src/mpi) and
// loaded when it is needed.
#pragma once

#include <chrono>
#include <string>

#include "isoflop/comm/launch.hpp"

namespace isoflop::comm {

class MpiPlugin {
public:
    /// Looks for it beside the executable, in ../lib of it, in the library folder of an
    /// installation, and in the folders of the system's loader.
    [[nodiscard]] static const MpiPlugin& instance();

    [[nodiscard]] bool loaded() const { return broadcast_ != nullptr; }
    [[nodiscard]] const std::string& problem() const { return problem_; }  ///< why it is not loaded
    [[nodiscard]] const std::string& library() const { return library_; }  ///< "Open MPI v4.1.4"

    /// Returns the text of rank 0 on every rank. Starts and ends MPI, so it works once per process.
    /// MPI has no timeouts: after `timeout` this throws LostRank and abandons the call. ConfigError
    /// when mpirun is not of the MPI that the plug-in was built with.
    [[nodiscard]] std::string broadcast(const LaunchInfo& launch, const std::string& text,
                                        std::chrono::milliseconds timeout) const;

private:
    MpiPlugin();
    using Broadcast = int(char* text, int size, int rank, int world_size, char* error,
                          int error_size);
    Broadcast* broadcast_ = nullptr;
    std::string problem_;
    std::string library_;
};

}  // namespace isoflop::comm
