// One run, one writer.
#include "trainer/run_lock.hpp"

#include <gmock/gmock.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <thread>

#include "isoflop/base/error.hpp"
#include "isoflop/base/file.hpp"
#include "trainer/run_lock_file.hpp"

namespace isoflop::trainer {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::AllOf;
using testing::HasSubstr;

constexpr RunLock::Timing kQuick{.renewal = 20ms, .patience = 400ms};

class RunLocks : public testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "isoflop_run_lock_XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        root_ = name;
        run_ = root_ / "out" / "run";
    }
    void TearDown() override { fs::remove_all(root_); }

    RunLock acquire() {
        return RunLock::acquire(
            run_, [this](const std::string& note) { notes_ += note + "\n"; }, kQuick);
    }
    std::string refusal() {
        try {
            const RunLock lock = acquire();
        } catch (const ConfigError& error) {
            return error.what();
        }
        return "not refused";
    }
    /// Leaves the lock of a process that is not on this machine.
    void leave_foreign_lock() {
        make_directories(run_);
        ProcessIdentity writer = this_process();
        writer.host = "faraway";
        writer.pid = 4711;
        writer.boot = "of another machine";
        const FileDescriptor file = create_lock_file(lock_file(), writer);
        ASSERT_TRUE(file.is_open());
    }
    [[nodiscard]] fs::path lock_file() const { return run_ / "run.lock"; }

    fs::path root_;
    fs::path run_;
    std::string notes_;
};

TEST_F(RunLocks, ASecondWriterIsRefusedWithTheNameOfTheFirst) {
    const RunLock first = acquire();
    EXPECT_TRUE(first.held());
    const ProcessIdentity self = this_process();
    EXPECT_THAT(refusal(), AllOf(HasSubstr(run_.string()), HasSubstr("on " + self.host),
                                 HasSubstr("process " + std::to_string(self.pid)),
                                 HasSubstr("since " + self.since.substr(0, 10))));
    EXPECT_THAT(RunLock::writer_of(run_), HasSubstr("process " + std::to_string(self.pid)));
}

TEST_F(RunLocks, IsReleasedAtTheEnd) {
    fs::create_directories(run_);
    { const RunLock first = acquire(); }
    EXPECT_FALSE(fs::exists(lock_file()));
    EXPECT_EQ(RunLock::writer_of(run_), "");
    EXPECT_TRUE(acquire().held());
    EXPECT_EQ(notes_, "");
    EXPECT_TRUE(fs::exists(run_)) << "it was there before";
}

TEST_F(RunLocks, AFolderThatStayedEmptyGoesWithItsLock) {
    { const RunLock first = RunLock::of_new_folder(run_, kQuick); }
    EXPECT_FALSE(fs::exists(run_));
    {
        const RunLock second = RunLock::of_new_folder(run_, kQuick);
        std::ofstream(run_ / "metrics.jsonl") << "{}\n";
    }
    EXPECT_TRUE(fs::exists(run_ / "metrics.jsonl"));
    EXPECT_FALSE(RunLock::of_new_folder(run_, kQuick).held()) << "it is not new";
}

TEST_F(RunLocks, OfManyThatStartTogetherOneWrites) {
    for (const bool new_folder : {true, false}) {
        std::atomic<int> holders = 0;
        std::atomic<int> arrived = 0;
        constexpr int kThreads = 8;
        std::vector<std::thread> threads;
        for (int thread = 0; thread < kThreads; ++thread) {
            threads.emplace_back([&] {
                RunLock lock;
                try {
                    lock = new_folder ? RunLock::of_new_folder(run_, kQuick)
                                      : RunLock::acquire(
                                            run_, [](const std::string&) {}, kQuick);
                } catch (const ConfigError&) {
                    EXPECT_FALSE(new_folder);
                }
                holders += lock.held() ? 1 : 0;
                ++arrived;
                while (arrived < kThreads) std::this_thread::sleep_for(1ms);
            });
        }
        for (std::thread& thread : threads) thread.join();
        EXPECT_EQ(holders, 1);
    }
}

TEST_F(RunLocks, TheLockOfADeadProcessIsTakenOverWithANote) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
        fs::create_directories(run_);
        const bool made = create_lock_file(lock_file(), this_process()).is_open();
        ::_exit(made ? 0 : 1);
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    ASSERT_EQ(status, 0);
    EXPECT_EQ(RunLock::writer_of(run_), "");
    const RunLock lock = acquire();
    EXPECT_TRUE(lock.held());
    EXPECT_THAT(notes_, AllOf(HasSubstr("took over the lock of process " + std::to_string(child)),
                              HasSubstr("without releasing it")));
    EXPECT_THAT(refusal(), HasSubstr("process " + std::to_string(::getpid())));
}

TEST_F(RunLocks, AProcessIdThatIsUsedAgainIsAnotherProcess) {
    fs::create_directories(run_);
    ProcessIdentity writer = this_process();
    ++writer.process_start;
    ASSERT_TRUE(create_lock_file(lock_file(), writer).is_open());
    EXPECT_TRUE(acquire().held());
}

TEST_F(RunLocks, OfManyThatTakeOverOneWrites) {
    leave_foreign_lock();
    std::atomic<int> holders = 0;
    std::atomic<int> arrived = 0;
    constexpr int kThreads = 4;
    std::vector<std::thread> threads;
    for (int thread = 0; thread < kThreads; ++thread) {
        threads.emplace_back([&] {
            RunLock lock;
            try {
                lock = RunLock::acquire(
                    run_, [](const std::string&) {}, kQuick);
            } catch (const ConfigError&) {
            }
            holders += lock.held() ? 1 : 0;
            ++arrived;
            while (arrived < kThreads) std::this_thread::sleep_for(1ms);
            if (lock.held()) {
                EXPECT_NO_THROW(lock.check_now());
            }
        });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(holders, 1);
}

TEST_F(RunLocks, AWriterOnAnotherMachineThatRenewsItsLockIsAlive) {
    leave_foreign_lock();
    std::atomic<bool> stop = false;
    std::thread writer([&] {
        for (int beat = 1; !stop; ++beat) {
            fs::last_write_time(lock_file(), fs::file_time_type::clock::now() + beat * 1ms);
            std::this_thread::sleep_for(20ms);
        }
    });
    const std::string message = refusal();
    stop = true;
    writer.join();
    EXPECT_THAT(message, HasSubstr("process 4711 on faraway writes this run"));
    EXPECT_THAT(notes_, HasSubstr("waiting up to 0.4 s"));
}

TEST_F(RunLocks, AWriterOnAnotherMachineThatIsSilentCountsAsDead) {
    leave_foreign_lock();
    const RunLock lock = acquire();
    EXPECT_TRUE(lock.held());
    EXPECT_THAT(notes_, HasSubstr("took over the lock of process 4711 on faraway"));
}

TEST_F(RunLocks, AWriterThatWasTakenForDeadEndsBeforeItWrites) {
    const RunLock first = acquire();
    EXPECT_NO_THROW(first.check_now());
    fs::remove(lock_file());
    ProcessIdentity other = this_process();
    other.host = "faraway";
    other.pid = 4711;
    const FileDescriptor file = create_lock_file(lock_file(), other);
    try {
        first.check_now();
        ADD_FAILURE() << "it did not notice";
    } catch (const IoError& error) {
        EXPECT_THAT(error.what(), HasSubstr("process 4711 on faraway has taken over the lock"));
    }
    EXPECT_THROW(first.check(), IoError) << "it remembers";
}

TEST_F(RunLocks, NothingIsWrittenThroughALink) {
    fs::create_directories(run_);
    fs::create_symlink(root_ / "elsewhere", lock_file());
    EXPECT_THROW(static_cast<void>(acquire()), IoError);
    EXPECT_FALSE(fs::exists(root_ / "elsewhere"));
}

TEST_F(RunLocks, AFileThatIsNoLockIsGivenTimeThenReplaced) {
    fs::create_directories(run_);
    std::ofstream(lock_file()) << "not written yet";
    EXPECT_TRUE(acquire().held());
    EXPECT_THAT(notes_, HasSubstr("an unknown process"));
}

TEST(RunLockOfNothing, ChecksNothing) {
    const RunLock lock;
    EXPECT_FALSE(lock.held());
    EXPECT_NO_THROW(lock.check());
    EXPECT_NO_THROW(lock.check_now());
}

}  // namespace
}  // namespace isoflop::trainer
