// Two atomic words carry a job.
//
// `signal_` counts jobs; workers watch it, first spinning, then asleep in the kernel. `gate_` is
// the open flag of the current job plus the number of workers inside. A worker may enter only while
// the gate is open; the caller, having run out of chunks, closes the gate and waits until those
// inside have left. So a worker that wakes late finds a closed gate, goes back to sleep, and no
// thread waits for it: on a busy machine the caller does all the work. A job waits at most for the
// last chunk that a worker has taken.
#include "isoflop/device/thread_pool.hpp"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <exception>
#include <mutex>
#include <thread>
#include <utility>
#include <vector>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace isoflop::device {
namespace {

/// Longer than the serial code between two ops, far shorter than a time slice.
constexpr std::chrono::microseconds kSpinTime{8};

void relax() {
#if defined(__x86_64__)
    _mm_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/// True as soon as done() is, false after kSpinTime.
template <class Done>
bool spin_until(Done done) {
    constexpr int kPausesBetweenLooksAtTheClock = 16;
    if (done()) return true;
    const auto end = std::chrono::steady_clock::now() + kSpinTime;
    do {
        for (int i = 0; i < kPausesBetweenLooksAtTheClock; ++i) {
            relax();
            if (done()) return true;
        }
    } while (std::chrono::steady_clock::now() < end);
    return false;
}

/// True in a thread that is running a chunk, of any pool: what it calls runs serially.
thread_local bool inside_chunk = false;

class InsideChunk {
public:
    InsideChunk() { inside_chunk = true; }
    ~InsideChunk() { inside_chunk = false; }
    InsideChunk(const InsideChunk&) = delete;
    InsideChunk& operator=(const InsideChunk&) = delete;
};

}  // namespace

class ThreadPool::Workers {
public:
    explicit Workers(int num_workers) {
        threads_.reserve(static_cast<std::size_t>(num_workers));
        try {
            for (int i = 0; i < num_workers; ++i) threads_.emplace_back([this] { serve(); });
        } catch (...) {  // the system refuses more threads: join those that run
            stop();
            throw;
        }
    }
    ~Workers() { stop(); }
    Workers(const Workers&) = delete;
    Workers& operator=(const Workers&) = delete;

    [[nodiscard]] std::size_t size() const { return threads_.size(); }

    /// False when another thread's job is running; nothing was done then.
    bool try_run(std::int64_t num_chunks, const std::function<void(std::int64_t)>& run) {
        const std::unique_lock<std::mutex> lock(one_job_, std::try_to_lock);
        if (!lock.owns_lock()) return false;

        run_ = &run;
        num_chunks_ = num_chunks;
        next_chunk_.store(0, std::memory_order_relaxed);
        failed_.store(false, std::memory_order_relaxed);
        gate_.store(kOpen, std::memory_order_release);
        signal_.fetch_add(1, std::memory_order_release);
        wake(static_cast<std::size_t>(num_chunks - 1));

        take_chunks();
        close_gate();
        if (exception_) std::rethrow_exception(std::exchange(exception_, nullptr));
        return true;
    }

private:
    static constexpr std::uint32_t kOpen = 1U << 31U;

    void wake(std::size_t wanted) {
        if (wanted >= threads_.size()) return signal_.notify_all();
        for (std::size_t i = 0; i < wanted; ++i) signal_.notify_one();
    }

    void close_gate() {
        std::uint32_t inside = gate_.fetch_and(~kOpen, std::memory_order_acq_rel) & ~kOpen;
        const auto all_left = [&] {
            inside = gate_.load(std::memory_order_acquire);
            return inside == 0;
        };
        if (inside == 0 || spin_until(all_left)) return;
        while (!all_left()) gate_.wait(inside, std::memory_order_acquire);
    }

    bool enter() {
        std::uint32_t gate = gate_.load(std::memory_order_relaxed);
        while ((gate & kOpen) != 0) {
            if (gate_.compare_exchange_weak(gate, gate + 1, std::memory_order_acq_rel)) return true;
        }
        return false;
    }

    void leave() {
        if (gate_.fetch_sub(1, std::memory_order_acq_rel) == 1) gate_.notify_one();
    }

    void take_chunks() {
        const InsideChunk guard;
        while (true) {
            const std::int64_t chunk = next_chunk_.fetch_add(1, std::memory_order_relaxed);
            if (chunk >= num_chunks_ || failed_.load(std::memory_order_relaxed)) return;
            try {
                (*run_)(chunk);
            } catch (...) {
                const std::lock_guard<std::mutex> lock(exception_mutex_);
                if (!exception_) exception_ = std::current_exception();
                failed_.store(true, std::memory_order_relaxed);
            }
        }
    }

    void serve() {
        std::uint32_t seen = 0;
        while (true) {
            const auto news = [&] { return signal_.load(std::memory_order_acquire) != seen; };
            if (!spin_until(news)) signal_.wait(seen, std::memory_order_acquire);
            seen = signal_.load(std::memory_order_acquire);
            if (stopping_.load(std::memory_order_acquire)) return;
            if (enter()) {
                take_chunks();
                leave();
            }
        }
    }

    void stop() {
        stopping_.store(true, std::memory_order_release);
        signal_.fetch_add(1, std::memory_order_release);
        signal_.notify_all();
        for (std::thread& thread : threads_) thread.join();
        threads_.clear();
    }

    // Apart, so that workers watching the signal do not slow down those taking chunks.
    alignas(64) std::atomic<std::uint32_t> signal_{0};
    std::atomic<bool> stopping_{false};
    alignas(64) std::atomic<std::uint32_t> gate_{0};
    alignas(64) std::atomic<std::int64_t> next_chunk_{0};
    std::atomic<bool> failed_{false};
    alignas(64) const std::function<void(std::int64_t)>* run_ = nullptr;
    std::int64_t num_chunks_ = 0;
    std::exception_ptr exception_;
    std::mutex exception_mutex_;
    std::mutex one_job_;
    std::vector<std::thread> threads_;
};

ThreadPool::ThreadPool(int num_threads)
    : workers_(std::make_unique<Workers>(std::max(num_threads, 1) - 1)) {}

ThreadPool::~ThreadPool() = default;

int ThreadPool::num_threads() const {
    return static_cast<int>(workers_->size()) + 1;
}

void ThreadPool::parallel_for(std::int64_t num_chunks,
                              const std::function<void(std::int64_t)>& run) {
    if (num_chunks <= 0) return;
    const bool serial = num_chunks == 1 || workers_->size() == 0 || inside_chunk;
    if (!serial && workers_->try_run(num_chunks, run)) return;
    for (std::int64_t chunk = 0; chunk < num_chunks; ++chunk) run(chunk);
}

void ThreadPool::parallel_ranges(std::int64_t count, std::int64_t grain,
                                 const std::function<void(std::int64_t, std::int64_t)>& run) {
    if (count <= 0) return;
    grain = std::max<std::int64_t>(grain, 1);
    const std::int64_t num_chunks = (count + grain - 1) / grain;
    parallel_for(num_chunks, [&](std::int64_t chunk) {
        run(chunk * grain, std::min(count, (chunk + 1) * grain));
    });
}

}  // namespace isoflop::device
