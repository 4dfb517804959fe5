// Each strategy over NCCL's interface against the same over messages between threads: the same
// losses, the same collectives, as many bytes as planned, and no collective out of order with the
// computation. NCCL and the GPU are a recording fake.
#include <gtest/gtest.h>

#include "comm/fake_nccl.hpp"
#include "comm/local_ranks.hpp"
#include "comm/nccl_communicator.hpp"
#include "isoflop/comm/threaded_communicator.hpp"
#include "isoflop/cost/communication.hpp"
#include "trainer/session_test_support.hpp"

namespace isoflop::trainer {
namespace {

using comm::CollectiveKind;
using comm::Pending;
using device::TensorView;

/// A collective of the trainer, as it was asked for.
struct Asked {
    CollectiveKind kind;
    std::int64_t elements;
    bool operator==(const Asked&) const = default;
};

void PrintTo(const Asked& asked, std::ostream* out) {
    *out << comm::to_string(asked.kind) << " " << asked.elements;
}

/// Notes what goes through.
class NotingCommunicator final : public comm::Communicator {
public:
    NotingCommunicator(std::unique_ptr<Communicator> inner, std::vector<Asked>& asked)
        : inner_(std::move(inner)), asked_(asked) {}

    [[nodiscard]] int rank() const override { return inner_->rank(); }
    [[nodiscard]] int size() const override { return inner_->size(); }
    Pending all_reduce(const TensorView& tensor) override {
        note(CollectiveKind::all_reduce, tensor.size());
        return inner_->all_reduce(tensor);
    }
    Pending reduce_scatter(const TensorView& tensor) override {
        note(CollectiveKind::reduce_scatter, tensor.size());
        return inner_->reduce_scatter(tensor);
    }
    Pending all_gather(const TensorView& tensor) override {
        note(CollectiveKind::all_gather, tensor.size());
        return inner_->all_gather(tensor);
    }
    std::vector<double> gather_values(std::span<const double> values) override {
        return inner_->gather_values(values);
    }
    void abort() noexcept override { inner_->abort(); }
    [[nodiscard]] comm::CommunicationTotals totals() const override { return inner_->totals(); }

private:
    void note(CollectiveKind kind, std::int64_t elements) { asked_.push_back({kind, elements}); }

    std::unique_ptr<Communicator> inner_;
    std::vector<Asked>& asked_;
};

/// What one rank saw.
struct Outcome {
    std::vector<double> losses;
    std::vector<double> norms;
    std::vector<Asked> asked;
    std::uint64_t bytes_of_iteration = 0;  ///< the second
    std::uint64_t planned_bytes = 0;
};

Outcome train(const Overrides& overrides, std::unique_ptr<comm::PointToPoint> control,
              comm::FakeGpu* gpu) {
    Outcome outcome;
    const int ranks = control->size();
    auto transport = std::make_shared<std::unique_ptr<comm::PointToPoint>>(std::move(control));
    TestRun run(overrides, ranks, [&](sharding::RankGroup, std::span<std::byte> staging) {
        std::unique_ptr<comm::Communicator> inner;
        if (gpu == nullptr) {
            inner = std::make_unique<comm::ThreadedCommunicator>(std::move(*transport), staging);
        } else {
            inner = std::make_unique<comm::NcclCommunicator>(
                gpu->libraries(), comm::NcclOptions{.compute_stream = gpu->compute_stream()},
                comm::FakeGpu::unique_id(), std::move(*transport));
        }
        return std::make_unique<NotingCommunicator>(std::move(inner), outcome.asked);
    });
    const auto sent = [&] { return run.session.communicator()->totals().tensor_bytes_sent(); };
    std::uint64_t before = 0;
    for (std::int64_t iteration = 0; iteration < 2; ++iteration) {
        before = sent();
        const IterationOutcome step = run.iterate(iteration);
        run.session.synchronize();
        comm::meet(*run.session.communicator());  // the threaded one counts what is done
        outcome.losses.push_back(step.loss);
        outcome.norms.push_back(step.grad_norm);
    }
    outcome.bytes_of_iteration = sent() - before;
    outcome.planned_bytes = cost::total_bytes_sent(cost::communication_per_step(
        run.session.plan().layout, run.session.plan().config.execution));
    return outcome;
}

/// What NCCL was given, in the trainer's terms.
std::vector<Asked> given_to_nccl(const comm::FakeGpu& gpu, int ranks) {
    std::vector<Asked> result;
    for (const comm::GpuCall& call : gpu.log.collectives()) {
        const auto count = static_cast<std::int64_t>(call.count);
        EXPECT_EQ(call.dtype, comm::kNcclFloat32);
        if (call.name == "all_reduce")
            result.push_back({CollectiveKind::all_reduce, count});
        else if (call.name == "reduce_scatter")
            result.push_back({CollectiveKind::reduce_scatter, count * ranks});
        else
            result.push_back({CollectiveKind::all_gather, count * ranks});
    }
    return result;
}

struct StrategyCase {
    std::string name;
    Overrides overrides;
    int ranks = 2;
};

void PrintTo(const StrategyCase& strategy, std::ostream* out) {
    *out << strategy.name;
}

class NcclStrategies : public ::testing::TestWithParam<StrategyCase> {
protected:
    [[nodiscard]] static Overrides overrides() {
        Overrides all =
            tiny_run({"arch_preset=llama", "gradient_accumulation_steps=12", "n_layer=3"});
        all.insert(all.end(), GetParam().overrides.begin(), GetParam().overrides.end());
        return all;
    }
};

TEST_P(NcclStrategies, RunAsOverThreadsAndInOrderOnTheGpu) {
    const int ranks = GetParam().ranks;
    auto threads = comm::make_local_group(ranks, comm::kTestTimeoutSeconds);
    auto control = comm::make_local_group(ranks, comm::kTestTimeoutSeconds);
    auto data = comm::make_local_group(ranks, comm::kTestTimeoutSeconds);
    comm::run_threads(ranks, [&](int rank) {
        const auto r = static_cast<std::size_t>(rank);
        const Outcome expected = train(overrides(), std::move(threads[r]), nullptr);
        comm::FakeGpu gpu(std::move(data[r]));
        const Outcome seen = train(overrides(), std::move(control[r]), &gpu);

        EXPECT_EQ(seen.losses, expected.losses);
        EXPECT_EQ(seen.norms, expected.norms);
        EXPECT_FALSE(seen.asked.empty());
        EXPECT_EQ(seen.asked, expected.asked);
        EXPECT_EQ(given_to_nccl(gpu, ranks), seen.asked);
        EXPECT_EQ(seen.bytes_of_iteration, expected.bytes_of_iteration);
        EXPECT_EQ(seen.bytes_of_iteration, seen.planned_bytes);
        EXPECT_EQ(gpu.violations(), std::vector<std::string>());
        EXPECT_EQ(gpu.live_handles, 0);
    });
}

INSTANTIATE_TEST_SUITE_P(
    All, NcclStrategies,
    ::testing::Values(
        StrategyCase{"ddp", {}}, StrategyCase{"ddp_4_ranks", {}, 4},
        StrategyCase{"ddp_small_buckets", {"ddp_bucket_mb=0"}},
        StrategyCase{"zero1", {"use_zero1=true"}},
        StrategyCase{"zero1_4_ranks", {"use_zero1=true"}, 4},
        StrategyCase{"fsdp", {"use_fsdp=true"}}, StrategyCase{"fsdp_3_ranks", {"use_fsdp=true"}, 3},
        StrategyCase{"fsdp_4_ranks", {"use_fsdp=true"}, 4},
        StrategyCase{"fsdp_kept", {"use_fsdp=true", "fsdp_reshard_after_forward=false"}},
        StrategyCase{
            "fsdp_kept_4_ranks", {"use_fsdp=true", "fsdp_reshard_after_forward=false"}, 4}),
    [](const auto& parameter) { return parameter.param.name; });

}  // namespace
}  // namespace isoflop::trainer
