// The kernels of sdpa as what the checks of fused backends run, with NaN in the scratch memory.
#pragma once

#include "attention/emulated/fused_checks.hpp"
#include "attention/sdpa/sdpa_cuda.hpp"

namespace isoflop::test {

namespace sdpa = attention::sdpa;

/// With `bytes` of scratch memory.
inline FusedAttention sdpa_attention(std::size_t bytes = std::size_t{4} << 20) {
    const auto memory = std::make_shared<emulator::GlobalArray<float>>(
        bytes / sizeof(float), std::numeric_limits<float>::quiet_NaN());
    const sdpa::ScratchMemory scratch{.data = reinterpret_cast<std::byte*>(&(*memory)[0]),
                                      .bytes = bytes};
    return {.forward =
                [=](const Shape& s, const attention::ForwardArguments& a) {
                    (void)memory;
                    sdpa::forward(nullptr, s, a, scratch);
                },
            .backward =
                [=](const Shape& s, const attention::BackwardArguments& a) {
                    (void)memory;
                    sdpa::backward(nullptr, s, a, scratch);
                }};
}

}  // namespace isoflop::test
