// Inputs of an op besides its tensors: threads, scratch memory, and a recorder of matrix products.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>
#include <vector>

#include "isoflop/cost/flop_count.hpp"
#include "isoflop/device/thread_pool.hpp"

namespace isoflop::device {

class Device;

/// The CPU, for contexts without a device of their own. Any number of ranks and threads may use it.
[[nodiscard]] Device& host_device();

/// Collects the matrix products that ops issue, for comparison with cost::executed_products.
class ProductRecorder {
public:
    /// Where a number comes from. `planned`: from the plan's formula, as a library does not say
    /// what it computes, or as kernels do not count.
    enum class Source { counted, planned };
    /// Adds `multiply_adds` under (name, pass).
    void add(std::string_view name, cost::Pass pass, std::uint64_t multiply_adds,
             Source source = Source::counted);
    struct Entry {
        std::string_view name;
        cost::Pass pass = cost::Pass::forward;
        std::uint64_t multiply_adds = 0;
        bool as_planned = false;  ///< in part or all
    };
    [[nodiscard]] const std::vector<Entry>& entries() const { return entries_; }
    [[nodiscard]] std::uint64_t total_flops() const;  ///< 2 x multiply-adds
    /// The part of them whose number is, in part or all, from the plan.
    [[nodiscard]] std::uint64_t flops_as_planned() const;
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
    explicit Context(ThreadPool& thread_pool, Device& where = host_device())
        : pool(thread_pool), device(where) {}
    ThreadPool& pool;
    /// Where tensors are and ops run.
    Device& device;
    Workspace workspace;
    ProductRecorder* recorder = nullptr;

    void record(std::string_view name, cost::Pass pass, std::uint64_t multiply_adds,
                ProductRecorder::Source source = ProductRecorder::Source::counted) const {
        if (recorder != nullptr) recorder->add(name, pass, multiply_adds, source);
    }
};

}  // namespace isoflop::device
