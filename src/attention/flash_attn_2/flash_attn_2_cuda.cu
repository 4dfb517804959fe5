// Checks of arguments and launches of the kernels beside this file, one instance of each for every
// head_dim and element type.
#include "attention/flash_attn_2/flash_attn_2_cuda.hpp"

#include "attention/flash_attn_2/block_shapes.hpp"
#include "attention/flash_attn_2/forward_kernel.hpp"
#include "attention/flash_attn_2/key_gradients_kernel.hpp"
#include "attention/flash_attn_2/query_gradient_kernel.hpp"
#include "attention/tensor_cores/launch.hpp"

namespace isoflop::attention::flash_attn_2 {
namespace {

constexpr const char* kName = "flash_attn_2";

template <class T, int head_dim>
void launch_forward(simt::Stream stream, const Shape& shape, const ForwardArguments& arguments) {
    constexpr TileShape tile = tile_for(kForwardTiles, head_dim);
    using Config = ForwardConfig<T, head_dim, tile.query_tile, tile.key_tile, tile.warps>;
    static_assert(Config::shared_bytes == tile.shared_bytes);
    const std::int64_t blocks =
        shape.batch * shape.heads * tiles_of(shape.query_length, tile.query_tile);
    simt::launch(launch_of<Config>("flash_attn_2 forward", stream, blocks), forward_kernel<Config>,
                 parameters_of<T>(shape, arguments));
}

template <class T, int head_dim>
void launch_round(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments,
                  float* d_q_sums) {
    constexpr int threads = 256;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length;
    const std::int64_t blocks = tiles_of(rows * kRoundThreads<head_dim>, threads);
    simt::launch({.name = "flash_attn_2 round",
                  .grid = grid_of(kName, blocks),
                  .block = {threads},
                  .stream = stream},
                 round_kernel<T, head_dim>,
                 RoundParameters<T>{.problem = problem_of(shape),
                                    .rows = rows,
                                    .d_q_sums = d_q_sums,
                                    .d_q = output<T>(arguments.d_q)});
}

template <class T, int head_dim>
void launch_query_gradient(simt::Stream stream, const Shape& shape,
                           const BackwardParameters<T>& parameters) {
    constexpr TileShape tile = tile_for(kQueryGradientTiles, head_dim);
    using Config = QueryGradientConfig<T, head_dim, tile.query_tile, tile.key_tile, tile.warps>;
    static_assert(Config::shared_bytes == tile.shared_bytes);
    const std::int64_t blocks =
        shape.batch * shape.heads * tiles_of(shape.query_length, tile.query_tile);
    simt::launch(launch_of<Config>("flash_attn_2 query gradient", stream, blocks),
                 query_gradient_kernel<Config>, parameters);
}

template <class T, int head_dim, KeyGradients results>
void launch_key_gradients(simt::Stream stream, const Shape& shape,
                          const BackwardParameters<T>& parameters) {
    constexpr bool atomic =
        results == KeyGradients::both_and_queries || results == KeyGradients::of_keys_and_queries;
    constexpr TileShape tile = tile_for(atomic ? kAtomicTiles : kKeyGradientTiles, head_dim);
    using Config =
        KeyGradientsConfig<T, head_dim, tile.query_tile, tile.key_tile, tile.warps, results>;
    static_assert(Config::shared_bytes <= tile.shared_bytes);  // d_v alone takes less
    const std::int64_t blocks =
        shape.batch * shape.kv_heads * tiles_of(shape.key_length, tile.key_tile);
    simt::launch(launch_of<Config>("flash_attn_2 key gradients", stream, blocks),
                 key_gradients_kernel<Config>, parameters);
}

/// By a pass over query tiles, and one over key tiles.
template <class T, int head_dim>
void launch_backward(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments) {
    const auto parameters = parameters_of<T>(shape, arguments);
    if (shape.query_length > 0) {
        launch_row_sums<T, head_dim>("flash_attn_2 row sums", stream, shape, arguments);
        launch_query_gradient<T, head_dim>(stream, shape, parameters);
    }
    if (shape.key_length == 0) return;
    if constexpr (head_dim <= 128) {
        launch_key_gradients<T, head_dim, KeyGradients::both>(stream, shape, parameters);
    } else {
        launch_key_gradients<T, head_dim, KeyGradients::of_values>(stream, shape, parameters);
        launch_key_gradients<T, head_dim, KeyGradients::of_keys>(stream, shape, parameters);
    }
}

/// By one pass over key tiles.
template <class T, int head_dim>
void launch_atomic_backward(simt::Stream stream, const Shape& shape,
                            const BackwardArguments& arguments, float* d_q_sums) {
    const auto parameters = parameters_of<T>(shape, arguments, d_q_sums);
    if (shape.query_length > 0) {
        launch_row_sums<T, head_dim>("flash_attn_2 row sums", stream, shape, arguments, d_q_sums);
    }
    if (shape.key_length > 0) {
        if constexpr (head_dim <= 128) {
            launch_key_gradients<T, head_dim, KeyGradients::both_and_queries>(stream, shape,
                                                                              parameters);
        } else {
            launch_key_gradients<T, head_dim, KeyGradients::of_values>(stream, shape, parameters);
            launch_key_gradients<T, head_dim, KeyGradients::of_keys_and_queries>(stream, shape,
                                                                                 parameters);
        }
    }
    if (shape.query_length > 0) {
        launch_round<T, head_dim>(stream, shape, arguments, d_q_sums);
    }
}

}  // namespace

void forward(simt::Stream stream, const Shape& shape, const ForwardArguments& arguments) {
    check_arguments(kName, shape, arguments);
    if (shape.batch == 0 || shape.query_length == 0) return;
    with_instance(kName, arguments.q.dtype, shape.head_dim, [&](auto element, auto head_dim) {
        launch_forward<decltype(element), decltype(head_dim)::value>(stream, shape, arguments);
    });
}

void backward(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments) {
    check_arguments(kName, shape, arguments);
    if (shape.batch == 0) return;
    with_instance(kName, arguments.q.dtype, shape.head_dim, [&](auto element, auto head_dim) {
        launch_backward<decltype(element), decltype(head_dim)::value>(stream, shape, arguments);
    });
}

void backward_with_atomics(simt::Stream stream, const Shape& shape,
                           const BackwardArguments& arguments, const TensorView& d_q_sums) {
    check_arguments(kName, shape, arguments);
    if (shape.batch == 0) return;
    if (shape.query_length > 0) check_rows(kName, d_q_sums, shape, shape.head_dim, "d_q_sums");
    with_instance(kName, arguments.q.dtype, shape.head_dim, [&](auto element, auto head_dim) {
        launch_atomic_backward<decltype(element), decltype(head_dim)::value>(
            stream, shape, arguments, floats(d_q_sums));
    });
}

}  // namespace isoflop::attention::flash_attn_2
