#include "comm/nccl_link.hpp"

#include <chrono>
#include <utility>

#include "comm/collectives.hpp"
#include "comm/nccl_connection.hpp"
#include "isoflop/comm/threaded_communicator.hpp"

namespace isoflop::comm {
namespace {

/// Selects the GPU before anything is created on it.
NcclLibraries on_device(NcclLibraries libraries, int device) {
    libraries.check_cuda(libraries.cuda.set_device(device), "cudaSetDevice");
    return libraries;
}

std::uint64_t control_staging_words(int size) {
    return size == 1 ? 0 : (smallest_staging_bytes(size) + 7) / 8;
}

}  // namespace

NcclEvent::NcclEvent(const NcclLibraries& libraries) : libraries_(libraries) {
    libraries.check_cuda(libraries.cuda.event_create_with_flags(&event_, kCudaEventDisableTiming),
                         "cudaEventCreateWithFlags");
}

NcclEvent::~NcclEvent() {
    (void)libraries_.cuda.event_destroy(event_);
}

void NcclEvent::record(CudaStream stream) const {
    libraries_.check_cuda(libraries_.cuda.event_record(event_, stream), "cudaEventRecord");
}

void NcclEvent::hold_back(CudaStream stream) const {
    libraries_.check_cuda(libraries_.cuda.stream_wait_event(stream, event_, 0),
                          "cudaStreamWaitEvent");
}

bool NcclEvent::reached() const {
    const int error = libraries_.cuda.event_query(event_);
    if (error == kCudaErrorNotReady) return false;
    libraries_.check_cuda(error, "cudaEventQuery");
    return true;
}

NcclStream::NcclStream(const NcclLibraries& libraries) : libraries_(libraries) {
    libraries.check_cuda(libraries.cuda.stream_create_with_flags(&stream_, kCudaStreamNonBlocking),
                         "cudaStreamCreateWithFlags");
}

NcclStream::~NcclStream() {
    (void)libraries_.cuda.stream_destroy(stream_);
}

NcclLink::NcclLink(NcclLibraries all_libraries, const NcclOptions& link_options,
                   const NcclUniqueId& id, std::unique_ptr<PointToPoint> control)
    : libraries(on_device(std::move(all_libraries), link_options.device)),
      options(link_options),
      stream_(libraries),
      control_staging_(control_staging_words(control->size())) {
    control_ = std::make_unique<ThreadedCommunicator>(
        std::move(control), std::as_writable_bytes(std::span(control_staging_)));
    attempt([&] {
        comm_ = connect_through_nccl(libraries, options.device, id, *control_, options.timeout);
        connection_totals_ = control_->totals();
    });
}

NcclLink::~NcclLink() {
    close();
}

void NcclLink::fail(int rank, const std::string& message) noexcept {
    {
        const std::lock_guard lock(failure_mutex_);
        if (failure_) return;
        failure_ = Failure{.rank = rank, .message = message};
    }
    if (control_) control_->abort();  // the other ranks need not wait for this rank
    abort_calls();
}

void NcclLink::throw_if_failed() const {
    const std::lock_guard lock(failure_mutex_);
    if (failure_) throw LostRank(failure_->rank, failure_->message);
}

void NcclLink::abort_calls() noexcept {
    // A call that hangs holds the lock for ever; only an abort from another thread ends it.
    std::unique_lock lock(calls_, std::defer_lock);
    (void)lock.try_lock_for(std::chrono::seconds(1));
    if (NcclComm comm = comm_.exchange(nullptr)) (void)libraries.nccl.comm_abort(comm);
}

void NcclLink::throw_async_error() {
    const std::unique_lock lock(calls_, std::try_to_lock);
    NcclComm comm = comm_.load();
    if (!lock.owns_lock() || comm == nullptr) return;  // next time
    int result = kNcclSuccess;
    libraries.check_nccl(libraries.nccl.comm_get_async_error(comm, &result),
                         "ncclCommGetAsyncError");
    if (result != kNcclInProgress) libraries.check_nccl(result, "NCCL");
}

void NcclLink::close() noexcept {
    if (NcclComm comm = comm_.exchange(nullptr)) (void)libraries.nccl.comm_destroy(comm);
    control_.reset();
}

}  // namespace isoflop::comm
