// What an op needs besides its tensors: threads, scratch memory, and a recorder of matrix products.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/device/thread_pool.hpp"

namespace isoflop::device {

class Accelerator;

/// Collects the matrix products that ops really issue, to hold them against
/// cost::executed_products.
class ProductRecorder {
public:
    /// Adds `multiply_adds` (of `count` products together, already summed) under (name, pass).
    void add(std::string_view name, cost::Pass pass, std::uint64_t multiply_adds);
    struct Entry {
        std::string_view name;
        cost::Pass pass = cost::Pass::forward;
        std::uint64_t multiply_adds = 0;
    };
    [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
    [[nodiscard]] std::uint64_t total_flops() const;  ///< 2 x multiply-adds
    void clear() { entries_.clear(); }

private:
    std::vector<Entry> entries_;
};

/// Growing scratch memory, reused between ops: contents are undefined after the next call.
class Workspace {
public:
    template <class T>
    [[nodiscard]] std::span<T> get(std::size_t count) {
        const std::size_t doubles = (count * sizeof(T) + sizeof(double) - 1) / sizeof(double);
        if (storage_.size() < doubles) storage_.resize(doubles);
        return {reinterpret_cast<T*>(storage_.data()), count};
    }
    [[nodiscard]] std::size_t bytes() const { return storage_.size() * sizeof(double); }

private:
    std::vector<double> storage_;
};

/// One per rank. Not thread-safe: ops are called from one thread and use the pool inside.
struct Context {
    explicit Context(ThreadPool& thread_pool, Accelerator* device = nullptr)
        : pool(thread_pool), accelerator(device) {}
    ThreadPool& pool;
    /// Where tensors are and ops run; nullptr: on the CPU.
    Accelerator* accelerator = nullptr;
    Workspace workspace;
    ProductRecorder* recorder = nullptr;

    void record(std::string_view name, cost::Pass pass, std::uint64_t multiply_adds) const {
        if (recorder != nullptr) recorder->add(name, pass, multiply_adds);
    }
};

}  // namespace isoflop::device
