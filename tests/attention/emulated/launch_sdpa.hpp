// The kernels of sdpa launched one by one, in any configuration, with pointers that end where the
// tensors end.
#pragma once

#include "attention/emulated/launch_kernels.hpp"
#include "attention/emulated/sdpa_problem.hpp"
#include "attention/sdpa/backward_kernel.hpp"
#include "attention/sdpa/forward_kernel.hpp"

namespace isoflop::test {

inline emulator::GlobalArray<float> poisoned_floats(std::int64_t count) {
    return emulator::GlobalArray<float>(static_cast<std::size_t>(count),
                                        std::numeric_limits<float>::quiet_NaN());
}

template <class C>
void launch_sdpa_forward(HalfProblem<typename C::Element>& p) {
    const Shape& s = p.shape;
    const std::int64_t blocks = s.batch * s.heads * tiles_of(s.query_length, C::chunk);
    auto waiting = poisoned_floats(blocks * C::block_floats);
    simt::launch(launch_of<C>("forward", blocks), sdpa::forward_kernel<C>,
                 sdpa::ForwardPart<typename C::Element>{
                     .arguments = forward_parameters(p), .first_block = 0, .waiting = waiting});
}

template <class C>
void launch_sdpa_backward(HalfProblem<typename C::Element>& p) {
    const Shape& s = p.shape;
    auto waiting = poisoned_floats(s.batch * s.heads * tiles_of(s.query_length, C::query_tile) *
                                   C::tile_floats);
    simt::launch(launch_of<C>("backward", s.batch * s.kv_heads), sdpa::backward_kernel<C>,
                 sdpa::BackwardPart<typename C::Element>{
                     .arguments = backward_parameters(p), .first_block = 0, .waiting = waiting});
}

}  // namespace isoflop::test
