// Norms and statistics of the gradients of all ranks, with sums in an order that does not depend on
// how the state is divided. Internal to the trainer.
#pragma once

#include <vector>

#include "isoflop/comm/communicator.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/sharding/data_parallel.hpp"

namespace isoflop::trainer {

/// Sum of squares of each unit's gradient. A unit is cut into the same 8 parts (as many as ranks,
/// where 8 is no multiple of their number); each is summed in order and so are the parts.
[[nodiscard]] std::vector<double> squares_by_unit(device::Context& context,
                                                  const sharding::DataParallel& strategy,
                                                  const cost::StateLayout& layout,
                                                  comm::Communicator* communicator);

/// Of all elements that are parameters.
[[nodiscard]] ops::TensorStatistics gradient_statistics(device::Context& context,
                                                        const sharding::DataParallel& strategy,
                                                        const cost::StateLayout& layout,
                                                        comm::Communicator* communicator);

}  // namespace isoflop::trainer
