// Ranks as threads, each with a fake GPU, connected as connect_nccl does it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "comm/fake_nccl.hpp"
#include "comm/local_ranks.hpp"
#include "comm/nccl_communicator.hpp"

namespace isoflop::comm {

constexpr std::chrono::milliseconds kLong{20'000};

class MapStore final : public Store {
public:
    void set(std::string_view key, std::string_view value) override {
        const std::lock_guard lock(mutex_);
        values_[std::string(key)] = value;
        changed_.notify_all();
    }
    std::string get(std::string_view key) override {
        std::unique_lock lock(mutex_);
        const auto there = [&] { return values_.contains(std::string(key)); };
        if (!changed_.wait_for(lock, kLong, there)) throw LostRank(-1, "no such key");
        return values_[std::string(key)];
    }
    std::int64_t add(std::string_view, std::int64_t) override {
        throw std::logic_error("not needed");
    }

private:
    std::mutex mutex_;
    std::condition_variable changed_;
    std::map<std::string, std::string> values_;
};

/// Changes the functions that the communicator of a rank calls.
using Fault = std::function<void(FakeGpu&, NcclLibraries&)>;

/// Runs body(communicator, gpu) on every rank; afterwards every handle has been destroyed.
template <class Body>
void on_ranks(int size, std::chrono::milliseconds timeout, const Body& body,
              const Fault& fault = {}) {
    auto data = make_local_group(size, kTestTimeoutSeconds);
    auto control = make_local_group(size, kTestTimeoutSeconds);
    MapStore store;
    run_threads(size, [&](int rank) {
        const auto r = static_cast<std::size_t>(rank);
        FakeGpu gpu(std::move(data[r]));
        const auto load = [&] {
            NcclLibraries libraries = gpu.libraries();
            if (fault) fault(gpu, libraries);
            return libraries;
        };
        {
            const auto communicator =
                connect_nccl_with(load, store, std::move(control[r]),
                                  {.compute_stream = gpu.compute_stream(), .timeout = timeout});
            body(*communicator, gpu);
        }
        EXPECT_EQ(gpu.live_handles, 0);
    });
}

inline TensorView view(std::vector<float>& values) {
    return TensorView::of(std::span(values), {static_cast<std::int64_t>(values.size())});
}

/// What it throws; nothing when it does not.
template <class Body>
std::optional<LostRank> failure_of(const Body& body) {
    try {
        body();
    } catch (const LostRank& error) {
        return error;
    }
    return std::nullopt;
}

}  // namespace isoflop::comm
