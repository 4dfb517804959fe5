#include "comm/nccl_communicator.hpp"

#include <fmt/format.h>

#include <stdexcept>
#include <string>

#include "comm/collectives.hpp"

namespace isoflop::comm {
namespace {

std::invalid_argument no_sums_of(DType dtype) {
    return std::invalid_argument(fmt::format("collective: no sums of {}", short_name(dtype)));
}

int sum_type(DType dtype) {
    switch (dtype) {
        case DType::float32: return kNcclFloat32;
        case DType::float64: return kNcclFloat64;
        case DType::float16: return kNcclFloat16;
        case DType::bfloat16: return kNcclBfloat16;
        default: throw no_sums_of(dtype);
    }
}

/// Type of elements that are moved, not added: only their width matters.
int moved_type(DType dtype) {
    switch (dtype) {
        case DType::tf32: return kNcclFloat32;
        case DType::float8:
        case DType::float4:
        case DType::int8: return kNcclInt8;
        default: return sum_type(dtype);
    }
}

std::byte* part_address(const TensorView& tensor, int part, int size) {
    const std::uint64_t bytes = tensor.bytes() / static_cast<std::uint64_t>(size);
    return static_cast<std::byte*>(tensor.data()) + static_cast<std::uint64_t>(part) * bytes;
}

/// Elements of one of n equal parts.
std::size_t part_elements(const TensorView& tensor, int size) {
    return static_cast<std::size_t>(tensor.size() / size);
}

/// (n-1)/n of a tensor.
std::uint64_t bytes_of_others(const TensorView& tensor, int size) {
    const auto n = static_cast<std::uint64_t>(size);
    return tensor.bytes() / n * (n - 1);
}

}  // namespace

NcclCommunicator::NcclCommunicator(NcclLibraries libraries, const NcclOptions& options,
                                   const NcclUniqueId& id, std::unique_ptr<PointToPoint> control)
    : rank_(control->rank()),
      size_(control->size()),
      link_(std::make_shared<NcclLink>(std::move(libraries), options, id, std::move(control))),
      watchdog_(*link_) {}

NcclCommunicator::~NcclCommunicator() {
    if (!watchdog_.stop())
        link_->fail(-1, "the communicator was destroyed before its operations were done");
    link_->close();
}

template <class Call>
Pending NcclCommunicator::start(CollectiveKind kind, std::uint64_t bytes_sent, const char* function,
                                const Call& call) {
    std::uint64_t number = 0;
    {
        const std::lock_guard lock(mutex_);
        number = ++totals_.calls.at(static_cast<std::size_t>(kind));
        totals_.bytes_sent.at(static_cast<std::size_t>(kind)) += bytes_sent;
    }
    std::shared_ptr<NcclOperation> operation;
    link_->attempt([&] {
        operation = std::make_shared<NcclOperation>(
            link_, fmt::format("{} number {}", to_string(kind), number));
        operation->enqueue(function, call);
    });
    watchdog_.watch(operation);
    return Pending(std::move(operation));
}

Pending NcclCommunicator::all_reduce(const TensorView& tensor) {
    require_equal_parts(tensor.size(), size_);
    const int type = sum_type(tensor.dtype());
    return start(CollectiveKind::all_reduce, 2 * bytes_of_others(tensor, size_), "ncclAllReduce",
                 [&](NcclComm comm, CudaStream stream) {
                     return link_->libraries.nccl.all_reduce(
                         tensor.data(), tensor.data(), static_cast<std::size_t>(tensor.size()),
                         type, kNcclSum, comm, stream);
                 });
}

Pending NcclCommunicator::reduce_scatter(const TensorView& tensor) {
    require_equal_parts(tensor.size(), size_);
    const int type = sum_type(tensor.dtype());
    return start(CollectiveKind::reduce_scatter, bytes_of_others(tensor, size_),
                 "ncclReduceScatter", [&](NcclComm comm, CudaStream stream) {
                     return link_->libraries.nccl.reduce_scatter(
                         tensor.data(), part_address(tensor, rank_, size_),
                         part_elements(tensor, size_), type, kNcclSum, comm, stream);
                 });
}

Pending NcclCommunicator::all_gather(const TensorView& tensor) {
    require_equal_parts(tensor.size(), size_);
    const int type = moved_type(tensor.dtype());
    return start(CollectiveKind::all_gather, bytes_of_others(tensor, size_), "ncclAllGather",
                 [&](NcclComm comm, CudaStream stream) {
                     return link_->libraries.nccl.all_gather(
                         part_address(tensor, rank_, size_), tensor.data(),
                         part_elements(tensor, size_), type, comm, stream);
                 });
}

std::vector<double> NcclCommunicator::gather_values(std::span<const double> values) {
    std::vector<double> all;
    link_->attempt([&] { all = link_->control().gather_values(values); });
    return all;
}

void NcclCommunicator::abort() noexcept {
    link_->fail(-1, "the communication was aborted");
}

CommunicationTotals NcclCommunicator::totals() const {
    CommunicationTotals all = link_->control().totals();
    const CommunicationTotals& connection = link_->connection_totals();
    const std::lock_guard lock(mutex_);
    for (std::size_t kind = 0; kind < kCollectiveKinds; ++kind) {
        all.bytes_sent.at(kind) += totals_.bytes_sent.at(kind) - connection.bytes_sent.at(kind);
        all.calls.at(kind) += totals_.calls.at(kind) - connection.calls.at(kind);
    }
    all.seconds -= connection.seconds;
    all.exposed_seconds -= connection.exposed_seconds;
    return all;
}

}  // namespace isoflop::comm
