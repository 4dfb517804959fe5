#include "isoflop/base/stop.hpp"

#include <fmt/format.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdint>

namespace isoflop {
namespace {

// A signal handler can reach nothing else.
std::atomic<bool> requested{false};
std::atomic<int> descriptor{-1};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<int>::is_always_lock_free);

}  // namespace

void request_stop() noexcept {
    const int error = errno;
    requested.store(true);
    if (const int fd = descriptor.load(); fd >= 0) {
        const std::uint64_t one = 1;
        (void)!::write(fd, &one, sizeof one);
    }
    errno = error;
}

bool stop_requested() noexcept {
    return requested.load();
}

int stop_descriptor() {
    static const int fd = [] {
        // Lives until the process ends.
        const int made = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        descriptor.store(made);
        if (stop_requested()) request_stop();  // before there was a descriptor
        return made;
    }();
    return fd;
}

void withdraw_stop() noexcept {
    requested.store(false);
    std::uint64_t count = 0;
    if (const int fd = descriptor.load(); fd >= 0) (void)!::read(fd, &count, sizeof count);
}

Stopped::Stopped(std::string_view while_doing)
    : Error(ExitCode::check_failed,
            fmt::format("stopped on request while {}; nothing was written", while_doing)) {}

void throw_if_stopped(std::string_view while_doing) {
    if (stop_requested()) throw Stopped(while_doing);
}

}  // namespace isoflop
