// Named ranges in NVIDIA's profilers. Nothing is loaded or linked: NVTX is a header, and does
// nothing unless a profiler has started the program. Without the header these do nothing.
#pragma once

#include <string>

#if __has_include(<nvtx3/nvToolsExt.h>)
#include <nvtx3/nvToolsExt.h>
#endif

namespace isoflop::device::cuda {

inline void push_range([[maybe_unused]] const std::string& name) {
#if __has_include(<nvtx3/nvToolsExt.h>)
    (void)nvtxRangePushA(name.c_str());
#endif
}

inline void pop_range() {
#if __has_include(<nvtx3/nvToolsExt.h>)
    (void)nvtxRangePop();
#endif
}

}  // namespace isoflop::device::cuda
