// The kernels of flash_attn_2 launched one by one, in any configuration, with pointers that end
// where the tensors end.
#pragma once

#include "attention/emulated/half_problem.hpp"
#include "attention/flash_attn_2/forward_kernel.hpp"
#include "attention/flash_attn_2/key_gradients_kernel.hpp"
#include "attention/flash_attn_2/query_gradient_kernel.hpp"
#include "attention/tensor_cores/row_sums_kernel.hpp"

namespace isoflop::test {

namespace kernels = attention::flash_attn_2;

template <class T>
kernels::TypedHeads<T> bounded(const HalfTensor<T>& tensor) {
    T* first = &(*tensor.storage)[tensor.index(0, 0, 0, 0)];
    T* last = &(*tensor.storage)[tensor.index(tensor.batch - 1, tensor.tokens - 1, tensor.heads - 1,
                                              tensor.head_dim - 1)];
    return {simt::Global<T>(first, first, last + 1), tensor.batch_stride, tensor.token_stride,
            tensor.head_stride};
}
template <class T>
kernels::TypedHeads<const T> bounded_input(const HalfTensor<T>& tensor) {
    const auto heads = bounded(tensor);
    return {heads.data, heads.batch_stride, heads.token_stride, heads.head_stride};
}
inline kernels::Problem problem_of(const Shape& shape) {
    return {.heads = static_cast<int>(shape.heads),
            .kv_heads = static_cast<int>(shape.kv_heads),
            .query_length = static_cast<int>(shape.query_length),
            .key_length = static_cast<int>(shape.key_length),
            .causal = shape.causal,
            .scale = static_cast<float>(shape.scale),
            .window = static_cast<int>(shape.window)};
}

inline int tiles_of(std::int64_t length, int tile) {
    return static_cast<int>((length + tile - 1) / tile);
}
template <class C>
simt::Launch launch_of(const char* name, std::int64_t blocks) {
    return {.name = name,
            .grid = {static_cast<int>(blocks)},
            .block = {C::threads},
            .shared_bytes = static_cast<std::size_t>(C::shared_bytes),
            .stream = nullptr};
}

template <class T>
kernels::ForwardParameters<T> forward_parameters(HalfProblem<T>& p) {
    return {.problem = problem_of(p.shape),
            .q = bounded_input(p.q),
            .k = bounded_input(p.k),
            .v = bounded_input(p.v),
            .o = bounded(p.o),
            .lse = p.lse};
}

template <class C>
void launch_forward(HalfProblem<typename C::Element>& p) {
    const Shape& s = p.shape;
    simt::launch(
        launch_of<C>("forward", s.batch * s.heads * tiles_of(s.query_length, C::query_tile)),
        kernels::forward_kernel<C>, forward_parameters(p));
}

template <class T>
kernels::BackwardParameters<T> backward_parameters(HalfProblem<T>& p,
                                                   simt::Global<float> d_q_sums = nullptr) {
    return {.problem = problem_of(p.shape),
            .q = bounded_input(p.q),
            .k = bounded_input(p.k),
            .v = bounded_input(p.v),
            .d_o = bounded_input(p.d_o),
            .lse = p.lse,
            .row_sums = p.row_sums,
            .d_q = bounded(p.d_q),
            .d_k = bounded(p.d_k),
            .d_v = bounded(p.d_v),
            .d_q_sums = d_q_sums};
}

template <class T, int head_dim>
void launch_row_sums(HalfProblem<T>& p, simt::Global<float> d_q_sums = nullptr) {
    using C = kernels::RowSums<T, head_dim>;
    const std::int64_t rows = p.shape.batch * p.shape.heads * p.shape.query_length;
    simt::launch({.name = "row sums",
                  .grid = {tiles_of(rows, C::block_rows)},
                  .block = {C::threads},
                  .shared_bytes = 0,
                  .stream = nullptr},
                 kernels::row_sums_kernel<T, head_dim>,
                 kernels::RowSumsParameters<T>{.problem = problem_of(p.shape),
                                               .rows = rows,
                                               .o = bounded_input(p.o),
                                               .d_o = bounded_input(p.d_o),
                                               .row_sums = p.row_sums,
                                               .d_q_sums = d_q_sums});
}

template <class T, int head_dim>
void launch_round(HalfProblem<T>& p, simt::Global<float> d_q_sums) {
    const std::int64_t rows = p.shape.batch * p.shape.heads * p.shape.query_length;
    simt::launch({.name = "round",
                  .grid = {tiles_of(rows * kernels::kRoundThreads<head_dim>, 256)},
                  .block = {256},
                  .shared_bytes = 0,
                  .stream = nullptr},
                 kernels::round_kernel<T, head_dim>,
                 kernels::RoundParameters<T>{.problem = problem_of(p.shape),
                                             .rows = rows,
                                             .d_q_sums = d_q_sums,
                                             .d_q = bounded(p.d_q)});
}

template <class C>
void launch_query_gradient(HalfProblem<typename C::Element>& p) {
    const Shape& s = p.shape;
    simt::launch(
        launch_of<C>("query gradient", s.batch * s.heads * tiles_of(s.query_length, C::query_tile)),
        kernels::query_gradient_kernel<C>, backward_parameters(p));
}

template <class C>
void launch_key_gradients(HalfProblem<typename C::Element>& p,
                          simt::Global<float> d_q_sums = nullptr) {
    const Shape& s = p.shape;
    simt::launch(
        launch_of<C>("key gradients", s.batch * s.kv_heads * tiles_of(s.key_length, C::key_tile)),
        kernels::key_gradients_kernel<C>, backward_parameters(p, d_q_sums));
}

}  // namespace isoflop::test
