#include "gradient_norm.hpp"

#include "isoflop/device/device.hpp"

namespace isoflop::trainer {
namespace {

/// True when each rank holds only a part of the gradients.
bool is_divided(const sharding::DataParallel& strategy, const cost::StateLayout& layout) {
    std::uint64_t held = 0;
    for (const sharding::StateSlice& slice : strategy.slices())
        held += static_cast<std::uint64_t>(slice.gradients.size());
    return held < layout.elements;
}

}  // namespace

std::vector<double> squares_by_unit(device::Context& context,
                                    const sharding::DataParallel& strategy,
                                    const cost::StateLayout& layout,
                                    comm::Communicator* communicator) {
    const std::int64_t ranks = communicator == nullptr ? 1 : communicator->size();
    const std::int64_t shared_parts = context.device.info().sum_parts;
    const std::int64_t parts = shared_parts % ranks == 0 ? shared_parts : ranks;
    const bool divided = is_divided(strategy, layout);
    const std::int64_t parts_here = divided ? parts / ranks : parts;

    std::vector<device::DeferredValue> deferred;  // [unit][part] of this rank
    for (const sharding::StateSlice& slice : strategy.slices()) {
        const std::int64_t count = slice.gradients.size() / parts_here;
        for (std::int64_t part = 0; part < parts_here; ++part) {
            deferred.push_back(ops::deferred_sum_of_squares(
                context, slice.gradients.flat_range(part * count, count)));
        }
    }
    std::vector<double> sums;  // [rank][unit][part]
    sums.reserve(deferred.size());
    for (const device::DeferredValue& each : deferred) sums.push_back(each.get());
    if (divided) sums = communicator->gather_values(sums);

    const std::size_t units = layout.units.size();
    const auto here = static_cast<std::size_t>(parts_here);
    std::vector<double> squares(units, 0.0);
    for (std::size_t unit = 0; unit < units; ++unit) {
        for (std::size_t rank = 0; rank < sums.size() / (units * here); ++rank) {
            for (std::size_t part = 0; part < here; ++part)
                squares[unit] += sums[(rank * units + unit) * here + part];
        }
    }
    return squares;
}

ops::TensorStatistics gradient_statistics(device::Context& context,
                                          const sharding::DataParallel& strategy,
                                          const cost::StateLayout& layout,
                                          comm::Communicator* communicator) {
    ops::TensorStatistics here;
    for (const sharding::StateSlice& slice : strategy.slices()) {
        for (const sharding::TensorPart& part : sharding::tensor_parts(layout, slice)) {
            here = ops::combine(here, ops::statistics(context, slice.gradients.flat_range(
                                                                   part.offset, part.count)));
        }
    }
    if (!is_divided(strategy, layout)) return here;
    const std::vector<double> mine{static_cast<double>(here.count),
                                   static_cast<double>(here.non_finite),
                                   here.sum,
                                   here.sum_of_squares,
                                   here.minimum,
                                   here.maximum};
    const std::vector<double> all = communicator->gather_values(mine);
    ops::TensorStatistics total;
    for (std::size_t i = 0; i < all.size(); i += mine.size()) {
        total = ops::combine(total, {.count = static_cast<std::int64_t>(all[i]),
                                     .non_finite = static_cast<std::int64_t>(all[i + 1]),
                                     .sum = all[i + 2],
                                     .sum_of_squares = all[i + 3],
                                     .minimum = all[i + 4],
                                     .maximum = all[i + 5]});
    }
    return total;
}

}  // namespace isoflop::trainer
