// A pool of worker threads with dynamic chunks. The caller works too; workers spin for a few
// microseconds between jobs and then sleep, so that on a busy machine two threads are not slower
// than one (as with spinning barriers).
//
// The result of a chunk must not depend on the number of threads: callers choose chunk boundaries
// from the problem alone and combine partial results in chunk order. Then 1, 2 and 64 threads give
// the same bits.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>

namespace isoflop::device {

/// Threads this process may use: CPU affinity, limited by the cgroup's CPU quota (rounded up), at
/// least 1.
[[nodiscard]] int default_thread_count();

class ThreadPool {
public:
    /// Starts `num_threads` - 1 workers.
    explicit ThreadPool(int num_threads = default_thread_count());
    ~ThreadPool();
    ThreadPool(const ThreadPool&) = delete;
    ThreadPool& operator=(const ThreadPool&) = delete;

    [[nodiscard]] int num_threads() const;

    /// Calls run(chunk) for chunk = 0 .. num_chunks-1, each once, on any thread, and returns when
    /// all are done. The first exception is rethrown here. Nested calls run in the calling thread.
    void parallel_for(std::int64_t num_chunks, const std::function<void(std::int64_t chunk)>& run);

    /// Splits [0, count) into chunks of `grain` and calls run(begin, end) for each.
    void parallel_ranges(std::int64_t count, std::int64_t grain,
                         const std::function<void(std::int64_t begin, std::int64_t end)>& run);

private:
    class Workers;
    std::unique_ptr<Workers> workers_;
};

}  // namespace isoflop::device
