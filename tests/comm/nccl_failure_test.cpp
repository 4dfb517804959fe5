// What ends a rank on GPUs: lost ranks, errors of the libraries, libraries that are not there.
#include <gmock/gmock.h>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>

#include "comm/nccl_ranks.hpp"
#include "isoflop/base/error.hpp"

namespace isoflop::comm {
namespace {

using std::chrono::milliseconds;

TEST(NcclFailure, ARankThatHangsEndsTheOthersAfterTheTimeout) {
    std::atomic<bool> detected = false;
    on_ranks(2, milliseconds(200), [&](Communicator& communicator, FakeGpu& gpu) {
        if (communicator.rank() == 1) {
            while (!detected) std::this_thread::sleep_for(milliseconds(5));
            EXPECT_TRUE(failure_of([&] { meet(communicator); }));  // has received the failure
            return;
        }
        std::vector<float> values(8);
        Pending sum = communicator.all_reduce(view(values));
        const auto error = failure_of([&] { sum.wait(); });
        const auto later = failure_of([&] { (void)communicator.all_gather(view(values)); });
        const auto control = failure_of([&] { meet(communicator); });
        detected = true;
        ASSERT_TRUE(error && later && control);
        EXPECT_STREQ(error->what(),
                     "all_reduce number 1 was not done for 0.2 s: another rank is lost or hangs "
                     "(NCCL does not tell which)");
        EXPECT_STREQ(later->what(), error->what());
        EXPECT_STREQ(control->what(), error->what());
        EXPECT_EQ(error->exit_code(), ExitCode::lost_rank);
        EXPECT_TRUE(gpu.aborted());
    });
}

TEST(NcclFailure, AnErrorOfNcclEndsWhatIsUnderWay) {
    on_ranks(2, kLong, [](Communicator& communicator, FakeGpu& gpu) {
        if (communicator.rank() == 1) return;  // its connections are closed
        std::vector<float> values(8);
        Pending sum = communicator.all_reduce(view(values));
        const auto error = failure_of([&] { sum.wait(); });
        ASSERT_TRUE(error);
        EXPECT_STREQ(error->what(), "NCCL: fake remote error");
        EXPECT_TRUE(gpu.aborted());
    });
}

TEST(NcclFailure, ALostRankIsNamedByTheControlPlane) {
    on_ranks(2, kLong, [](Communicator& communicator, FakeGpu& gpu) {
        if (communicator.rank() == 1) return;
        const auto error = failure_of([&] { (void)communicator.gather_values(std::vector{1.0}); });
        ASSERT_TRUE(error);
        EXPECT_EQ(error->rank(), 1);
        std::vector<float> values(8);
        const auto later = failure_of([&] { (void)communicator.all_reduce(view(values)); });
        ASSERT_TRUE(later);
        EXPECT_STREQ(later->what(), error->what());
        EXPECT_TRUE(gpu.aborted());
    });
}

/// What a rank says to an answer of rank 0 that is no NCCL id.
std::string refusal_of(const std::string& answer) {
    auto control = make_local_group(2, kTestTimeoutSeconds);
    MapStore store;
    store.set("nccl/all/unique_id", answer);
    const auto load = []() -> NcclLibraries { throw std::logic_error("the id was taken"); };
    try {
        (void)connect_nccl_with(load, store, std::move(control[1]), {});
    } catch (const IoError& error) {
        return error.what();
    }
    return {};
}

TEST(NcclFailure, AnIdOfAnotherLengthIsRefusedBeforeItIsRead) {
    const NcclUniqueId id;
    const std::string bytes(id.internal.size(), 'x');
    for (const std::string& answer : {std::string(), std::string("+"), std::string("+short"), bytes,
                                      "+" + bytes.substr(1), "+" + bytes + "x", "x" + bytes}) {
        EXPECT_THAT(refusal_of(answer),
                    testing::HasSubstr("the NCCL id that rank 0 gave through the store is damaged"))
            << answer;
    }
    EXPECT_THROW((void)refusal_of("+" + bytes), std::logic_error);
    EXPECT_THROW((void)refusal_of("-no NCCL here"), ConfigError);
}

/// Lets ncclCommInitRank wait for other ranks for ever, as the library does.
class Unconnectable {
public:
    Unconnectable() : ended_(std::make_shared<std::atomic<bool>>(false)) {}
    ~Unconnectable() { *ended_ = true; }
    Unconnectable(const Unconnectable&) = delete;
    Unconnectable& operator=(const Unconnectable&) = delete;

    [[nodiscard]] Fault fault() const {
        return [ended = ended_](FakeGpu&, NcclLibraries& libraries) {
            libraries.nccl.comm_init_rank = [ended](NcclComm*, int, NcclUniqueId, int) {
                while (!*ended) std::this_thread::sleep_for(milliseconds(1));
                return 1;
            };
        };
    }

private:
    std::shared_ptr<std::atomic<bool>> ended_;
};

std::string failure_to_connect(FakeGpu& gpu, const Fault& fault, Store& store,
                               std::unique_ptr<PointToPoint> control, milliseconds timeout) {
    const auto load = [&] {
        NcclLibraries libraries = gpu.libraries();
        if (fault) fault(gpu, libraries);
        return libraries;
    };
    try {
        (void)connect_nccl_with(load, store, std::move(control),
                                {.compute_stream = gpu.compute_stream(), .timeout = timeout});
    } catch (const LostRank& error) {
        return std::to_string(error.rank()) + ": " + error.what();
    }
    return "connected";
}

TEST(NcclFailure, ARankThatIsLostWhileNcclConnectsIsNamedAtOnce) {
    const Unconnectable library;
    auto data = make_local_group(2, kTestTimeoutSeconds);
    auto control = make_local_group(2, kTestTimeoutSeconds);
    MapStore store;
    run_threads(2, [&](int rank) {
        const auto r = static_cast<std::size_t>(rank);
        if (rank == 1) {  // is lost before it calls NCCL
            store.set("nccl/all/gpu/1", "");
            (void)store.get("nccl/all/unique_id");
            control[r].reset();
            return;
        }
        FakeGpu gpu(std::move(data[r]));
        const std::string failure =
            failure_to_connect(gpu, library.fault(), store, std::move(control[r]), kLong);
        EXPECT_TRUE(failure.starts_with("1: rank 1 is gone")) << failure;
    });
}

TEST(NcclFailure, RanksThatNcclDoesNotConnectAllSayTheSame) {
    const Unconnectable library;
    auto data = make_local_group(3, kTestTimeoutSeconds);
    auto control = make_local_group(3, kTestTimeoutSeconds);
    MapStore store;
    run_threads(3, [&](int rank) {
        const auto r = static_cast<std::size_t>(rank);
        FakeGpu gpu(std::move(data[r]));
        EXPECT_EQ(failure_to_connect(gpu, library.fault(), store, std::move(control[r]),
                                     milliseconds(100)),
                  "-1: NCCL did not connect the ranks in 0.1 s (NCCL_DEBUG=INFO prints what it "
                  "does)");
    });
}

TEST(NcclFailure, ARankThatCannotConnectEndsTheOthersWithItsName) {
    const Unconnectable library;
    const Fault broken = [](FakeGpu&, NcclLibraries& libraries) {
        libraries.nccl.comm_init_rank = [](NcclComm*, int, NcclUniqueId, int) { return 2; };
    };
    auto data = make_local_group(2, kTestTimeoutSeconds);
    auto control = make_local_group(2, kTestTimeoutSeconds);
    MapStore store;
    run_threads(2, [&](int rank) {
        const auto r = static_cast<std::size_t>(rank);
        FakeGpu gpu(std::move(data[r]));
        EXPECT_EQ(failure_to_connect(gpu, rank == 1 ? broken : library.fault(), store,
                                     std::move(control[r]), kLong),
                  rank == 1 ? "-1: ncclCommInitRank: fake NCCL error"
                            : "-1: rank 1 could not connect through NCCL");
    });
}

TEST(NcclFailure, AbortEndsWhatIsUnderWay) {
    on_ranks(2, kLong, [](Communicator& communicator, FakeGpu&) {
        if (communicator.rank() == 1) {
            EXPECT_TRUE(failure_of([&] { meet(communicator); }));
            return;
        }
        std::vector<float> values(8);
        Pending sum = communicator.all_reduce(view(values));
        std::thread aborter([&] {
            std::this_thread::sleep_for(milliseconds(30));
            communicator.abort();
        });
        const auto error = failure_of([&] { sum.wait(); });
        aborter.join();
        ASSERT_TRUE(error);
        EXPECT_STREQ(error->what(), "the communication was aborted");
    });
}

TEST(NcclFailure, DestructionWithUnfinishedOperationsAborts) {
    static std::vector<float> values(8);
    on_ranks(2, kLong, [](Communicator& communicator, FakeGpu&) {
        if (communicator.rank() == 0) {
            (void)communicator.all_reduce(view(values));
            return;
        }
        EXPECT_TRUE(failure_of([&] { meet(communicator); }));
    });
}

TEST(NcclFailure, AFailedCallSaysWhich) {
    const Fault broken = [](FakeGpu&, NcclLibraries& libraries) {
        libraries.cuda.event_record = [](CudaEvent, CudaStream) { return 1; };
    };
    on_ranks(
        1, kLong,
        [](Communicator& communicator, FakeGpu&) {
            std::vector<float> values(8);
            const auto error = failure_of([&] { (void)communicator.all_reduce(view(values)); });
            ASSERT_TRUE(error);
            EXPECT_STREQ(error->what(), "cudaEventRecord: fake CUDA error");
        },
        broken);
}

TEST(NcclFailure, AMissingLibraryOfTheFirstRankIsToldToAll) {
    auto control = make_local_group(2, kTestTimeoutSeconds);
    MapStore store;
    run_threads(2, [&](int rank) {
        const auto load = []() -> NcclLibraries { return {load_nccl("libnone.so.2"), {}}; };
        try {
            (void)connect_nccl_with(load, store, std::move(control[static_cast<std::size_t>(rank)]),
                                    {});
            ADD_FAILURE() << "connected";
        } catch (const ConfigError& error) {
            const std::string message = error.what();
            EXPECT_EQ(message.starts_with("rank 0: "), rank == 1) << message;
            EXPECT_NE(message.find("libnone.so.2 was not found"), std::string::npos) << message;
            EXPECT_NE(message.find("libnccl2"), std::string::npos) << message;
        }
    });
}

}  // namespace
}  // namespace isoflop::comm
