// A function on a stack of its own that can be left in the middle and continued: one CUDA thread. A
// switch costs some ten nanoseconds with Boost.Context and some hundred with ucontext, which makes
// a system call. Each switch is announced to the sanitizers; without that they take another stack
// for an overflow of this one.
#pragma once

#include <cstddef>
#include <memory>

namespace isoflop::emulator {

class Fiber {
public:
    using Body = void (*)(void* argument);

    Fiber();
    ~Fiber();
    Fiber(const Fiber&) = delete;
    Fiber& operator=(const Fiber&) = delete;

    /// The next resume() begins `body(argument)`, which must not throw. Only for a fiber that is
    /// finished or new: making a stack is expensive, so one fiber serves many blocks and launches.
    void start(Body body, void* argument);
    [[nodiscard]] bool finished() const { return body_ == nullptr; }

    /// Runs the body until it suspends or returns.
    void resume();
    /// Only from inside the body.
    void suspend();

private:
    struct Implementation;
    [[noreturn]] void loop();

    Body body_ = nullptr;
    void* argument_ = nullptr;
    std::unique_ptr<Implementation> implementation_;
};

}  // namespace isoflop::emulator
