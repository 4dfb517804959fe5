// A CUDA runtime on the host for src/device/cuda, stricter than the real one: what a GPU may let
// pass, or answer with a fault far from its cause, is a violation here, and each violation fails
// the test. Work of a stream runs as late as the calls allow, so that a missing wait shows in
// results.
//
// Checked: handles that live, addresses inside one allocation, pinned memory in asynchronous
// copies, states of events, what may not be called while a stream is recorded and how it is
// recorded.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace isoflop::test {

class StrictCuda {
public:
    using Work = std::function<void()>;

    /// That of the program. Tests reset it.
    static StrictCuda& instance();
    void reset();

    /// Those so far, which are forgotten; with handles and memory that are still there.
    [[nodiscard]] std::vector<std::string> take_violations(bool at_end = true);
    void violate(std::string what) { violations_.push_back(std::move(what)); }
    /// Violates where it does not hold; returns whether it does.
    bool require(bool holds, const char* what);

    enum class Place { device, pinned };
    [[nodiscard]] cudaError_t allocate(void** memory, std::size_t bytes, Place place);
    [[nodiscard]] cudaError_t release(void* memory, Place place);
    /// Whether all of it is in one allocation.
    [[nodiscard]] bool is_in(Place place, const void* begin, std::uint64_t bytes) const;

    [[nodiscard]] cudaError_t make_stream(cudaStream_t* stream, unsigned flags);
    [[nodiscard]] cudaError_t destroy_stream(cudaStream_t stream);
    /// Into the stream, or its recording.
    [[nodiscard]] cudaError_t enqueue(cudaStream_t stream, Work work);
    [[nodiscard]] cudaError_t synchronize(cudaStream_t stream);
    [[nodiscard]] cudaError_t copy(cudaStream_t stream, void* to, const void* from,
                                   std::uint64_t bytes, cudaMemcpyKind kind);

    [[nodiscard]] cudaError_t make_event(cudaEvent_t* event, unsigned flags);
    [[nodiscard]] cudaError_t destroy_event(cudaEvent_t event);
    [[nodiscard]] cudaError_t record(cudaEvent_t event, cudaStream_t stream);
    [[nodiscard]] cudaError_t wait(cudaStream_t stream, cudaEvent_t event);
    [[nodiscard]] cudaError_t synchronize(cudaEvent_t event);
    [[nodiscard]] cudaError_t elapsed(float* milliseconds, cudaEvent_t begin, cudaEvent_t end);

    [[nodiscard]] cudaError_t begin_capture(cudaStream_t stream, cudaStreamCaptureMode mode);
    [[nodiscard]] cudaError_t end_capture(cudaStream_t stream, cudaGraph_t* graph);
    [[nodiscard]] cudaError_t instantiate(cudaGraphExec_t* executable, cudaGraph_t graph);
    [[nodiscard]] cudaError_t launch(cudaGraphExec_t executable, cudaStream_t stream);
    [[nodiscard]] cudaError_t destroy_graph(void* graph);
    /// Calls that wait or take memory are not for the time of a recording.
    bool require_no_capture(const char* call);

private:
    struct Stream {
        std::vector<Work> work;
        std::size_t done = 0;
        bool capturing = false;
        std::vector<Work> recorded;
    };
    struct Event {
        bool timing = false;
        bool recorded = false;
        bool in_capture = false;
        cudaStream_t stream = nullptr;
        std::size_t point = 0;  ///< pieces of work of the stream before it
    };
    struct Block {
        std::uint64_t bytes = 0;
        Place place{};
        std::unique_ptr<std::byte[]> storage;
    };
    using Graph = std::vector<Work>;

    Stream* find(cudaStream_t stream);
    Event* find(cudaEvent_t event);
    void run_until(cudaStream_t stream, std::size_t point);
    void run_all();

    std::vector<std::string> violations_;
    std::map<std::uintptr_t, Block> blocks_;
    std::map<cudaStream_t, Stream> streams_;
    std::map<cudaEvent_t, Event> events_;
    std::map<void*, Graph> graphs_;
    std::uintptr_t next_handle_ = 0;
};

}  // namespace isoflop::test
