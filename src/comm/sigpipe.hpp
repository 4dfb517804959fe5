// Gloo writes to sockets whose other end may be gone. This class blocks the resulting signal in the
// writing thread, so that the signal handling of the process stays unchanged.
#pragma once

#include <csignal>
#include <ctime>

namespace isoflop::comm {

class SigpipeBlocked {
public:
    SigpipeBlocked() {
        sigemptyset(&sigpipe_);
        sigaddset(&sigpipe_, SIGPIPE);
        pthread_sigmask(SIG_BLOCK, &sigpipe_, &before_);
    }
    ~SigpipeBlocked() {
        if (sigismember(&before_, SIGPIPE) == 1) return;
        const timespec at_once{};
        while (sigtimedwait(&sigpipe_, nullptr, &at_once) == SIGPIPE) {
        }
        pthread_sigmask(SIG_SETMASK, &before_, nullptr);
    }
    SigpipeBlocked(const SigpipeBlocked&) = delete;
    SigpipeBlocked& operator=(const SigpipeBlocked&) = delete;

private:
    sigset_t sigpipe_{};
    sigset_t before_{};
};

}  // namespace isoflop::comm
