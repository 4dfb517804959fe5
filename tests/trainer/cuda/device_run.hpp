// The same training run on the GPU that the program is linked with (the emulated one, or a real
// one) and on the CPU, from the same weights and tokens.
#pragma once

#include <algorithm>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include "isoflop/comm/threaded_communicator.hpp"
#include "isoflop/device/device.hpp"
#include "isoflop/ops/reduction.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::testing {

using trainer::Overrides;

/// `connect` as for a session on the CPU: ranks are threads, which takes memory that is the host's,
/// as the emulated device's is.
struct DeviceRun {
    explicit DeviceRun(Overrides overrides, int ranks = 1,
                       const trainer::CommunicatorFactory& connect = {})
        : data(data::TokenDataset::open("builtin", data::Split::train)),
          session(plan(std::move(overrides), ranks), pool, with_staging(connect), *device),
          samples(data, session.plan().config.execution.sequence_length,
                  static_cast<std::uint64_t>(session.plan().config.keys.execution.seed)) {
        session.initialize_from_scratch();
    }

    trainer::IterationOutcome iterate(std::int64_t iteration, bool with_gradients = false) {
        return session.train_iteration(iteration, samples, with_gradients);
    }

    /// Gradients of the last iteration, as float.
    [[nodiscard]] std::vector<float> gradients() {
        return host_floats(session.strategy().slices(), &sharding::StateSlice::gradients);
    }

    std::unique_ptr<device::Device> device = device::open_gpu({});
    std::vector<std::unique_ptr<std::vector<std::uint64_t>>> staging;
    device::ThreadPool pool{1};
    data::TokenDataset data;
    trainer::Session session;
    data::BatchSampler samples;

private:
    static recipe::RunPlan plan(Overrides overrides, int ranks) {
        overrides.emplace_back("device=cuda");
        return trainer::plan_of(overrides, ranks);
    }

    /// Plans for GPUs have no scratch for sums on the host.
    trainer::CommunicatorFactory with_staging(const trainer::CommunicatorFactory& connect) {
        if (!connect) return {};
        return [this, connect](sharding::RankGroup group, std::span<std::byte>) {
            staging.push_back(std::make_unique<std::vector<std::uint64_t>>(1 << 17));
            return connect(group, std::as_writable_bytes(std::span(*staging.back())));
        };
    }

    std::vector<float> host_floats(const std::vector<sharding::StateSlice>& slices,
                                   device::TensorView sharding::StateSlice::*state) {
        std::vector<float> all;
        for (const sharding::StateSlice& slice : slices) {
            const device::TensorView& values = slice.*state;
            const device::DeviceBuffer wide(*device, static_cast<std::uint64_t>(values.size()) * 4);
            const device::TensorView floats(wide.data(), DType::float32, {values.size()});
            ops::copy(session.context(), values, floats);
            std::vector<float> host(static_cast<std::size_t>(values.size()));
            device->copy_out(host.data(), floats.data(), floats.bytes());
            all.insert(all.end(), host.begin(), host.end());
        }
        return all;
    }
};

/// The same on the CPU in fp32.
struct ReferenceRun : trainer::TestRun {
    explicit ReferenceRun(const Overrides& overrides) : TestRun(on_cpu(overrides)) {}

    [[nodiscard]] std::vector<float> gradients() {
        std::vector<float> all;
        for (const sharding::StateSlice& slice : session.strategy().slices()) {
            const std::span<float> values = slice.gradients.as<float>();
            all.insert(all.end(), values.begin(), values.end());
        }
        return all;
    }

private:
    static Overrides on_cpu(Overrides overrides) {
        overrides.emplace_back("device=cpu");  // else the emulated GPU
        return overrides;
    }
};

/// Frobenius norm of the difference over that of the reference.
inline double relative_error(const std::vector<float>& values,
                             const std::vector<float>& reference) {
    double difference = 0;
    double norm = 0;
    for (std::size_t i = 0; i < std::min(values.size(), reference.size()); ++i) {
        difference +=
            std::pow(static_cast<double>(values[i]) - static_cast<double>(reference[i]), 2);
        norm += std::pow(static_cast<double>(reference[i]), 2);
    }
    return values.size() == reference.size() ? std::sqrt(difference / norm) : HUGE_VAL;
}

}  // namespace isoflop::testing
