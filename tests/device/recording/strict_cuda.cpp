#include "device/recording/strict_cuda.hpp"

#include <algorithm>
#include <cstring>
#include <iterator>

namespace isoflop::test {
namespace {

constexpr std::uint64_t kAlignment = 256;
constexpr std::uint64_t kTotalBytes = 8ULL << 30U;

std::uintptr_t number_of(const void* address) {
    return reinterpret_cast<std::uintptr_t>(address);
}

}  // namespace

StrictCuda& StrictCuda::instance() {
    static StrictCuda cuda;
    return cuda;
}

void StrictCuda::reset() {
    violations_.clear();
    graphs_.clear();
    events_.clear();
    streams_.clear();
    blocks_.clear();
}

std::vector<std::string> StrictCuda::take_violations(bool at_end) {
    const auto leak = [&](std::size_t count, const char* what) {
        if (at_end && count > 0) violate(std::to_string(count) + " " + what + " left");
    };
    leak(streams_.size(), "streams");
    leak(events_.size(), "events");
    leak(graphs_.size(), "graphs");
    leak(blocks_.size(), "allocations");
    return std::exchange(violations_, {});
}

bool StrictCuda::require(bool holds, const char* what) {
    if (!holds) violate(what);
    return holds;
}

bool StrictCuda::require_no_capture(const char* call) {
    const bool capturing = std::any_of(streams_.begin(), streams_.end(),
                                       [](const auto& each) { return each.second.capturing; });
    if (capturing) violate(std::string(call) + " while a stream is recorded");
    return !capturing;
}

cudaError_t StrictCuda::allocate(void** memory, std::size_t bytes, Place place) {
    if (!require_no_capture("an allocation")) return cudaErrorStreamCaptureUnsupported;
    if (!require(bytes > 0, "an allocation of no bytes")) return cudaErrorInvalidValue;
    Block block{.bytes = bytes,
                .place = place,
                .storage = std::make_unique<std::byte[]>(bytes + kAlignment)};
    // What was not written is no number.
    std::memset(block.storage.get(), 0xFF, bytes + kAlignment);
    const std::uintptr_t start =
        (number_of(block.storage.get()) + kAlignment - 1) / kAlignment * kAlignment;
    *memory = reinterpret_cast<void*>(start);
    blocks_.emplace(start, std::move(block));
    return cudaSuccess;
}

cudaError_t StrictCuda::release(void* memory, Place place) {
    if (memory == nullptr) return cudaSuccess;
    if (!require_no_capture("a release of memory")) return cudaErrorStreamCaptureUnsupported;
    const auto block = blocks_.find(number_of(memory));
    if (!require(block != blocks_.end() && block->second.place == place,
                 "a release of memory that was not allocated so"))
        return cudaErrorInvalidValue;
    run_all();
    blocks_.erase(block);
    return cudaSuccess;
}

bool StrictCuda::is_in(Place place, const void* begin, std::uint64_t bytes) const {
    auto block = blocks_.upper_bound(number_of(begin));
    if (block == blocks_.begin()) return false;
    --block;
    return block->second.place == place &&
           number_of(begin) + bytes <= block->first + block->second.bytes;
}

StrictCuda::Stream* StrictCuda::find(cudaStream_t stream) {
    const auto found = streams_.find(stream);
    if (!require(found != streams_.end(), "a stream that does not exist")) return nullptr;
    return &found->second;
}

StrictCuda::Event* StrictCuda::find(cudaEvent_t event) {
    const auto found = events_.find(event);
    if (!require(found != events_.end(), "an event that does not exist")) return nullptr;
    return &found->second;
}

void StrictCuda::run_until(cudaStream_t stream, std::size_t point) {
    const auto found = streams_.find(stream);
    if (found == streams_.end()) return;
    while (found->second.done < std::min(point, found->second.work.size())) {
        const Work work = found->second.work[found->second.done++];
        work();
    }
}

void StrictCuda::run_all() {
    for (auto& [handle, stream] : streams_) run_until(handle, stream.work.size());
}

cudaError_t StrictCuda::make_stream(cudaStream_t* stream, unsigned flags) {
    require(flags == cudaStreamNonBlocking, "a stream that waits for the default stream");
    *stream = reinterpret_cast<cudaStream_t>(++next_handle_ * 16);
    streams_[*stream];
    return cudaSuccess;
}

cudaError_t StrictCuda::destroy_stream(cudaStream_t stream) {
    if (find(stream) == nullptr) return cudaErrorInvalidResourceHandle;
    run_all();
    streams_.erase(stream);
    return cudaSuccess;
}

cudaError_t StrictCuda::enqueue(cudaStream_t handle, Work work) {
    Stream* const stream = find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    (stream->capturing ? stream->recorded : stream->work).push_back(std::move(work));
    return cudaSuccess;
}

cudaError_t StrictCuda::synchronize(cudaStream_t handle) {
    Stream* const stream = find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (!require_no_capture("a wait for a stream")) return cudaErrorStreamCaptureUnsupported;
    run_until(handle, stream->work.size());
    return cudaSuccess;
}

cudaError_t StrictCuda::copy(cudaStream_t stream, void* to, const void* from, std::uint64_t bytes,
                             cudaMemcpyKind kind) {
    const Place source = kind == cudaMemcpyHostToDevice ? Place::pinned : Place::device;
    const Place target = kind == cudaMemcpyDeviceToHost ? Place::pinned : Place::device;
    if (!require(bytes > 0, "a copy of no bytes") ||
        !require(is_in(source, from, bytes), "a copy from outside of memory of its kind") ||
        !require(is_in(target, to, bytes), "a copy to outside of memory of its kind"))
        return cudaErrorInvalidValue;
    return enqueue(stream, [=] { std::memmove(to, from, bytes); });
}

cudaError_t StrictCuda::make_event(cudaEvent_t* event, unsigned flags) {
    *event = reinterpret_cast<cudaEvent_t>(++next_handle_ * 16);
    events_[*event].timing = (flags & cudaEventDisableTiming) == 0;
    return cudaSuccess;
}

cudaError_t StrictCuda::destroy_event(cudaEvent_t event) {
    if (find(event) == nullptr) return cudaErrorInvalidResourceHandle;
    events_.erase(event);
    return cudaSuccess;
}

cudaError_t StrictCuda::record(cudaEvent_t handle, cudaStream_t of) {
    Event* const event = find(handle);
    Stream* const stream = find(of);
    if (event == nullptr || stream == nullptr) return cudaErrorInvalidResourceHandle;
    event->recorded = true;
    event->in_capture = stream->capturing;
    event->stream = of;
    event->point = stream->work.size();
    return cudaSuccess;
}

cudaError_t StrictCuda::wait(cudaStream_t handle, cudaEvent_t awaited) {
    Stream* const stream = find(handle);
    Event* const event = find(awaited);
    if (stream == nullptr || event == nullptr) return cudaErrorInvalidResourceHandle;
    if (!require(event->recorded, "a wait for an event that was not recorded") ||
        !require(event->in_capture == stream->capturing,
                 "a wait between a recording and what is outside of it"))
        return cudaErrorStreamCaptureIsolation;
    return enqueue(handle,
                   [this, on = event->stream, point = event->point] { run_until(on, point); });
}

cudaError_t StrictCuda::synchronize(cudaEvent_t handle) {
    const Event* const event = find(handle);
    if (event == nullptr) return cudaErrorInvalidResourceHandle;
    if (!require_no_capture("a wait for an event")) return cudaErrorStreamCaptureUnsupported;
    if (!require(event->recorded, "a wait for an event that was not recorded"))
        return cudaErrorInvalidValue;
    run_until(event->stream, event->point);
    return cudaSuccess;
}

cudaError_t StrictCuda::elapsed(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    for (const cudaEvent_t each : {begin, end}) {
        const Event* const event = find(each);
        if (event == nullptr) return cudaErrorInvalidResourceHandle;
        const auto stream = streams_.find(event->stream);
        if (!require(event->timing, "the time of an event without timing") ||
            !require(event->recorded, "the time of an event that was not recorded") ||
            !require(stream != streams_.end() && stream->second.done >= event->point,
                     "the time of an event that was not waited for"))
            return cudaErrorInvalidValue;
    }
    *milliseconds = 0.5F;
    return cudaSuccess;
}

cudaError_t StrictCuda::begin_capture(cudaStream_t handle, cudaStreamCaptureMode mode) {
    Stream* const stream = find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (!require(!stream->capturing, "a recording within a recording"))
        return cudaErrorIllegalState;
    require(mode == cudaStreamCaptureModeThreadLocal,
            "a recording that forbids calls to other threads, or nothing to its own");
    stream->capturing = true;
    stream->recorded.clear();
    return cudaSuccess;
}

cudaError_t StrictCuda::end_capture(cudaStream_t handle, cudaGraph_t* graph) {
    Stream* const stream = find(handle);
    if (stream == nullptr) return cudaErrorInvalidResourceHandle;
    if (!require(stream->capturing, "the end of a recording that was not begun"))
        return cudaErrorIllegalState;
    stream->capturing = false;
    *graph = reinterpret_cast<cudaGraph_t>(++next_handle_ * 16);
    graphs_[*graph] = std::move(stream->recorded);
    return cudaSuccess;
}

cudaError_t StrictCuda::instantiate(cudaGraphExec_t* executable, cudaGraph_t graph) {
    const auto found = graphs_.find(graph);
    if (!require(found != graphs_.end(), "a graph that does not exist"))
        return cudaErrorInvalidResourceHandle;
    *executable = reinterpret_cast<cudaGraphExec_t>(++next_handle_ * 16);
    graphs_[*executable] = Graph(found->second);
    return cudaSuccess;
}

cudaError_t StrictCuda::launch(cudaGraphExec_t executable, cudaStream_t handle) {
    const auto found = graphs_.find(executable);
    Stream* const stream = find(handle);
    if (!require(found != graphs_.end(), "a graph that does not exist") || stream == nullptr)
        return cudaErrorInvalidResourceHandle;
    require(!stream->capturing, "a launch of a graph while its stream is recorded");
    stream->work.insert(stream->work.end(), found->second.begin(), found->second.end());
    return cudaSuccess;
}

cudaError_t StrictCuda::destroy_graph(void* graph) {
    if (!require(graphs_.erase(graph) == 1, "a graph that does not exist"))
        return cudaErrorInvalidResourceHandle;
    return cudaSuccess;
}

namespace {

StrictCuda& cuda() {
    return StrictCuda::instance();
}

/// Rows of `width` bytes, `pitch` apart, of device memory.
bool are_rows(const void* begin, std::size_t pitch, std::size_t width, std::size_t rows) {
    return width <= pitch && rows > 0 &&
           cuda().is_in(StrictCuda::Place::device, begin, (rows - 1) * pitch + width);
}

}  // namespace
}  // namespace isoflop::test

// The functions that src/device/cuda calls.
using isoflop::test::are_rows;
using isoflop::test::cuda;
using isoflop::test::StrictCuda;

cudaError_t cudaSetDevice(int device) {
    return cuda().require(device == 0, "another device") ? cudaSuccess : cudaErrorInvalidDevice;
}
cudaError_t cudaGetDevice(int* device) {
    return *device = 0, cudaSuccess;
}
cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int /*device*/) {
    std::strncpy(text, "0000:00:00.0", static_cast<std::size_t>(size));
    return cudaSuccess;
}
cudaError_t cudaDriverGetVersion(int* version) {
    return *version = 13000, cudaSuccess;
}
// Of open_gpu.cpp, so that no object of the real runtime is linked beside these.
cudaError_t cudaGetDeviceCount(int* count) {
    return *count = 1, cudaSuccess;
}
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* properties, int /*device*/) {
    return *properties = cudaDeviceProp{}, cudaSuccess;
}
cudaError_t cudaRuntimeGetVersion(int* version) {
    return *version = 13000, cudaSuccess;
}
cudaError_t cudaGetLastError() {
    return cudaSuccess;
}
const char* cudaGetErrorName(cudaError_t /*error*/) {
    return "cudaErrorOfTheTest";
}
const char* cudaGetErrorString(cudaError_t /*error*/) {
    return "an error of the test";
}
cudaError_t cudaMemGetInfo(std::size_t* free_bytes, std::size_t* total_bytes) {
    *free_bytes = *total_bytes = isoflop::test::kTotalBytes;
    return cudaSuccess;
}
cudaError_t cudaMalloc(void** memory, std::size_t bytes) {
    return cuda().allocate(memory, bytes, StrictCuda::Place::device);
}
cudaError_t cudaFree(void* memory) {
    return cuda().release(memory, StrictCuda::Place::device);
}
cudaError_t cudaMallocHost(void** memory, std::size_t bytes) {
    return cuda().allocate(memory, bytes, StrictCuda::Place::pinned);
}
cudaError_t cudaFreeHost(void* memory) {
    return cuda().release(memory, StrictCuda::Place::pinned);
}
cudaError_t cudaMemcpyAsync(void* to, const void* from, std::size_t bytes, cudaMemcpyKind kind,
                            cudaStream_t stream) {
    return cuda().copy(stream, to, from, bytes, kind);
}
cudaError_t cudaMemcpy2DAsync(void* to, std::size_t to_pitch, const void* from,
                              std::size_t from_pitch, std::size_t width, std::size_t rows,
                              cudaMemcpyKind kind, cudaStream_t stream) {
    if (!cuda().require(kind == cudaMemcpyDeviceToDevice && are_rows(to, to_pitch, width, rows) &&
                            are_rows(from, from_pitch, width, rows),
                        "a copy of rows outside of device memory"))
        return cudaErrorInvalidValue;
    return cuda().enqueue(stream, [=] {
        for (std::size_t row = 0; row < rows; ++row)
            std::memcpy(static_cast<std::byte*>(to) + row * to_pitch,
                        static_cast<const std::byte*>(from) + row * from_pitch, width);
    });
}
cudaError_t cudaMemsetAsync(void* memory, int value, std::size_t bytes, cudaStream_t stream) {
    if (!cuda().require(cuda().is_in(StrictCuda::Place::device, memory, bytes),
                        "bytes set outside of device memory"))
        return cudaErrorInvalidValue;
    return cuda().enqueue(stream, [=] { std::memset(memory, value, bytes); });
}
cudaError_t cudaMemset2DAsync(void* memory, std::size_t pitch, int value, std::size_t width,
                              std::size_t rows, cudaStream_t stream) {
    if (!cuda().require(are_rows(memory, pitch, width, rows), "rows set outside of device memory"))
        return cudaErrorInvalidValue;
    return cuda().enqueue(stream, [=] {
        for (std::size_t row = 0; row < rows; ++row)
            std::memset(static_cast<std::byte*>(memory) + row * pitch, value, width);
    });
}
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
    return cuda().make_stream(stream, flags);
}
cudaError_t cudaStreamDestroy(cudaStream_t stream) {
    return cuda().destroy_stream(stream);
}
cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
    return cuda().synchronize(stream);
}
cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned /*flags*/) {
    return cuda().wait(stream, event);
}
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned flags) {
    return cuda().make_event(event, flags);
}
cudaError_t cudaEventDestroy(cudaEvent_t event) {
    return cuda().destroy_event(event);
}
cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
    return cuda().record(event, stream);
}
cudaError_t cudaEventSynchronize(cudaEvent_t event) {
    return cuda().synchronize(event);
}
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t begin, cudaEvent_t end) {
    return cuda().elapsed(milliseconds, begin, end);
}
cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
    return cuda().begin_capture(stream, mode);
}
cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
    return cuda().end_capture(stream, graph);
}
cudaError_t cudaGraphInstantiate(cudaGraphExec_t* executable, cudaGraph_t graph,
                                 unsigned long long /*flags*/) {
    return cuda().instantiate(executable, graph);
}
cudaError_t cudaGraphLaunch(cudaGraphExec_t executable, cudaStream_t stream) {
    return cuda().launch(executable, stream);
}
cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
    return cuda().destroy_graph(graph);
}
cudaError_t cudaGraphExecDestroy(cudaGraphExec_t executable) {
    return cuda().destroy_graph(executable);
}
