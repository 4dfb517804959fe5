// Strangers on the port of the store, and two jobs on one port.
#include <gmock/gmock.h>
#include <sys/resource.h>

#include <future>

#include "comm/hmac.hpp"
#include "comm/store_ranks.hpp"
#include "comm/store_state.hpp"

namespace isoflop::comm {
namespace {

using testing::AllOf;
using testing::Each;
using testing::HasSubstr;
using testing::Not;
using testing::StartsWith;

constexpr const char* kToken = "a secret that only the ranks of one job know";

LaunchInfo with_token(LaunchInfo launch, const std::string& token = kToken) {
    launch.job_token = token;
    return launch;
}

/// A run of two ranks with a token, during which `attack` acts: before rank 1 comes, and again when
/// both are there.
std::vector<std::string> run_under_attack(const std::function<void(int port)>& attack) {
    const int port = free_port();
    std::promise<void> attacked;
    return run_ranks(2, [&](int rank) {
        if (rank == 1) attacked.get_future().wait();
        std::unique_ptr<Store> store;
        if (rank == 0) {
            store = open_store(with_token(launch_of(0, 2, port)), 20s);
            attack(port);
            attacked.set_value();
        } else {
            store = open_store(with_token(launch_of(1, 2, port)), 20s);
        }
        if (rank == 0) {
            EXPECT_EQ(store->get("here"), "rank 1");
            attack(port);
            store->set("go on", "");
            EXPECT_EQ(store->get("went on"), "");
        } else {
            store->set("here", "rank 1");
            EXPECT_EQ(store->get("go on"), "");
            store->set("went on", "");
        }
    });
}

TEST(StoreAttack, AWellFormedHelloWithoutTheTokenChangesNothing) {
    EXPECT_THAT(run_under_attack([](int port) {
                    for (const LaunchInfo& claim :
                         {launch_of(1, 2, port), launch_of(0, 2, port), launch_of(1, 3, port),
                          with_token(launch_of(1, 2, port), "another secret of another job")}) {
                        const FileDescriptor socket = stranger(port);
                        EXPECT_EQ(introduce(socket, claim, "h").kind, MessageKind::bye);
                    }
                }),
                Each(""));
}

TEST(StoreAttack, RequestsBeforeTheProofAreNotAnswered) {
    EXPECT_THAT(run_under_attack([](int port) {
                    for (const StoreMessage& request :
                         {StoreMessage{.kind = MessageKind::get, .key = "agree/config"},
                          StoreMessage{.kind = MessageKind::set, .key = "here", .value = "me"},
                          StoreMessage{.kind = MessageKind::lost_rank, .number = 1},
                          StoreMessage{.kind = MessageKind::proof, .value = "?"}}) {
                        const FileDescriptor first = stranger(port);
                        send_text(first, encode(request));
                        EXPECT_TRUE(is_closed_by_server(first));
                        const FileDescriptor second = stranger(port);
                        const StoreMessage hello{.kind = MessageKind::hello,
                                                 .number = 1,
                                                 .key = "h",
                                                 .value = "2 " + make_nonce()};
                        send_text(second, encode(hello) + encode(request));
                        std::string in;
                        StoreMessage answer = next_message(second, in);
                        if (answer.kind == MessageKind::challenge)
                            answer = next_message(second, in);
                        EXPECT_EQ(answer.kind, MessageKind::bye) << "and no answer";
                    }
                }),
                Each(""));
}

TEST(StoreAttack, ARecordedConversationIsWorthNothing) {
    const int port = free_port();
    const LaunchInfo rank_1 = with_token(launch_of(1, 2, port));
    const auto results = run_ranks(1, [&](int) {
        const auto store = open_store(with_token(launch_of(0, 2, port)), 20s);
        const StoreMessage hello{
            .kind = MessageKind::hello, .number = 1, .key = "h", .value = "2 " + make_nonce()};
        std::string recorded_proof;
        for (int attempt = 0; attempt < 2; ++attempt) {
            const FileDescriptor socket = stranger(port);
            send_text(socket, encode(hello));
            std::string in;
            const StoreMessage challenge = next_message(socket, in);
            ASSERT_EQ(challenge.kind, MessageKind::challenge);
            if (attempt == 0) {
                recorded_proof = proof_of_client(JobKey::of(rank_1), hello,
                                                 challenge.value.substr(0, kNonceDigits));
            }
            send_text(socket, encode({.kind = MessageKind::proof, .value = recorded_proof}));
            EXPECT_EQ(next_message(socket, in).kind,
                      attempt == 0 ? MessageKind::ok : MessageKind::bye);
        }
    });
    EXPECT_THAT(results, Each(""));
}

TEST(StoreAttack, AThousandIdleConnectionsKeepNoRankOut) {
    rlimit limit{};
    ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_max < 2048) GTEST_SKIP() << "this machine allows too few open files";
    limit.rlim_cur = limit.rlim_max;
    ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &limit), 0);
    std::vector<FileDescriptor> idle;
    EXPECT_THAT(run_under_attack([&](int port) {
                    for (int count = 0; count < 500; ++count) {
                        idle.push_back(stranger(port));
                        // Some begin a hello, and some say it and wait.
                        if (count % 3 == 1) send_text(idle.back(), "IFS2");
                        if (count % 3 == 2) {
                            send_text(idle.back(), encode({.kind = MessageKind::hello,
                                                           .number = 1,
                                                           .key = "h",
                                                           .value = "2 " + make_nonce()}));
                        }
                    }
                }),
                Each(""));
    EXPECT_EQ(idle.size(), 1000U);
}

TEST(StoreAttack, TwoJobsOnOnePortDoNotMeet) {
    const std::string other_token = "the secret of the other job";
    const auto results = run_under_attack([&](int port) {
        const auto other = run_ranks(1, [&](int) {
            static_cast<void>(open_store(with_token(launch_of(1, 2, port), other_token), 300ms));
        });
        EXPECT_THAT(
            other, Each(AllOf(StartsWith("config: 127.0.0.1:"), HasSubstr("belongs to another job"),
                              HasSubstr("ISOFLOP_JOB_TOKEN"), HasSubstr("MASTER_PORT"),
                              Not(HasSubstr(other_token)), Not(HasSubstr(kToken)))));
    });
    EXPECT_THAT(results, Each(""));
}

TEST(StoreAttack, JobsWithoutATokenAreToldApartByTheirNames) {
    const int port = free_port();
    const auto named = [&](int rank, const std::string& name) {
        LaunchInfo launch = launch_of(rank, 2, port);
        launch.job_name = name;
        return launch;
    };
    const auto results = run_ranks(2, [&](int rank) {
        if (rank == 1) {
            const auto other = run_ranks(
                1, [&](int) { static_cast<void>(open_store(named(1, "1234.1"), 300ms)); });
            EXPECT_THAT(other, Each(StartsWith("config: ")));
        }
        const auto store = open_store(named(rank, "1234.0"), 20s);
        if (rank == 1) store->set("here", "");
        EXPECT_EQ(store->get("here"), "");
        store->set("read " + std::to_string(rank), "");
        if (rank == 0) {  // the server is here until then
            EXPECT_EQ(store->get("read 1"), "");
        }
    });
    EXPECT_THAT(results, Each(""));
}

TEST(StoreAttack, ARankThatLeavesBeforeTheOthersHaveComeMayComeAgain) {
    const int port = free_port();
    std::promise<void> left;
    std::shared_future<void> has_left(left.get_future());
    const auto results = run_ranks(3, [&](int rank) {
        if (rank > 0) has_left.wait();
        const auto store = open_store(with_token(launch_of(rank, 3, port)), 20s);
        for (int time = 0; rank == 0 && time < 3; ++time) {
            const FileDescriptor socket = stranger(port);
            EXPECT_EQ(introduce(socket, with_token(launch_of(2, 3, port)), "h").kind,
                      MessageKind::ok);
        }
        if (rank == 0) left.set_value();
        store->set("here " + std::to_string(rank), "");
        for (int other = 0; other < 3; ++other) {
            EXPECT_EQ(store->get("here " + std::to_string(other)), "");
        }
        store->set("read " + std::to_string(rank), "");
        for (int other = 0; rank == 0 && other < 3; ++other) {
            EXPECT_EQ(store->get("read " + std::to_string(other)), "");
        }
    });
    EXPECT_THAT(results, Each(""));
}

TEST(StoreAttack, AServerThatDoesNotKnowTheTokenLearnsNothing) {
    std::string error;
    const FileDescriptor listener = listen_on(resolve("127.0.0.1", 0).addresses.at(0), 0, error);
    const int port = local_end(listener).port();
    std::string received;
    std::thread server([&] {
        if (!wait_for(listener, POLLIN, Clock::now() + 2s)) return;
        const FileDescriptor socket(::accept(listener.get(), nullptr, nullptr));
        const StoreMessage hello = next_message(socket, received);
        const std::string nonce = make_nonce();
        send_text(socket,
                  encode({.kind = MessageKind::challenge,
                          .value = nonce + proof_of_server(JobKey("guess"), hello, nonce)}));
        EXPECT_EQ(next_message(socket, received).kind, MessageKind::bye) << "the client leaves";
    });
    const auto results = run_ranks(
        1, [&](int) { static_cast<void>(open_store(with_token(launch_of(1, 2, port)), 500ms)); });
    server.join();
    EXPECT_THAT(results[0], AllOf(StartsWith("config: "), HasSubstr("belongs to another job")));
    EXPECT_THAT(received, Not(HasSubstr(kToken)));
}

TEST(StoreAttack, ListensOnTheAddressThatIsUsedAndOnNoOther) {
    const std::vector<SocketAddress> own = own_addresses();
    if (own.empty()) GTEST_SKIP() << "this machine has no network";
    const int port = free_port();
    const std::string address = own.front().host();
    const auto results = run_ranks(2, [&](int rank) {
        LaunchInfo launch = with_token(launch_of(rank, 2, port));
        launch.master_address = address;
        launch.local_world_size = 1;
        const auto store = open_store(launch, 20s);
        store->set("here " + std::to_string(rank), "");
        EXPECT_EQ(store->get("here " + std::to_string(1 - rank)), "");
        if (rank == 0) {
            std::string error;
            EXPECT_FALSE(
                connect_to(resolve("127.0.0.1", port).addresses.at(0), Clock::now() + 1s, error)
                    .is_open());
            store->set("done", "");
        } else {
            EXPECT_EQ(store->get("done"), "");
        }
    });
    EXPECT_THAT(results, Each(""));
}

TEST(StoreState, ValuesAndCountersAreLimited) {
    StoreState state(1, "here");
    constexpr int kMany = 1 << 18;
    for (int count = 0; count < kMany; ++count) {
        const std::string key = std::to_string(count);
        ASSERT_EQ(state.answer({.kind = MessageKind::set, .key = key, .value = "x"})->kind,
                  MessageKind::ok);
        ASSERT_EQ(state.answer({.kind = MessageKind::add, .number = 1, .key = key})->kind,
                  MessageKind::ok);
    }
    EXPECT_EQ(state.answer({.kind = MessageKind::set, .key = "more"})->kind,
              MessageKind::config_error);
    EXPECT_EQ(state.answer({.kind = MessageKind::add, .key = "more"})->kind,
              MessageKind::config_error);
    EXPECT_EQ(state.answer({.kind = MessageKind::set, .key = "0", .value = "y"})->kind,
              MessageKind::ok)
        << "a value may change";
    EXPECT_FALSE(state.failure()) << "the run goes on";
}

TEST(StoreState, BytesAreLimited) {
    StoreState state(1, "here");
    const std::string large(kLargestValue, 'x');
    int stored = 0;
    while (stored < 32 &&
           state.answer({.kind = MessageKind::set, .key = std::to_string(stored), .value = large})
                   ->kind == MessageKind::ok) {
        ++stored;
    }
    EXPECT_EQ(stored, 15);
}

}  // namespace
}  // namespace isoflop::comm
