#include "comm/nccl_watchdog.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <stdexcept>
#include <utility>

namespace isoflop::comm {

using std::chrono::milliseconds;

void NcclOperation::wait() {
    link_->attempt([&] {
        if (!waited_.exchange(true)) done_.hold_back(link_->options.compute_stream);
    });
}

NcclWatchdog::NcclWatchdog(NcclLink& link) : link_(link), thread_([this] { run(); }) {}

NcclWatchdog::~NcclWatchdog() {
    (void)stop();
}

void NcclWatchdog::watch(std::shared_ptr<const NcclOperation> operation) {
    const std::lock_guard lock(mutex_);
    under_way_.push_back(std::move(operation));
}

bool NcclWatchdog::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopping_ = true;
        wake_.notify_all();
    }
    if (thread_.joinable()) thread_.join();
    try {
        forget_finished();
    } catch (const std::exception&) {
        return false;
    }
    return under_way_.empty();
}

void NcclWatchdog::run() {
    const milliseconds interval =
        std::clamp(link_.options.timeout / 20, milliseconds(1), milliseconds(100));
    (void)link_.libraries.cuda.set_device(link_.options.device);  // a setting per thread
    std::unique_lock lock(mutex_);
    while (!wake_.wait_for(lock, interval, [&] { return stopping_; })) {
        try {
            look();
        } catch (const std::exception& error) {
            lock.unlock();
            link_.fail(-1, error.what());
            return;
        }
    }
}

void NcclWatchdog::look() {
    link_.throw_async_error();
    forget_finished();
    if (under_way_.empty() || !under_way_.front()->ready()) return;
    const Clock::time_point now = Clock::now();
    if (!running_since_) running_since_ = now;
    if (now - *running_since_ < link_.options.timeout) return;
    throw std::runtime_error(fmt::format(
        "{} was not done for {:g} s: another rank is lost or hangs (NCCL does not tell which)",
        under_way_.front()->name(), std::chrono::duration<double>(link_.options.timeout).count()));
}

void NcclWatchdog::forget_finished() {
    while (!under_way_.empty() && under_way_.front()->done()) {
        under_way_.pop_front();
        running_since_.reset();
    }
}

}  // namespace isoflop::comm
