// NCCL and the CUDA runtime on the host, recorded. Ranks are threads; device memory is the host's.
//
// The stream of the computation is the rank's own thread: what it is given is done at once, and its
// waits block. Any other stream has a thread, which runs its work as late as a GPU might. Sums are
// those of the CPU collectives, so that runs over both give the same bits. As on a GPU, a
// collective whose peer is lost reports an error to every query and hangs until it is aborted.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <list>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "comm/collectives.hpp"
#include "comm/gpu_log.hpp"
#include "comm/nccl_functions.hpp"
#include "isoflop/comm/point_to_point.hpp"

namespace isoflop::comm {

/// One rank's GPU with both libraries. Outlives everything made with them.
class FakeGpu {
public:
    /// `peers` connects the ranks' collectives.
    explicit FakeGpu(std::unique_ptr<PointToPoint> peers) : peers_(std::move(peers)) {}

    [[nodiscard]] CudaStream compute_stream() { return reinterpret_cast<CudaStream>(&compute_); }
    [[nodiscard]] std::vector<std::string> violations() {
        return GpuRules(compute_stream()).violations(log);
    }
    [[nodiscard]] bool aborted() const {
        const std::lock_guard lock(mutex_);
        return aborted_;
    }
    [[nodiscard]] NcclLibraries libraries() { return {nccl(), cuda()}; }

    /// Every byte differs from its neighbour, and some are zero.
    static NcclUniqueId unique_id() {
        NcclUniqueId id;
        for (std::size_t i = 0; i < id.internal.size(); ++i)
            id.internal.at(i) = static_cast<char>(i * 3);
        return id;
    }

    GpuLog log;
    int live_handles = 0;  ///< streams, events and communicators that were not destroyed

private:
    using Work = std::function<void()>;

    struct Event {
        int number = 0;
        std::uint64_t recorded = 0;
        std::uint64_t reached = 0;
    };

    /// A thread that does one piece of work after the other.
    class Stream {
    public:
        Stream() : thread_([this] { run(); }) {}
        ~Stream() {
            push(nullptr);
            thread_.join();
        }
        Stream(const Stream&) = delete;
        Stream& operator=(const Stream&) = delete;

        void push(Work work) {
            const std::lock_guard lock(mutex_);
            queue_.push_back(std::move(work));
            wake_.notify_one();
        }

    private:
        void run() {
            while (Work work = next()) work();
        }
        Work next() {
            std::unique_lock lock(mutex_);
            wake_.wait(lock, [&] { return !queue_.empty(); });
            Work work = std::move(queue_.front());
            queue_.pop_front();
            return work;
        }

        std::mutex mutex_;
        std::condition_variable wake_;
        std::deque<Work> queue_;
        std::thread thread_;
    };

    static Event& event_of(CudaEvent handle) { return *reinterpret_cast<Event*>(handle); }
    static Stream& stream_of(CudaStream handle) { return *reinterpret_cast<Stream*>(handle); }

    CudaRuntimeFunctions cuda() {
        CudaRuntimeFunctions table;
        table.get_error_string = [](int) { return "fake CUDA error"; };
        table.set_device = [](int) { return kCudaSuccess; };
        table.stream_create_with_flags = [this](CudaStream* stream, unsigned flags) {
            if (flags != kCudaStreamNonBlocking) return 1;
            *stream = reinterpret_cast<CudaStream>(new Stream);
            return count_handle(1);
        };
        table.stream_destroy = [this](CudaStream stream) {
            delete &stream_of(stream);
            return count_handle(-1);
        };
        table.event_create_with_flags = [this](CudaEvent* event, unsigned flags) {
            if (flags != kCudaEventDisableTiming) return 1;
            const std::lock_guard lock(mutex_);
            events_.push_back({.number = static_cast<int>(events_.size()) + 1});
            *event = reinterpret_cast<CudaEvent>(&events_.back());
            ++live_handles;
            return kCudaSuccess;
        };
        table.event_destroy = [this](CudaEvent) { return count_handle(-1); };
        table.event_record = [this](CudaEvent event, CudaStream stream) {
            return record(event_of(event), stream);
        };
        table.stream_wait_event = [this](CudaStream stream, CudaEvent event, unsigned) {
            return wait(stream, event_of(event));
        };
        table.event_query = [this](CudaEvent event) {
            const std::lock_guard lock(mutex_);
            const Event& asked = event_of(event);
            return asked.reached >= asked.recorded ? kCudaSuccess : kCudaErrorNotReady;
        };
        return table;
    }

    NcclFunctions nccl() {
        NcclFunctions table;
        table.get_version = [](int* version) { return *version = 22809, kNcclSuccess; };
        table.get_error_string = [](int result) {
            return result == kNcclRemoteError ? "fake remote error" : "fake NCCL error";
        };
        table.get_unique_id = [](NcclUniqueId* id) { return *id = unique_id(), kNcclSuccess; };
        table.comm_init_rank = [this](NcclComm* comm, int ranks, NcclUniqueId id, int rank) {
            if (ranks != peers_->size() || rank != peers_->rank()) return kInvalidArgument;
            if (id.internal != unique_id().internal) return kInvalidArgument;
            *comm = reinterpret_cast<NcclComm>(this);
            return count_handle(1);
        };
        table.comm_destroy = [this](NcclComm) { return count_handle(-1); };
        table.comm_abort = [this](NcclComm) { return abort(); };
        table.comm_get_async_error = [this](NcclComm, int* result) {
            const std::lock_guard lock(mutex_);
            return *result = async_error_, kNcclSuccess;
        };
        add_collectives(table);
        return table;
    }

    /// Operations in place, as the communicator makes them; others are refused.
    void add_collectives(NcclFunctions& table) {
        table.all_reduce = [this](const void* send, void* receive, std::size_t count, int dtype,
                                  int operation, NcclComm, CudaStream stream) {
            if (send != receive || operation != kNcclSum) return kInvalidArgument;
            add({.name = "all_reduce", .count = count, .dtype = dtype, .stream = stream});
            return sum(stream, receive, count, dtype, &comm::all_reduce);
        };
        table.reduce_scatter = [this](const void* send, void* receive, std::size_t count, int dtype,
                                      int operation, NcclComm, CudaStream stream) {
            if (receive != part_of(send, count, dtype)) return kInvalidArgument;
            if (operation != kNcclSum) return kInvalidArgument;
            add({.name = "reduce_scatter", .count = count, .dtype = dtype, .stream = stream});
            return sum(stream, const_cast<void*>(send), count * ranks(), dtype,
                       &comm::reduce_scatter);
        };
        table.all_gather = [this](const void* send, void* receive, std::size_t count, int dtype,
                                  NcclComm, CudaStream stream) {
            if (send != part_of(receive, count, dtype)) return kInvalidArgument;
            add({.name = "all_gather", .count = count, .dtype = dtype, .stream = stream});
            const std::span tensor(static_cast<std::byte*>(receive),
                                   count * ranks() * width(dtype));
            return enqueue(stream, [this, tensor] { comm::all_gather(*peers_, tensor); });
        };
    }

    static constexpr int kInvalidArgument = 4;

    [[nodiscard]] std::size_t ranks() const { return static_cast<std::size_t>(peers_->size()); }
    static std::size_t width(int dtype) {
        if (dtype == kNcclInt8) return 1;
        if (dtype == kNcclFloat16 || dtype == kNcclBfloat16) return 2;
        return dtype == kNcclFloat64 ? 8 : 4;
    }
    [[nodiscard]] const void* part_of(const void* tensor, std::size_t count, int dtype) const {
        return static_cast<const std::byte*>(tensor) +
               static_cast<std::size_t>(peers_->rank()) * count * width(dtype);
    }

    int add(GpuCall call) { return log.add(std::move(call)), kNcclSuccess; }

    int count_handle(int change) {
        const std::lock_guard lock(mutex_);
        live_handles += change;
        return kCudaSuccess;
    }

    template <class Collective>
    int sum(CudaStream stream, void* data, std::size_t elements, int dtype,
            Collective* collective) {
        SumTensor tensor{.data = static_cast<std::byte*>(data), .elements = elements};
        switch (dtype) {
            case kNcclFloat32: tensor.type = SumType::float32; break;
            case kNcclFloat64: tensor.type = SumType::float64; break;
            case kNcclBfloat16: tensor.type = SumType::bfloat16; break;
            default: return kInvalidArgument;
        }
        return enqueue(stream, [=, this] {
            std::vector<std::uint64_t> staging(
                comm::staging_bytes(elements * width(dtype), peers_->size()) / 8 + 1);
            collective(*peers_, tensor, std::as_writable_bytes(std::span(staging)));
        });
    }

    int enqueue(CudaStream stream, Work collective) {
        stream_of(stream).push([this, collective = std::move(collective)] {
            std::this_thread::sleep_for(std::chrono::microseconds(50));  // behind the host
            if (aborted()) return;
            try {
                collective();
            } catch (const LostRank&) {
                std::unique_lock lock(mutex_);
                async_error_ = kNcclRemoteError;
                changed_.wait(lock, [&] { return aborted_; });
            }
        });
        return kNcclSuccess;
    }

    int record(Event& event, CudaStream stream) {
        log.add({.kind = GpuCall::Kind::record, .stream = stream, .event = event.number});
        std::uint64_t point = 0;
        {
            const std::lock_guard lock(mutex_);
            point = ++event.recorded;
        }
        const auto reach = [this, &event, point] {
            const std::lock_guard lock(mutex_);
            event.reached = point;
            changed_.notify_all();
        };
        if (stream == compute_stream())
            reach();
        else
            stream_of(stream).push(reach);
        return kCudaSuccess;
    }

    int wait(CudaStream stream, Event& event) {
        log.add({.kind = GpuCall::Kind::wait, .stream = stream, .event = event.number});
        std::uint64_t point = 0;
        {
            const std::lock_guard lock(mutex_);
            point = event.recorded;
        }
        const auto block = [this, &event, point] {
            std::unique_lock lock(mutex_);
            changed_.wait(lock, [&] { return event.reached >= point; });
        };
        if (stream == compute_stream())
            block();
        else
            stream_of(stream).push(block);
        return kCudaSuccess;
    }

    int abort() {
        {
            const std::lock_guard lock(mutex_);
            aborted_ = true;
            --live_handles;
            changed_.notify_all();
        }
        peers_->abort();
        return kNcclSuccess;
    }

    char compute_ = 0;  ///< its address is the stream of the computation
    const std::unique_ptr<PointToPoint> peers_;
    mutable std::mutex mutex_;  ///< guards what follows
    std::condition_variable changed_;
    std::list<Event> events_;  ///< kept, so that each has a number of its own
    bool aborted_ = false;
    int async_error_ = kNcclSuccess;
};

}  // namespace isoflop::comm
