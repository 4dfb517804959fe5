#include "simt_emulator/fiber.hpp"

#include <functional>
#include <memory>
#include <utility>

#include "simt_emulator/fiber_sanitizers.hpp"
#include "simt_emulator/fiber_stack.hpp"

#if defined(ISOFLOP_HAVE_BOOST_CONTEXT)
#include <boost/context/fiber.hpp>
#include <boost/context/preallocated.hpp>
#else
#include <ucontext.h>

#include <cstdint>
#endif

namespace isoflop::emulator {
namespace {

#if defined(ISOFLOP_HAVE_BOOST_CONTEXT)

/// Boost frees a stack when its fiber ends; ours outlives it.
struct KeepStack {
    // NOLINTNEXTLINE(readability-convert-member-functions-to-static): Boost calls it on an object
    void deallocate(boost::context::stack_context&) const {}
};

class Switch {
public:
    Switch(const FiberStack& stack, std::function<void()> body) : body_(std::move(body)) {
        std::construct_at(&inside_, make(stack));
    }
    ~Switch() {}                     // NOLINT(modernize-use-equals-default): the union needs it
    Switch(const Switch&) = delete;  // the fiber knows this address
    Switch& operator=(const Switch&) = delete;
    void enter() { inside_ = std::move(inside_).resume(); }
    void leave() { outside_ = std::move(outside_).resume(); }

private:
    boost::context::fiber make(const FiberStack& stack) {
        boost::context::stack_context context;
        context.size = stack.bytes();
        context.sp = stack.top();
        const boost::context::preallocated place(stack.top(), stack.bytes(), context);
        return boost::context::fiber(std::allocator_arg, place, KeepStack{},
                                     [this](boost::context::fiber&& outside) {
                                         outside_ = std::move(outside);
                                         body_();
                                         return std::move(outside_);
                                     });
    }

    std::function<void()> body_;
    boost::context::fiber outside_;
    union {
        boost::context::fiber inside_;  // never destroyed: its destructor would enter it once more
    };
};

#else

class Switch {
public:
    Switch(const FiberStack& stack, std::function<void()> body) : body_(std::move(body)) {
        getcontext(&inside_);
        inside_.uc_stack.ss_sp = stack.bottom();
        inside_.uc_stack.ss_size = stack.bytes();
        inside_.uc_link = nullptr;  // the body does not end
        const auto self = reinterpret_cast<std::uintptr_t>(this);
        makecontext(&inside_, reinterpret_cast<void (*)()>(&Switch::entry), 2,
                    static_cast<unsigned>(self >> 32U), static_cast<unsigned>(self));
    }
    Switch(const Switch&) = delete;  // the context knows this address
    Switch& operator=(const Switch&) = delete;
    void enter() { swapcontext(&outside_, &inside_); }
    void leave() { swapcontext(&inside_, &outside_); }

private:
    /// makecontext passes ints only, so the pointer comes in halves.
    static void entry(unsigned high, unsigned low) {
        const std::uintptr_t self = (static_cast<std::uintptr_t>(high) << 32U) | low;
        reinterpret_cast<Switch*>(self)->body_();
    }

    std::function<void()> body_;
    ucontext_t inside_{};
    ucontext_t outside_{};
};

#endif

}  // namespace

struct Fiber::Implementation {
    explicit Implementation(std::function<void()> body)
        : stack(fiber_stack_bytes),
          sanitizer(stack.bottom(), stack.bytes()),
          contexts(stack, std::move(body)) {}

    FiberStack stack;
    FiberSanitizer sanitizer;
    Switch contexts;
};

Fiber::Fiber() : implementation_(std::make_unique<Implementation>([this] { loop(); })) {
    resume();
}

/// Between two bodies the loop owns nothing, so it can be left where it waits, and its stack freed.
Fiber::~Fiber() = default;

void Fiber::start(Body body, void* argument) {
    body_ = body;
    argument_ = argument;
}

void Fiber::resume() {
    implementation_->sanitizer.before_enter();
    implementation_->contexts.enter();
    implementation_->sanitizer.after_leave();
}

void Fiber::suspend() {
    implementation_->sanitizer.before_leave();
    implementation_->contexts.leave();
    implementation_->sanitizer.entered();
}

void Fiber::loop() {
    implementation_->sanitizer.entered();
    for (;;) {
        suspend();
        body_(argument_);
        body_ = nullptr;
    }
}

}  // namespace isoflop::emulator
