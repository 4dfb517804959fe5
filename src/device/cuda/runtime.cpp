#include "device/cuda/runtime.hpp"

#include <fmt/format.h>

#include "isoflop/base/error.hpp"

namespace isoflop::device::cuda {
namespace {

cudaStream_t make_stream() {
    cudaStream_t stream = nullptr;
    check(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), "cudaStreamCreateWithFlags");
    return stream;
}

cudaEvent_t make_event(Timing timing) {
    cudaEvent_t event = nullptr;
    const unsigned flags = timing == Timing::on ? cudaEventDefault : cudaEventDisableTiming;
    check(cudaEventCreateWithFlags(&event, flags), "cudaEventCreateWithFlags");
    return event;
}

}  // namespace

std::string describe(cudaError_t status) {
    return fmt::format("{} ({})", cudaGetErrorString(status), cudaGetErrorName(status));
}

void check(cudaError_t status, const char* call) {
    if (status == cudaSuccess) return;
    ignore(status);
    int ordinal = -1;
    const bool known = cudaGetDevice(&ordinal) == cudaSuccess;
    throw Error(ExitCode::check_failed,
                fmt::format("GPU {}: {}: {}", known ? std::to_string(ordinal) : std::string("?"),
                            call, describe(status)));
}

void ignore(cudaError_t status) noexcept {
    if (status != cudaSuccess) (void)cudaGetLastError();
}

Stream::Stream() : Owned(make_stream()) {}

void Stream::synchronize() const {
    check(cudaStreamSynchronize(get()), "cudaStreamSynchronize");
}

void Stream::wait(cudaEvent_t event) const {
    check(cudaStreamWaitEvent(get(), event, 0), "cudaStreamWaitEvent");
}

Event::Event(Timing timing) : Owned(make_event(timing)) {}

void Event::record(const Stream& stream) const {
    check(cudaEventRecord(get(), stream.get()), "cudaEventRecord");
}

void Event::synchronize() const {
    check(cudaEventSynchronize(get()), "cudaEventSynchronize");
}

double seconds_between(const Event& begin, const Event& end) {
    float milliseconds = 0;
    check(cudaEventElapsedTime(&milliseconds, begin.get(), end.get()), "cudaEventElapsedTime");
    return static_cast<double>(milliseconds) * 1e-3;
}

}  // namespace isoflop::device::cuda
