#include "isoflop/sharding/data_parallel.hpp"

#include <algorithm>
#include <stdexcept>

#include "sharding/fsdp.hpp"
#include "sharding/replicated.hpp"

namespace isoflop::sharding {

std::vector<TensorPart> tensor_parts(const cost::StateLayout& layout, const StateSlice& slice) {
    const auto slice_begin = static_cast<std::int64_t>(slice.first);
    const std::int64_t slice_end = slice_begin + slice.weights.size();
    std::vector<TensorPart> parts;
    for (const cost::StateTensor& tensor : layout.tensors) {
        if (tensor.unit != slice.unit) continue;
        const auto tensor_begin = static_cast<std::int64_t>(tensor.offset);
        const std::int64_t begin = std::max(slice_begin, tensor_begin);
        const std::int64_t end = std::min(slice_end, tensor_begin + tensor.spec.elements());
        if (begin < end)
            parts.push_back({&tensor, begin - tensor_begin, begin - slice_begin, end - begin});
    }
    return parts;
}

std::unique_ptr<DataParallel> make_data_parallel(const DataParallelOptions& options,
                                                 const cost::StateLayout& layout,
                                                 const device::PlannedMemory& memory,
                                                 device::Context& context,
                                                 comm::Communicator* communicator) {
    if (options.execution.world_size == 1)
        return std::make_unique<Ddp>(options, layout, memory, context, nullptr);
    if (communicator == nullptr || communicator->size() != options.execution.world_size)
        throw std::logic_error("data parallel: the communicator does not span the planned ranks");
    switch (options.execution.parallelism) {
        case cost::Parallelism::ddp:
            return std::make_unique<Ddp>(options, layout, memory, context, communicator);
        case cost::Parallelism::zero1:
            return std::make_unique<Zero1>(options, layout, memory, context, communicator);
        case cost::Parallelism::fsdp:
            return std::make_unique<Fsdp>(options, layout, memory, context, *communicator);
        case cost::Parallelism::zero2: break;
    }
    throw std::logic_error("data parallel: the trainer has no zero2");
}

}  // namespace isoflop::sharding
