// Connects the ranks through NCCL, and notices a rank that is lost meanwhile.
//
// ncclCommInitRank returns when every rank has called it, and nothing ends it earlier. It therefore
// runs in a thread of its own, while this thread exchanges the states of all ranks over the control
// connections: a lost rank breaks those at once and is named. The thread of a call that never
// returns is abandoned; the process is about to end.
#pragma once

#include <chrono>

#include "comm/nccl_functions.hpp"
#include "isoflop/comm/communicator.hpp"

namespace isoflop::comm {

/// Called by all ranks of `control`, with their device. Throws LostRank when a rank is lost, and
/// std::runtime_error with NCCL's reason or after the timeout.
[[nodiscard]] NcclComm connect_through_nccl(const NcclLibraries& libraries, int device,
                                            const NcclUniqueId& id, Communicator& control,
                                            std::chrono::milliseconds timeout);

}  // namespace isoflop::comm
