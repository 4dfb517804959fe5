// The store and the handshake, with threads as ranks.
#include "isoflop/comm/store.hpp"

#include <gmock/gmock.h>

#include <thread>

#include "comm/store_ranks.hpp"
#include "comm/store_state.hpp"

namespace isoflop::comm {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::StartsWith;

TEST(Store, ValuesReachEveryRank) {
    const auto results = run_stores(4, 5s, [](Store& store, const LaunchInfo& launch) {
        store.set("from " + std::to_string(launch.rank), std::string(100'000, 'x') + "\0y");
        for (int rank = 0; rank < 4; ++rank) {
            EXPECT_EQ(store.get("from " + std::to_string(rank)), std::string(100'000, 'x') + "\0y");
        }
        EXPECT_GE(store.add("sum", launch.rank + 1), launch.rank + 1);
        EXPECT_EQ(store.local_address(), "127.0.0.1");
        store.set("done " + std::to_string(launch.rank), "");
        for (int rank = 0; launch.rank == 0 && rank < 4; ++rank) {
            static_cast<void>(store.get("done " + std::to_string(rank)));
        }
        if (launch.rank == 0) {
            EXPECT_EQ(store.add("sum", 0), 10);
        }
    });
    EXPECT_THAT(results, Each(""));
}

TEST(Store, OneRankNeedsNoPort) {
    const auto store = open_store({}, 1s);
    store->set("key", "");
    EXPECT_EQ(store->get("key"), "");
}

TEST(Store, WorksOverIpv6AndByName) {
    for (const std::string host : {"::1", "localhost"}) {
        std::string error;
        if (!listen_on(resolve(host, 0).addresses.at(0), 0, error).is_open()) continue;  // no IPv6
        const int port = free_port();
        const auto results = run_ranks(2, [&](int rank) {
            LaunchInfo launch = launch_of(rank, 2, port);
            launch.master_address = host;
            const auto store = open_store(launch, 5s);
            agree(*store, launch, {.version = "1", .config = "a=1\n"});
        });
        EXPECT_THAT(results, Each("")) << host;
    }
}

TEST(Store, RanksMayComeBeforeRankZero) {
    const int port = free_port();
    const auto results = run_ranks(2, [&](int rank) {
        if (rank == 0) std::this_thread::sleep_for(200ms);
        const auto store = open_store(launch_of(rank, 2, port), 5s);
        if (rank == 0) store->set("key", "value");
        EXPECT_EQ(store->get("key"), "value");
        store->set("read " + std::to_string(rank), "");
        if (rank == 0) {
            EXPECT_EQ(store->get("read 1"), "");
        }
    });
    EXPECT_THAT(results, Each(""));
}

TEST(Store, WaitingInVainNamesKeyAndAbsentRank) {
    const int port = free_port();
    const auto results = run_ranks(2, [&](int rank) {
        const auto store = open_store(launch_of(rank, 3, port), 500ms);
        static_cast<void>(store->get("never"));
    });
    EXPECT_THAT(results, Each(AllOf(StartsWith("lost 2:"), HasSubstr("'never'"),
                                    HasSubstr("rank 2 has not connected to 127.0.0.1:"))));
}

TEST(Store, AKilledRankEndsTheWaitingAtOnce) {
    const int port = free_port();
    const auto start = Clock::now();
    const auto results = run_ranks(3, [&](int rank) {
        if (rank == 2) {  // says hello and vanishes
            std::this_thread::sleep_for(100ms);
            const FileDescriptor socket = stranger(port);
            EXPECT_EQ(introduce(socket, launch_of(2, 3, port), "h2").kind, MessageKind::ok);
            return;
        }
        const auto store = open_store(launch_of(rank, 3, port), 30s);
        static_cast<void>(store->get("never"));
    });
    EXPECT_THAT(results[0], StartsWith("lost 2: rank 2 on h2 closed its connection"));
    EXPECT_THAT(results[1], StartsWith("lost 2: rank 2 on h2 closed its connection"));
    EXPECT_LT(Clock::now() - start, 5s);
}

TEST(Store, LosingRankZeroIsNoticedAtOnce) {
    const auto start = Clock::now();
    const auto results = run_stores(2, 30s, [](Store& store, const LaunchInfo& launch) {
        if (launch.rank == 0) {
            static_cast<void>(store.get("here"));
        } else {
            store.set("here", "");
            static_cast<void>(store.get("never"));
        }
    });
    EXPECT_EQ(results[0], "");
    EXPECT_THAT(results[1], AllOf(StartsWith("lost 0: lost rank 0 at 127.0.0.1:"),
                                  HasSubstr("closed the connection")));
    EXPECT_LT(Clock::now() - start, 5s);
}

TEST(Store, BytesOfStrangersDoNoHarm) {
    const int port = free_port();
    const auto results = run_ranks(2, [&](int rank) {
        if (rank == 1) std::this_thread::sleep_for(50ms);  // strangers come before it and after
        const auto store = open_store(launch_of(rank, 2, port), 5s);
        if (rank == 0) {
            const std::string hello =
                encode({.kind = MessageKind::hello, .number = 1, .key = "h", .value = "2"});
            std::string huge = hello;
            huge[16] = '\x7f';
            std::string long_key = hello;
            long_key[18] = '\x0f';  // 4 kB: only ranks may have such keys
            std::string long_value = hello;
            long_value[22] = '\x10';
            for (const std::string& bytes :
                 {std::string("GET / HTTP/1.1\r\n\r\n"), std::string(200'000, '\xff'), huge,
                  long_key, long_value,
                  encode({.kind = MessageKind::get, .number = 9, .key = "key"})}) {
                const FileDescriptor socket = stranger(port);
                static_cast<void>(::send(socket.get(), bytes.data(), bytes.size(), MSG_NOSIGNAL));
                EXPECT_TRUE(is_closed_by_server(socket));
            }
            const FileDescriptor silent = stranger(port);
            const FileDescriptor half = stranger(port);
            send_text(half, hello.substr(0, 11));
            store->set("key", "value");
            EXPECT_EQ(store->get("back"), "value");
        } else {
            store->set("back", store->get("key"));
        }
    });
    EXPECT_THAT(results, Each(""));
}

TEST(Store, PortInUseIsNamed) {
    std::string error;
    const FileDescriptor other = listen_on(resolve("127.0.0.1", 0).addresses.at(0), 0, error);
    const int port = local_end(other).port();
    const auto results =
        run_ranks(1, [&](int) { static_cast<void>(open_store(launch_of(0, 2, port), 1s)); });
    EXPECT_THAT(results[0], AllOf(StartsWith("config: rank 0 cannot listen on port"),
                                  HasSubstr(std::to_string(port)), HasSubstr("in use"),
                                  HasSubstr("MASTER_PORT")));
}

TEST(Store, UnreachableMasterIsALostRank) {
    const int port = free_port();
    const auto results =
        run_ranks(1, [&](int) { static_cast<void>(open_store(launch_of(1, 2, port), 200ms)); });
    EXPECT_THAT(results[0], AllOf(StartsWith("lost 0: rank 1 on "), HasSubstr(std::to_string(port)),
                                  HasSubstr("in 200.0 ms"), HasSubstr("refused")));
}

TEST(Store, AnAddressThatIsNoneIsAConfigError) {
    const auto results = run_ranks(2, [&](int rank) {
        LaunchInfo launch = launch_of(rank, 2, 29500);
        launch.master_address = "no such host";
        static_cast<void>(open_store(launch, 200ms));
    });
    EXPECT_THAT(results, Each(AllOf(StartsWith("config: "), HasSubstr("'no such host'"))));
}

TEST(Store, AnotherProgramOnThePortIsToldApart) {
    std::string error;
    const FileDescriptor listener = listen_on(resolve("127.0.0.1", 0).addresses.at(0), 0, error);
    const int port = local_end(listener).port();
    std::thread program([&] {
        EXPECT_TRUE(wait_for(listener, POLLIN, Clock::now() + 2s));
        const FileDescriptor socket(::accept(listener.get(), nullptr, nullptr));
        send_text(socket, "SSH-2.0-OpenSSH_9.2\r\n");
        static_cast<void>(is_closed_by_server(socket));
    });
    const auto results =
        run_ranks(1, [&](int) { static_cast<void>(open_store(launch_of(1, 2, port), 2s)); });
    program.join();
    EXPECT_THAT(results[0], AllOf(StartsWith("config: what answers at 127.0.0.1:"),
                                  HasSubstr("not the store of this build")));
}

TEST(Store, DifferentWorldSizesAreRefusedOnEveryRank) {
    const int port = free_port();
    const auto results = run_ranks(3, [&](int rank) {
        const LaunchInfo launch = launch_of(rank, rank == 1 ? 3 : 2, port);
        if (rank == 2) return;  // waits below, as the third of what rank 1 believes
        const auto store = open_store(launch, 500ms);
        static_cast<void>(store->get("never"));
    });
    for (const std::size_t rank : {0U, 1U}) {
        EXPECT_THAT(results[rank], AllOf(StartsWith("config: "), HasSubstr("rank 1 on "),
                                         HasSubstr("as one of 3"), HasSubstr("as one of 2")));
    }
}

TEST(Store, ARankThatExistsTwiceIsRefusedOnEveryRank) {
    const int port = free_port();
    const auto results = run_ranks(3, [&](int rank) {
        const auto store = open_store(launch_of(rank == 2 ? 1 : rank, 3, port), 500ms);
        static_cast<void>(store->get("never"));
    });
    EXPECT_THAT(results, Each(AllOf(StartsWith("config: "), HasSubstr("rank 1 exists twice"))));
}

TEST(Store, ARunUnderWayIsNotDisturbedByRanksOfAnother) {
    const int port = free_port();
    const auto results = run_ranks(2, [&](int rank) {
        const auto store = open_store(launch_of(rank, 2, port), 5s);
        store->set("here " + std::to_string(rank), "");
        if (rank == 0) {
            static_cast<void>(store->get("here 1"));
            try {
                static_cast<void>(open_store(launch_of(1, 4, port), 200ms));
                ADD_FAILURE() << "an intruder was let in";
            } catch (const ConfigError& error) {
                EXPECT_THAT(error.what(), HasSubstr("already started; choose another port"));
            }
            store->set("go on", "");
            static_cast<void>(store->get("went on"));
        } else {
            static_cast<void>(store->get("go on"));
            store->set("went on", "");
        }
    });
    EXPECT_THAT(results, Each(""));
}

TEST(Agree, EqualRanksPass) {
    EXPECT_THAT(run_stores(3, 5s,
                           [](Store& store, const LaunchInfo& launch) {
                               agree(store, launch, {.version = "1", .config = "a=1\nb=2\n"});
                           }),
                Each(""));
}

TEST(Agree, DifferentConfigsAreShownWithBothValuesOnEveryRank) {
    const auto results = run_stores(3, 5s, [](Store& store, const LaunchInfo& launch) {
        const bool odd = launch.rank == 2;
        agree(store, launch,
              {.version = "1",
               .config = odd ? "bias=true\nlr=0.02\nseed=1\n" : "lr=0.01\nname=x\nseed=1\n"});
    });
    const std::string host = host_name();
    EXPECT_THAT(
        results,
        Each(AllOf(
            StartsWith("config: the ranks differ"),
            HasSubstr("lr: rank 2 on " + host + " has 0.02, rank 0 on " + host + " has 0.01"),
            HasSubstr("bias: rank 2 on " + host + " has true, rank 0 on " + host + " has not set"),
            HasSubstr("name: "), testing::Not(HasSubstr("seed")),
            testing::Not(HasSubstr("rank 1")))));
}

TEST(Agree, DifferentVersionsAreRefusedOnEveryRank) {
    const auto results = run_stores(2, 5s, [](Store& store, const LaunchInfo& launch) {
        agree(store, launch,
              {.version = launch.rank == 0 ? "0.1 (abc)" : "0.1 (def)", .config = ""});
    });
    EXPECT_THAT(results, Each(AllOf(StartsWith("config: "), HasSubstr("runs 0.1 (abc)"),
                                    HasSubstr("runs 0.1 (def)"))));
}

TEST(Agree, ARankThatNeverComesIsNamedOnEveryRank) {
    const int port = free_port();
    const auto results = run_ranks(2, [&](int rank) {
        const LaunchInfo launch = launch_of(rank, 3, port);
        const auto store = open_store(launch, 500ms);
        agree(*store, launch, {.version = "1", .config = ""});
    });
    EXPECT_THAT(results, Each(StartsWith("lost 2: ")));
}

TEST(StoreMessage, SurvivesAnyCutAndRefusesTooMuch) {
    const StoreMessage message{
        .kind = MessageKind::add, .number = -5, .key = "key", .value = std::string("v\0w", 3)};
    const std::string bytes = encode(message);
    for (std::size_t cut = 0; cut < bytes.size(); ++cut) {
        std::string part = bytes.substr(0, cut);
        EXPECT_FALSE(take_message(part).has_value());
    }
    std::string two = bytes + bytes;
    const auto taken = take_message(two);
    ASSERT_TRUE(taken.has_value());
    EXPECT_EQ(taken->kind, message.kind);
    EXPECT_EQ(taken->number, -5);
    EXPECT_EQ(taken->key, "key");
    EXPECT_EQ(taken->value, message.value);
    EXPECT_EQ(two, bytes);
    EXPECT_THROW(static_cast<void>(take_message(two, {.value = 2})), BadMessage);
    EXPECT_THROW(static_cast<void>(take_message(two, {.key = 2})), BadMessage);
    std::string wrong = "IFS1";
    EXPECT_THROW(static_cast<void>(take_message(wrong)), BadMessage);
}

}  // namespace
}  // namespace isoflop::comm
