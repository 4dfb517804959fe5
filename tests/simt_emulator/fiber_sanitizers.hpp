// Announcements to AddressSanitizer and ThreadSanitizer when execution changes to another stack.
// Without them all of this is empty.
#pragma once

#include <cstddef>

#if defined(__has_feature)
#define ISOFLOP_HAS_FEATURE(name) __has_feature(name)
#else
#define ISOFLOP_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || ISOFLOP_HAS_FEATURE(address_sanitizer)
#define ISOFLOP_FIBER_ASAN 1
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(ISOFLOP_FIBER_TSAN)
#include <sanitizer/tsan_interface.h>
#endif

namespace isoflop::emulator {

#if defined(ISOFLOP_FIBER_ASAN)
inline constexpr std::size_t fiber_stack_bytes = 512 * 1024;  // red zones make frames larger

class FiberSanitizer {
public:
    FiberSanitizer(const void* bottom, std::size_t bytes) : bottom_(bottom), bytes_(bytes) {}
    void before_enter() { __sanitizer_start_switch_fiber(&outer_fake_stack_, bottom_, bytes_); }
    void after_leave() { __sanitizer_finish_switch_fiber(outer_fake_stack_, nullptr, nullptr); }
    void entered() { __sanitizer_finish_switch_fiber(fake_stack_, &outer_bottom_, &outer_bytes_); }
    void before_leave() {
        __sanitizer_start_switch_fiber(&fake_stack_, outer_bottom_, outer_bytes_);
    }

private:
    const void* bottom_;
    std::size_t bytes_;
    void* fake_stack_ = nullptr;
    void* outer_fake_stack_ = nullptr;
    const void* outer_bottom_ = nullptr;
    std::size_t outer_bytes_ = 0;
};
#elif defined(ISOFLOP_FIBER_TSAN)
inline constexpr std::size_t fiber_stack_bytes = 256 * 1024;

class FiberSanitizer {
public:
    FiberSanitizer(const void*, std::size_t) : fiber_(__tsan_create_fiber(0)) {}
    ~FiberSanitizer() { __tsan_destroy_fiber(fiber_); }
    FiberSanitizer(const FiberSanitizer&) = delete;
    FiberSanitizer& operator=(const FiberSanitizer&) = delete;
    void before_enter() {
        outer_ = __tsan_get_current_fiber();
        __tsan_switch_to_fiber(fiber_, 0);
    }
    void after_leave() {}
    void entered() {}
    void before_leave() { __tsan_switch_to_fiber(outer_, 0); }

private:
    void* fiber_;
    void* outer_ = nullptr;
};
#else
inline constexpr std::size_t fiber_stack_bytes = 128 * 1024;

class FiberSanitizer {
public:
    FiberSanitizer(const void*, std::size_t) {}
    void before_enter() {}
    void after_leave() {}
    void entered() {}
    void before_leave() {}
};
#endif

}  // namespace isoflop::emulator
