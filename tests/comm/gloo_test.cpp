// Gloo over loopback: ranks as threads, and as processes of which one is killed.
#include "isoflop/comm/gloo_transport.hpp"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <numeric>
#include <optional>
#include <sstream>
#include <string>

#include "comm/local_ranks.hpp"
#include "comm/socket.hpp"
#include "isoflop/comm/threaded_communicator.hpp"

namespace isoflop::comm {
namespace {

using std::chrono::milliseconds;
namespace fs = std::filesystem;

double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
}

/// Keys are files: enough for threads and for processes.
class FileStore final : public Store {
public:
    explicit FileStore(fs::path folder) : folder_(std::move(folder)) {}

    void set(std::string_view key, std::string_view value) override {
        const fs::path unfinished = file_of(std::string(key) + ".unfinished");
        std::ofstream(unfinished, std::ios::binary) << value;
        fs::rename(unfinished, file_of(key));
    }
    std::string get(std::string_view key) override {
        const Clock::time_point start = Clock::now();
        while (!fs::exists(file_of(key))) {
            if (seconds_since(start) > kTestTimeoutSeconds)
                throw LostRank(-1, "no key " + std::string(key));
            std::this_thread::sleep_for(milliseconds(1));
        }
        std::ifstream file(file_of(key), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
    }
    std::int64_t add(std::string_view, std::int64_t) override {
        throw std::logic_error("not needed");
    }

private:
    [[nodiscard]] fs::path file_of(std::string_view key) const {
        std::string name(key);
        std::replace(name.begin(), name.end(), '/', '_');
        return folder_ / name;
    }

    fs::path folder_;
};

class Gloo : public ::testing::Test {
protected:
    void SetUp() override {
        if (!has_gloo()) GTEST_SKIP() << "built without Gloo";
        std::string name = (fs::temp_directory_path() / "isoflop_gloo_XXXXXX").string();
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override {
        if (!folder_.empty()) fs::remove_all(folder_);
    }

    [[nodiscard]] std::unique_ptr<PointToPoint> connect(int rank, int size,
                                                        milliseconds timeout) const {
        const fs::path folder = folder_ / std::to_string(size);
        fs::create_directories(folder);
        FileStore store(folder);
        return connect_gloo(store, launch(rank, size), timeout);
    }
    static LaunchInfo launch(int rank, int size) {
        return {.rank = rank, .world_size = size, .master_address = "127.0.0.1"};
    }

    /// Runs body(communicator) on every rank.
    template <class Body>
    void on_ranks(int size, milliseconds timeout, const Body& body) const {
        run_threads(size, [&](int rank) {
            Staging staging(1 << 16);
            ThreadedCommunicator communicator(connect(rank, size, timeout), staging.span());
            body(communicator);
        });
    }

    fs::path folder_;
};

constexpr milliseconds kLong{20'000};

TensorView view(std::vector<float>& values) {
    return TensorView::of(std::span(values), {static_cast<std::int64_t>(values.size())});
}

std::optional<LostRank> failure_of(Pending pending) {
    try {
        pending.wait();
    } catch (const LostRank& error) {
        return error;
    }
    return std::nullopt;
}

TEST(GlooBuild, WithoutGlooSaysWhatToInstall) {
    if (has_gloo()) GTEST_SKIP() << "built with Gloo";
    FileStore store(".");
    try {
        (void)connect_gloo(store, {}, kLong);
        FAIL();
    } catch (const ConfigError& error) {
        EXPECT_NE(std::string(error.what()).find("libgloo-dev"), std::string::npos);
    }
}

TEST_F(Gloo, CollectivesWorkOnTwoToFourRanks) {
    for (const int size : {2, 3, 4}) {
        on_ranks(size, kLong, [](Communicator& communicator) {
            const auto n = static_cast<std::size_t>(communicator.size());
            std::vector<float> values(n * 70'001);
            std::iota(values.begin(), values.end(), 0.0F);
            communicator.all_reduce(view(values)).wait();
            for (std::size_t i = 0; i < values.size(); ++i)
                ASSERT_EQ(values[i], static_cast<float>(n) * static_cast<float>(i));
            EXPECT_EQ(communicator.totals().bytes_sent.at(0), 2 * (n - 1) * 70'001 * 4);

            for (int round = 0; round < 10; ++round) meet(communicator);
            const double mine[] = {0.5 * communicator.rank()};
            EXPECT_EQ(communicator.gather_values(mine).back(), 0.5 * (communicator.size() - 1));
        });
    }
}

/// Ports on which this process listens.
std::vector<int> listening_ports() {
    std::vector<std::string> own;
    for (const auto& entry : fs::directory_iterator("/proc/self/fd")) {
        std::error_code closed;
        own.push_back(fs::read_symlink(entry.path(), closed).string());
    }
    std::vector<int> ports;
    for (const char* table : {"/proc/self/net/tcp", "/proc/self/net/tcp6"}) {
        std::ifstream file(table);
        std::string line;
        std::getline(file, line);
        while (std::getline(file, line)) {
            std::istringstream fields(line);
            std::string slot, local, remote, state, skip, inode;
            fields >> slot >> local >> remote >> state;
            for (int i = 0; i < 5; ++i) fields >> skip;
            fields >> inode;
            const bool ours =
                std::find(own.begin(), own.end(), "socket:[" + inode + "]") != own.end();
            if (state == "0A" && ours)
                ports.push_back(std::stoi(local.substr(local.rfind(':') + 1), nullptr, 16));
        }
    }
    return ports;
}

/// A store that shows the first addresses of a rank only after a stranger has connected to them.
class AttackedStore final : public Store {
public:
    AttackedStore(const fs::path& folder, std::string garbage)
        : store_(folder), garbage_(std::move(garbage)) {}
    void set(std::string_view key, std::string_view value) override {
        // Before the ranks read each other's addresses; the problems come after that.
        const bool address = key.find("/0/") != std::string_view::npos &&
                             key.find("problem") == std::string_view::npos;
        if (address) attack();
        store_.set(key, value);
    }
    std::string get(std::string_view key) override { return store_.get(key); }
    std::int64_t add(std::string_view key, std::int64_t amount) override {
        return store_.add(key, amount);
    }
    [[nodiscard]] std::size_t attacks() const { return strangers_.size(); }

private:
    void attack() {
        for (const int port : listening_ports()) {
            std::string error;
            strangers_.push_back(connect_to(resolve("127.0.0.1", port).addresses.at(0),
                                            Clock::now() + milliseconds(1000), error));
            if (garbage_.empty() || !strangers_.back().is_open()) continue;
            (void)!::write(strangers_.back().get(), garbage_.data(), garbage_.size());
        }
    }

    FileStore store_;
    std::string garbage_;
    std::vector<FileDescriptor> strangers_;
};

TEST_F(Gloo, AStrangerInThePlaceOfARankIsNoticedBeforeThePairIsUsed) {
    const std::vector<std::string> words{"", "GET / HTTP/1.1\r\n\r\n", std::string(4096, '\xff'),
                                         std::string(4096, '\0')};
    for (std::size_t attack = 0; attack < words.size(); ++attack) {
        const fs::path folder = folder_ / std::to_string(attack);
        fs::create_directories(folder);
        run_threads(2, [&](int rank) {
            AttackedStore store(folder, words[attack]);
            Staging staging(1 << 10);
            ThreadedCommunicator communicator(
                connect_gloo(store, launch(rank, 2), milliseconds(2000)), staging.span());
            EXPECT_GT(store.attacks(), 0U);
            const double mine[] = {1.0 * rank};
            EXPECT_EQ(communicator.gather_values(mine), (std::vector<double>{0, 1}));
        });
    }
}

/// A store in which one rank finds another key of the group.
class OtherKeyStore final : public Store {
public:
    OtherKeyStore(const fs::path& folder, bool differs) : store_(folder), differs_(differs) {}
    void set(std::string_view key, std::string_view value) override { store_.set(key, value); }
    std::string get(std::string_view key) override {
        const std::string value = store_.get(key);
        return differs_ && key.ends_with("/key") ? "another" : value;
    }
    std::int64_t add(std::string_view key, std::int64_t amount) override {
        return store_.add(key, amount);
    }

private:
    FileStore store_;
    bool differs_;
};

TEST_F(Gloo, WhoCannotProveToBeARankIsNotUsedAndNoRankIsBlamed) {
    run_threads(2, [&](int rank) {
        OtherKeyStore store(folder_, rank == 1);
        try {
            (void)connect_gloo(store, launch(rank, 2), milliseconds(2000));
            ADD_FAILURE() << "connected";
        } catch (const LostRank& error) {
            EXPECT_EQ(error.rank(), -1);
            const std::string message = error.what();
            EXPECT_NE(message.find("no proof that rank 1 on "), std::string::npos) << message;
            EXPECT_NE(message.find("no proof that rank 0 on "), std::string::npos) << message;
            EXPECT_NE(message.find("a program that is no rank of this run"), std::string::npos);
        }
    });
}

TEST_F(Gloo, ASubsetOfRanksIsAGroupOfItsOwn) {
    run_threads(3, [&](int rank) {
        if (rank == 1) return;
        FileStore store(folder_);
        Staging staging(1 << 10);
        ThreadedCommunicator pair(connect_gloo_group(store, launch(rank, 3), "pair", {0, 2}, kLong),
                                  staging.span());
        EXPECT_EQ(pair.rank(), rank / 2);
        const double mine[] = {1.0 * rank};
        EXPECT_EQ(pair.gather_values(mine), (std::vector<double>{0, 2}));
        ThreadedCommunicator alone(
            connect_gloo_group(store, launch(rank, 3), "alone", {rank}, kLong), {});
        EXPECT_EQ(alone.gather_values(mine), std::vector<double>{mine[0]});
    });
}

TEST_F(Gloo, RanksThatLeaveDoNotDisturbOthers) {
    run_threads(4, [&](int rank) {
        const auto transport = connect(rank, 4, kLong);
        if (rank >= 2) return;
        for (int round = 0; round < 40; ++round) {
            int theirs = -1;
            const Outgoing out{1 - rank, std::as_bytes(std::span(&round, 1))};
            const Incoming in{1 - rank, std::as_writable_bytes(std::span(&theirs, 1))};
            transport->exchange({&out, 1}, {&in, 1});
            ASSERT_EQ(theirs, round);
            std::this_thread::sleep_for(milliseconds(1));
        }
    });
}

TEST_F(Gloo, ARankThatLeftIsNamedByThoseWhoNeedIt) {
    const Clock::time_point start = Clock::now();
    on_ranks(2, kLong, [](Communicator& communicator) {
        if (communicator.rank() == 1) return;
        std::vector<float> values(4);
        const auto error = failure_of(communicator.all_reduce(view(values)));
        ASSERT_TRUE(error);
        EXPECT_EQ(error->rank(), 1);
        EXPECT_NE(std::string(error->what()).find("rank 1 on "), std::string::npos);
    });
    EXPECT_LT(seconds_since(start), 5);
}

TEST_F(Gloo, AbortEndsWaitsOnEveryRankAtOnce) {
    const Clock::time_point start = Clock::now();
    on_ranks(3, kLong, [](Communicator& communicator) {
        if (communicator.rank() == 2) {
            std::this_thread::sleep_for(milliseconds(100));
            communicator.abort();
            EXPECT_THROW(meet(communicator), LostRank);
            return;
        }
        std::vector<float> values(3000);
        const auto error = failure_of(communicator.all_reduce(view(values)));
        ASSERT_TRUE(error);
        EXPECT_EQ(error->rank(), 2) << error->what();
        EXPECT_NE(std::string(error->what()).find("has ended the communication"), std::string::npos)
            << error->what();
    });
    EXPECT_LT(seconds_since(start), 5);
}

TEST_F(Gloo, AbortFromAnotherThreadEndsTheWaitOfThisRank) {
    on_ranks(2, kLong, [](Communicator& communicator) {
        if (communicator.rank() == 1) {
            EXPECT_TRUE(failure_of([&] {
                std::this_thread::sleep_for(milliseconds(200));
                static std::vector<float> late(2000);
                return communicator.all_reduce(view(late));
            }()));
            return;
        }
        std::vector<float> values(2000);
        Pending sum = communicator.all_reduce(view(values));
        std::thread aborter([&] {
            std::this_thread::sleep_for(milliseconds(50));
            communicator.abort();
        });
        EXPECT_TRUE(failure_of(sum));
        aborter.join();
    });
}

TEST_F(Gloo, AHungRankIsNamedAlsoByThoseWhoWaitForOthers) {
    std::atomic<int> failed = 0;
    on_ranks(4, milliseconds(400), [&](Communicator& communicator) {
        if (communicator.rank() == 3) {
            while (failed < 3) std::this_thread::sleep_for(milliseconds(5));
            return;
        }
        // Not at the same time: rank 0 waits longest, for rank 1, which waits for rank 3.
        std::this_thread::sleep_for(milliseconds(100 * communicator.rank()));
        std::vector<float> values(4000);
        const auto error = failure_of(communicator.all_reduce(view(values)));
        ++failed;
        ASSERT_TRUE(error);
        EXPECT_EQ(error->rank(), 3) << error->what();
        EXPECT_NE(std::string(error->what()).find("0.4 s"), std::string::npos) << error->what();
    });
}

constexpr int kKilled = 2;

/// Exit code of a process that communicates until it fails: 0 when it names the killed rank.
int sum_until_failure(std::unique_ptr<PointToPoint> transport) {
    Staging staging(1 << 20);
    ThreadedCommunicator communicator(std::move(transport), staging.span());
    std::vector<float> values(std::size_t{1} << 20U, 1.0F);
    try {
        for (int round = 0; round < 100'000; ++round) {
            Pending sum = communicator.all_reduce(view(values));
            if (communicator.rank() == kKilled && round == 5) raise(SIGKILL);  // in the middle
            sum.wait();
        }
    } catch (const LostRank& error) {
        const std::string message = error.what();
        if (error.rank() == kKilled && message.starts_with("rank 2 on ")) return 0;
        std::fprintf(stderr, "%s\n", error.what());
        return 10;
    }
    return 11;
}

TEST_F(Gloo, AKilledProcessIsNamedByAllOthersWithinTwoSeconds) {
    std::vector<pid_t> children;
    for (int rank = 0; rank < 4; ++rank) {
        const pid_t child = fork();
        ASSERT_GE(child, 0);
        if (child == 0) {
            try {
                _exit(sum_until_failure(connect(rank, 4, kLong)));
            } catch (const std::exception& error) {
                std::fprintf(stderr, "%s\n", error.what());
                _exit(12);
            }
        }
        children.push_back(child);
    }
    int status = 0;
    ASSERT_EQ(waitpid(children[kKilled], &status, 0), children[kKilled]);
    EXPECT_TRUE(WIFSIGNALED(status));
    const Clock::time_point killed = Clock::now();
    for (int rank = 0; rank < 4; ++rank) {
        if (rank == kKilled) continue;
        ASSERT_GT(waitpid(children[static_cast<std::size_t>(rank)], &status, 0), 0);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0)
            << "rank " << rank << ", status " << status;
    }
    EXPECT_LT(seconds_since(killed), 2.0);
}

}  // namespace
}  // namespace isoflop::comm
