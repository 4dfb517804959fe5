// The built-in launcher, with shell commands as ranks. It runs in a child process of the test, as
// it prints to standard error and is sent signals.
#include "isoflop/comm/launcher.hpp"

#include <gmock/gmock.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <thread>
#include <vector>

#include "isoflop/base/error.hpp"

namespace isoflop::comm {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

std::string read_file(const std::filesystem::path& path) {
    std::ifstream in(path);
    return {std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
}

class Launcher : public testing::Test {
protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "launcher_XXXXXX";
        ASSERT_NE(mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    /// Starts the launcher with a shell script for the ranks, which finds `folder_` in $DIR.
    pid_t start(const LauncherOptions& options, const std::string& script) {
        const pid_t child = fork();
        if (child == 0) {
            setenv("DIR", folder_.c_str(), 1);
            static_cast<void>(!std::freopen((folder_ / "out").c_str(), "w", stdout));
            static_cast<void>(!std::freopen((folder_ / "err").c_str(), "w", stderr));
            int code = 99;
            try {
                code = run_ranks(options, std::vector<std::string>{"/bin/sh", "-c", script, "sh"});
            } catch (const Error& error) {
                std::fprintf(stderr, "%s\n", error.what());
                code = static_cast<int>(error.exit_code());
            }
            std::fflush(nullptr);
            _exit(code);
        }
        return child;
    }
    static int wait_status(pid_t child) {
        int status = 0;
        EXPECT_EQ(waitpid(child, &status, 0), child);
        return status;
    }
    int run(const LauncherOptions& options, const std::string& script) {
        const int status = wait_status(start(options, script));
        return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    }
    [[nodiscard]] std::string out() const { return read_file(folder_ / "out"); }
    [[nodiscard]] std::string err() const { return read_file(folder_ / "err"); }

    void wait_for_file(const std::string& name) const {
        for (int tries = 0; tries < 500 && !std::filesystem::exists(folder_ / name); ++tries) {
            std::this_thread::sleep_for(10ms);
        }
        EXPECT_TRUE(std::filesystem::exists(folder_ / name)) << name;
    }
    /// Whether the process whose number a rank left in a file is gone.
    [[nodiscard]] bool has_gone(const std::string& name) const {
        const pid_t process = std::stoi(read_file(folder_ / name));
        for (int tries = 0; tries < 200; ++tries) {
            const std::string state = read_file("/proc/" + std::to_string(process) + "/stat");
            if (state.empty() || state.find(") Z") != std::string::npos) return true;
            std::this_thread::sleep_for(10ms);
        }
        return false;
    }

    std::filesystem::path folder_;
};

TEST_F(Launcher, RanksKnowWhoTheyAre) {
    EXPECT_EQ(run({.nproc_per_node = 2},
                  "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE $ISOFLOP_LAUNCHER "
                  "$MASTER_ADDR > $DIR/$RANK; echo $MASTER_PORT > $DIR/port$RANK"),
              0);
    EXPECT_EQ(read_file(folder_ / "0"), "0/2 0/2 train 127.0.0.1\n");
    EXPECT_EQ(read_file(folder_ / "1"), "1/2 1/2 train 127.0.0.1\n");
    EXPECT_EQ(read_file(folder_ / "port0"), read_file(folder_ / "port1"));
    EXPECT_GT(std::stoi(read_file(folder_ / "port0")), 0);
}

TEST_F(Launcher, RanksOfOneMachineGetASecretOfTheirOwn) {
    const char* const script = "printf %s \"$ISOFLOP_JOB_TOKEN\" > $DIR/token$RANK";
    unsetenv("ISOFLOP_JOB_TOKEN");
    std::vector<std::string> tokens;
    for (int start = 0; start < 2; ++start) {
        EXPECT_EQ(run({.nproc_per_node = 2}, script), 0);
        tokens.push_back(read_file(folder_ / "token0"));
        EXPECT_EQ(read_file(folder_ / "token1"), tokens.back());
        EXPECT_GE(tokens.back().size(), 32U);
        EXPECT_THAT(err(), Not(HasSubstr(tokens.back())));
        EXPECT_THAT(out(), Not(HasSubstr(tokens.back())));
    }
    EXPECT_NE(tokens[0], tokens[1]);

    setenv("ISOFLOP_JOB_TOKEN", "the user's own secret, which stays", 1);
    EXPECT_EQ(run({.nproc_per_node = 1}, script), 0);
    EXPECT_EQ(read_file(folder_ / "token0"), "the user's own secret, which stays");
    unsetenv("ISOFLOP_JOB_TOKEN");
    // Launchers on several machines could not agree on one.
    EXPECT_EQ(run({.nproc_per_node = 1,
                   .nnodes = 2,
                   .node_rank = 0,
                   .master_addr = "node0",
                   .master_port = 29500},
                  script),
              0);
    EXPECT_EQ(read_file(folder_ / "token0"), "");
}

TEST_F(Launcher, RanksOfTheSecondMachineFollowThoseOfTheFirst) {
    const LauncherOptions options{.nproc_per_node = 2,
                                  .nnodes = 2,
                                  .node_rank = 1,
                                  .master_addr = "node0",
                                  .master_port = 29500};
    EXPECT_EQ(run(options,
                  "echo $RANK/$WORLD_SIZE $LOCAL_RANK/$LOCAL_WORLD_SIZE "
                  "$MASTER_ADDR:$MASTER_PORT > $DIR/rank$RANK"),
              0);
    EXPECT_EQ(read_file(folder_ / "rank2"), "2/4 0/2 node0:29500\n");
    EXPECT_EQ(read_file(folder_ / "rank3"), "3/4 1/2 node0:29500\n");
}

/// The lines that begin with `prefix`, without it; those of several ranks come in any order.
std::vector<std::string> lines_of(const std::string& text, const std::string& prefix) {
    std::vector<std::string> lines;
    std::istringstream in(text);
    for (std::string line; std::getline(in, line);) {
        if (line.starts_with(prefix)) lines.push_back(line.substr(prefix.size()));
    }
    return lines;
}

TEST_F(Launcher, OutputOfRankZeroIsUnchangedAndTheRestIsPrefixed) {
    EXPECT_EQ(run({.nproc_per_node = 2}, "echo out $RANK; printf 'err\\n\\nlast' >&2"), 0);
    EXPECT_EQ(out(), "out 0\n");
    EXPECT_THAT(lines_of(err(), "[rank 0] "), testing::ElementsAre("err", "", "last"));
    EXPECT_THAT(lines_of(err(), "[rank 1] "),
                testing::UnorderedElementsAre("err", "", "last", "out 1"));
    EXPECT_EQ(lines_of(err(), "").size(), 7U);
}

TEST_F(Launcher, NothingOfMuchOutputIsLost) {
    EXPECT_EQ(run({.nproc_per_node = 3}, "seq 20000 >&2"), 0);
    for (const auto* prefix : {"[rank 0] ", "[rank 1] ", "[rank 2] "}) {
        const auto lines = lines_of(err(), prefix);
        ASSERT_EQ(lines.size(), 20000U);
        for (std::size_t index = 0; index < lines.size(); ++index) {
            ASSERT_EQ(lines[index], std::to_string(index + 1));
        }
    }
}

TEST_F(Launcher, TheFirstFailureEndsAllWithItsCode) {
    EXPECT_EQ(run({.nproc_per_node = 3}, "[ $RANK = 1 ] && exit 3; exec sleep 60"), 3);
    EXPECT_THAT(err(),
                HasSubstr("launcher: rank 1 ended with exit code 3; ending the other ranks"));
}

TEST_F(Launcher, ARankThatASignalEndsIsALostRank) {
    EXPECT_EQ(run({.nproc_per_node = 2}, "[ $RANK = 1 ] && kill -9 $$; exec sleep 60"), 4);
    EXPECT_THAT(err(), HasSubstr("rank 1 was ended by signal 9 (Killed)"));
}

TEST_F(Launcher, WhoIgnoresTheEndIsKilled) {
    EXPECT_EQ(run({.nproc_per_node = 2, .grace = 100ms},
                  "echo $$ > $DIR/pid$RANK; if [ $RANK = 1 ]; then sleep 0.1; exit 2; fi\n"
                  "trap '' TERM; while :; do sleep 0.05; done"),
              2);
    EXPECT_TRUE(has_gone("pid0"));
}

TEST_F(Launcher, NoProcessIsLeftBehind) {
    EXPECT_EQ(run({.nproc_per_node = 2}, "sleep 60 & echo $! > $DIR/pid$RANK"), 0);
    EXPECT_TRUE(has_gone("pid0"));
    EXPECT_TRUE(has_gone("pid1"));
}

TEST_F(Launcher, PassesSignalsOnToAllRanks) {
    for (const int number : {SIGINT, SIGTERM}) {
        const pid_t launcher = start({.nproc_per_node = 2, .max_restarts = 1},
                                     "trap 'echo saved >> $DIR/saved$RANK; exit 0' INT TERM\n"
                                     "touch $DIR/ready$RANK; while :; do sleep 0.02; done");
        wait_for_file("ready0");
        wait_for_file("ready1");
        kill(launcher, number);
        const int status = wait_status(launcher);
        EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
        for (const auto* rank : {"0", "1"}) {
            EXPECT_EQ(read_file(folder_ / (std::string("saved") + rank)), "saved\n");
            std::filesystem::remove(folder_ / (std::string("saved") + rank));
            std::filesystem::remove(folder_ / (std::string("ready") + rank));
        }
    }
}

TEST_F(Launcher, RanksDoNotOutliveAKilledLauncher) {
    const pid_t launcher = start({.nproc_per_node = 2},
                                 "echo $$ > $DIR/pid$RANK; touch $DIR/ready$RANK; exec sleep 60");
    wait_for_file("ready0");
    wait_for_file("ready1");
    kill(launcher, SIGKILL);
    wait_status(launcher);
    EXPECT_TRUE(has_gone("pid0"));
    EXPECT_TRUE(has_gone("pid1"));
}

TEST_F(Launcher, RestartsALostRunFromItsCheckpoint) {
    const std::string script =
        "[ $RANK = 1 ] || exit 0\n"
        "echo \"$*\" >> $DIR/starts; [ $(wc -l < $DIR/starts) -ge 3 ] || exit 4";
    EXPECT_EQ(run({.nproc_per_node = 2, .max_restarts = 5}, script), 0);
    EXPECT_EQ(read_file(folder_ / "starts"), "\n--init_from=resume\n--init_from=resume\n");
    EXPECT_THAT(err(), AllOf(HasSubstr("(restart 1 of 5)"), HasSubstr("(restart 2 of 5)"),
                             Not(HasSubstr("(restart 3 of 5)"))));
}

TEST_F(Launcher, RestartsNeitherTooOftenNorAfterOtherErrors) {
    EXPECT_EQ(run({.max_restarts = 2}, "echo x >> $DIR/lost; exit 4"), 4);
    EXPECT_EQ(read_file(folder_ / "lost"), "x\nx\nx\n");
    EXPECT_EQ(run({.max_restarts = 2}, "echo x >> $DIR/config; exit 2"), 2);
    EXPECT_EQ(read_file(folder_ / "config"), "x\n");
}

TEST_F(Launcher, RefusesOptionsThatContradictEachOther) {
    const auto refusal = [](const LauncherOptions& options) -> std::string {
        try {
            static_cast<void>(run_ranks(options, std::vector<std::string>{"/bin/true"}));
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "accepted";
    };
    EXPECT_THAT(refusal({.nproc_per_node = 0}), HasSubstr("--nproc-per-node=0"));
    EXPECT_THAT(refusal({.nnodes = 2}), HasSubstr("--nnodes=2 needs --master-addr"));
    EXPECT_THAT(refusal({.node_rank = 1}), HasSubstr("--node-rank=1: 0 to 0"));
    EXPECT_THAT(refusal({.master_port = 70000}), HasSubstr("--master-port=70000"));
    EXPECT_THAT(refusal({.max_restarts = -1}), HasSubstr("--max-restarts=-1"));
}

TEST(LauncherOptions, AreNotPassedOnToTheRanks) {
    const std::vector<std::string> arguments{
        "--nproc-per-node", "4",         "config.jsonc",   "--nnodes=2", "--node_rank", "1",
        "--master-addr=h",  "--lr=0.1",  "--max-restarts", "3",          "--set",       "nnodes=2",
        "--master-port=1",  "--dry-run", "--nnode",        "x"};
    EXPECT_THAT(without_launcher_options(arguments),
                testing::ElementsAre("config.jsonc", "--lr=0.1", "--set", "nnodes=2", "--dry-run",
                                     "--nnode", "x"));
    EXPECT_THAT(without_launcher_options(std::vector<std::string>{"", "-", "--nnodes"}),
                testing::ElementsAre("", "-"));
}

}  // namespace
}  // namespace isoflop::comm
