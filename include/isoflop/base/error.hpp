// Errors that reach the user. Every failure carries the exit code that the tools return for it, so
// `main` has exactly one place that turns an exception into a message and a number.
#pragma once

#include <stdexcept>
#include <string>

namespace isoflop {

/// Process exit codes, the same for every tool.
enum class ExitCode : int {
    ok = 0,             ///< done (a plan that does not fit is still an answer)
    check_failed = 1,   ///< validate or selfcheck found a difference; internal error
    usage = 2,          ///< usage, configuration, device or feature not available
    io = 3,             ///< data, checkpoint, disk or other input and output
    lost_rank = 4,      ///< lost rank or communication timeout
    out_of_memory = 5,  ///< does not fit in memory
    diverged = 6,       ///< training diverged
};

/// Base of all errors; `what()` is the complete message for the user.
class Error : public std::runtime_error {
public:
    Error(ExitCode exit_code, const std::string& message)
        : std::runtime_error(message), exit_code_(exit_code) {}
    [[nodiscard]] ExitCode exit_code() const noexcept { return exit_code_; }

private:
    ExitCode exit_code_;
};

/// The request is invalid: a wrong flag, key or value (exit 2).
class ConfigError : public Error {
public:
    explicit ConfigError(const std::string& message) : Error(ExitCode::usage, message) {}
};

/// A file could not be read or written, or its content is damaged (exit 3).
class IoError : public Error {
public:
    explicit IoError(const std::string& message) : Error(ExitCode::io, message) {}
};

}  // namespace isoflop
