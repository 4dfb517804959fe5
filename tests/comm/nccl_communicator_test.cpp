// Collectives through NCCL's interface, with a recording fake in place of NCCL and the GPU.
#include "comm/nccl_communicator.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <stdexcept>

#include "comm/nccl_ranks.hpp"
#include "isoflop/base/error.hpp"
#include "isoflop/comm/threaded_communicator.hpp"

namespace isoflop::comm {
namespace {

using std::chrono::milliseconds;

TEST(NcclCommunicator, GivesTheResultsOfEachCollective) {
    on_ranks(4, kLong, [](Communicator& communicator, FakeGpu& gpu) {
        const auto rank = static_cast<std::size_t>(communicator.rank());
        std::vector<float> values(8, static_cast<float>(rank + 1));
        communicator.all_reduce(view(values)).wait();
        EXPECT_EQ(values, std::vector<float>(8, 10.0F));

        std::iota(values.begin(), values.end(), 0.0F);
        communicator.reduce_scatter(view(values)).wait();
        EXPECT_EQ(values[2 * rank + 1], 4.0F * static_cast<float>(2 * rank + 1));

        std::fill(values.begin(), values.end(), static_cast<float>(rank));
        communicator.all_gather(view(values)).wait();
        EXPECT_EQ(values, (std::vector<float>{0, 0, 1, 1, 2, 2, 3, 3}));

        const double mine[] = {1.0 * communicator.rank()};
        EXPECT_EQ(communicator.gather_values(mine), (std::vector<double>{0, 1, 2, 3}));
        EXPECT_EQ(gpu.violations(), std::vector<std::string>());
    });
}

TEST(NcclCommunicator, GivesNcclCountsAndTypes) {
    on_ranks(2, kLong, [](Communicator& communicator, FakeGpu& gpu) {
        std::vector<double> memory(8);
        const auto tensor = [&](DType dtype) { return TensorView(memory.data(), dtype, {8}); };
        communicator.all_reduce(tensor(DType::float64)).wait();
        communicator.reduce_scatter(tensor(DType::bfloat16)).wait();
        communicator.all_gather(tensor(DType::float16)).wait();
        communicator.all_gather(tensor(DType::int8)).wait();
        using Seen = std::tuple<std::string, std::size_t, int>;
        std::vector<Seen> seen;
        for (const GpuCall& call : gpu.log.collectives())
            seen.emplace_back(call.name, call.count, call.dtype);
        EXPECT_EQ(seen, (std::vector<Seen>{{"all_reduce", 8, kNcclFloat64},
                                           {"reduce_scatter", 4, kNcclBfloat16},
                                           {"all_gather", 4, kNcclFloat16},
                                           {"all_gather", 4, kNcclInt8}}));
        EXPECT_EQ(gpu.violations(), std::vector<std::string>());
    });
}

TEST(NcclCommunicator, CountsAsTheThreadedOneDoes) {
    for (const int size : {1, 2, 3, 4}) {
        auto group = make_local_group(size, kTestTimeoutSeconds);
        on_ranks(size, kLong, [&](Communicator& over_nccl, FakeGpu&) {
            Staging staging(1 << 12);
            ThreadedCommunicator threaded(
                std::move(group[static_cast<std::size_t>(over_nccl.rank())]), staging.span());
            std::vector<float> values(24);
            for (Communicator* each : {&over_nccl, static_cast<Communicator*>(&threaded)}) {
                each->all_reduce(view(values)).wait();
                each->reduce_scatter(view(values)).wait();
                each->all_gather(view(values)).wait();
                (void)each->gather_values(std::vector<double>(3));
            }
            EXPECT_EQ(over_nccl.totals().bytes_sent, threaded.totals().bytes_sent);
            EXPECT_EQ(over_nccl.totals().calls, threaded.totals().calls);
        });
    }
}

TEST(NcclCommunicator, WaitingAgainAddsNoWaitToTheComputation) {
    on_ranks(2, kLong, [](Communicator& communicator, FakeGpu& gpu) {
        std::vector<float> values(8);
        Pending sum = communicator.all_reduce(view(values));
        Pending copy = sum;
        sum.wait();
        sum.wait();
        copy.wait();
        EXPECT_TRUE(sum.done());
        EXPECT_EQ(gpu.violations(), std::vector<std::string>());
    });
}

TEST(NcclCommunicator, APendingMayOutliveIt) {
    std::vector<Pending> pending(2);
    std::vector<std::vector<float>> values(2, std::vector<float>(8));
    auto data = make_local_group(2, kTestTimeoutSeconds);
    auto control = make_local_group(2, kTestTimeoutSeconds);
    std::list<FakeGpu> gpus;
    for (auto& transport : data) gpus.emplace_back(std::move(transport));
    run_threads(2, [&](int rank) {
        const auto r = static_cast<std::size_t>(rank);
        FakeGpu& gpu = *std::next(gpus.begin(), rank);
        NcclCommunicator communicator(gpu.libraries(), {.compute_stream = gpu.compute_stream()},
                                      FakeGpu::unique_id(), std::move(control[r]));
        pending[r] = communicator.all_reduce(view(values[r]));
        while (!pending[r].done()) std::this_thread::sleep_for(milliseconds(1));
    });
    for (Pending& each : pending) each.wait();
    pending.clear();
    for (const FakeGpu& gpu : gpus) EXPECT_EQ(gpu.live_handles, 0);
}

/// The recorder is worth something: each way to lose the order is found.
struct FaultCase {
    std::string name;
    Fault fault;
    std::string found;
};

void PrintTo(const FaultCase& fault, std::ostream* out) {
    *out << fault.name;
}

Fault without_waits_of(bool computation) {
    return [computation](FakeGpu& gpu, NcclLibraries& libraries) {
        auto& wait = libraries.cuda.stream_wait_event;
        wait = [whole = wait, compute = gpu.compute_stream(), computation](
                   CudaStream stream, CudaEvent event, unsigned flags) {
            if ((stream == compute) == computation) return kCudaSuccess;
            return whole(stream, event, flags);
        };
    };
}

const std::vector<FaultCase>& faults() {
    static const std::vector<FaultCase> cases = {
        {"CollectivesDoNotWait", without_waits_of(false), "does not wait for the computation"},
        {"ComputationDoesNotWait", without_waits_of(true), "the computation waits 0 times"},
        {"NoEventsAreRecorded",
         [](FakeGpu&, NcclLibraries& libraries) {
             libraries.cuda.event_record = [](CudaEvent, CudaStream) { return kCudaSuccess; };
         },
         "never recorded"},
        {"EventsOfTheWrongStream",
         [](FakeGpu& gpu, NcclLibraries& libraries) {
             auto& record = libraries.cuda.event_record;
             record = [whole = record, compute = gpu.compute_stream()](
                          CudaEvent event, CudaStream) { return whole(event, compute); };
         },
         "has no event behind it"}};
    return cases;
}

class NcclFaults : public ::testing::TestWithParam<FaultCase> {};

TEST_P(NcclFaults, AreFoundByTheRecorder) {
    std::vector<float> values[2] = {std::vector<float>(8), std::vector<float>(8)};
    on_ranks(
        2, kLong,
        [&](Communicator& communicator, FakeGpu& gpu) {
            for (int round = 0; round < 2; ++round) {
                Pending gather = communicator.all_gather(view(values[communicator.rank()]));
                gather.wait();
                while (!gather.done()) std::this_thread::sleep_for(milliseconds(1));
            }
            meet(communicator);
            const std::vector<std::string> found = gpu.violations();
            EXPECT_TRUE(std::any_of(found.begin(), found.end(), [](const std::string& each) {
                return each.find(GetParam().found) != std::string::npos;
            })) << ::testing::PrintToString(found);
        },
        GetParam().fault);
}

INSTANTIATE_TEST_SUITE_P(Planted, NcclFaults, ::testing::ValuesIn(faults()),
                         [](const auto& parameter) { return parameter.param.name; });

TEST(NcclCommunicator, RefusesTensorsThatDoNotFit) {
    on_ranks(2, kLong, [](Communicator& communicator, FakeGpu& gpu) {
        std::vector<float> odd(7);
        EXPECT_THROW((void)communicator.all_reduce(view(odd)), std::invalid_argument);
        EXPECT_THROW((void)communicator.all_gather(view(odd)), std::invalid_argument);
        EXPECT_THROW((void)communicator.reduce_scatter({odd.data(), DType::int8, {4}}),
                     std::invalid_argument);
        meet(communicator);
        EXPECT_TRUE(gpu.log.collectives().empty());
    });
}

TEST(NcclConnection, RealLibrariesLoadWhereTheyAreInstalled) {
    NcclLibraries libraries;
    try {
        const int major = device::can_load("libcudart.so.13") ? 13 : 12;
        libraries = {load_nccl(), load_cuda_runtime(major)};
    } catch (const ConfigError& error) {
        GTEST_SKIP() << error.what();
    }
    int version = 0;
    EXPECT_EQ(libraries.nccl.get_version(&version), kNcclSuccess);
    EXPECT_GE(version, 20000) << nccl_version_text(version);
    EXPECT_STREQ(libraries.nccl.get_error_string(kNcclSuccess), "no error");
    EXPECT_STREQ(libraries.cuda.get_error_string(kCudaErrorNotReady), "device not ready");
}

TEST(NcclConnection, TakesNoRuntimeOfAnotherMajorVersion) {
    try {
        (void)load_cuda_runtime(11, [](const std::string& name) { return name.ends_with(".13"); });
        FAIL() << "loaded";
    } catch (const ConfigError& error) {
        EXPECT_THAT(error.what(),
                    testing::HasSubstr("libcudart.so.11 was not found; libcudart.so.13 is there, "
                                       "but this program was built with CUDA 11"));
    }
}

TEST(NcclConnection, TwoRanksOnOneGpuAreRefusedOnBoth) {
    auto data = make_local_group(2, kTestTimeoutSeconds);
    auto control = make_local_group(2, kTestTimeoutSeconds);
    MapStore store;
    run_threads(2, [&](int rank) {
        const auto r = static_cast<std::size_t>(rank);
        FakeGpu gpu(std::move(data[r]));
        try {
            (void)connect_nccl_with([&] { return gpu.libraries(); }, store, std::move(control[r]),
                                    {.gpu = "GPU-12ab", .compute_stream = gpu.compute_stream()});
            ADD_FAILURE() << "rank " << rank << " connected";
        } catch (const ConfigError& error) {
            EXPECT_THAT(error.what(), testing::HasSubstr("ranks 0 and 1 of the group all both use "
                                                         "GPU-12ab"));
        }
    });
}

TEST(NcclConnection, VersionsReadAsNvidiaWritesThem) {
    EXPECT_EQ(nccl_version_text(22809), "2.28.9");
}

}  // namespace
}  // namespace isoflop::comm
