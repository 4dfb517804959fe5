// The request to end this process, as SIGINT, SIGTERM and SIGHUP make it, and how waits hear
// of it.
//
// Work in progress asks stop_requested() at points where it can end well. Waits for input or for
// other processes poll stop_descriptor() too, so that they end at once.
#pragma once

#include <string_view>

#include "isoflop/base/error.hpp"

namespace isoflop {

/// May be called from a signal handler.
void request_stop() noexcept;
[[nodiscard]] bool stop_requested() noexcept;
/// Readable once a stop is requested; for poll(), which ignores -1.
[[nodiscard]] int stop_descriptor();
/// For tests: as if no stop had been requested.
void withdraw_stop() noexcept;

/// A wait that a request ended: nothing was done that could be saved (exit 1).
class Stopped : public Error {
public:
    explicit Stopped(std::string_view while_doing);
};
/// Throws Stopped after a request.
void throw_if_stopped(std::string_view while_doing);

}  // namespace isoflop
