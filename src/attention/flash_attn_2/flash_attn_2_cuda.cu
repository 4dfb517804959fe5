// Checks of arguments and launches of the kernels beside this file, one instance of each for every
// head_dim and element type.
#include "attention/flash_attn_2/flash_attn_2_cuda.hpp"

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "attention/flash_attn_2/forward_kernel.hpp"
#include "attention/flash_attn_2/key_gradients_kernel.hpp"
#include "attention/flash_attn_2/row_sums_kernel.hpp"
#include "attention/flash_attn_2/tiles.hpp"

namespace isoflop::attention::flash_attn_2 {
namespace {

void require(bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument("flash_attn_2 on cuda: " + message);
}

void check_shape(const Shape& shape) {
    // Row numbers and their sums with a tile are in 32 bits, offsets in 64.
    constexpr std::int64_t longest = std::int64_t{1} << 30;
    require(shape.batch >= 0 && shape.query_length >= 0 && shape.key_length >= 0,
            "negative length");
    require(shape.query_length <= longest && shape.key_length <= longest,
            "a sequence is longer than 2^30");
    require(shape.kv_heads >= 1 && shape.heads >= 1 && shape.heads % shape.kv_heads == 0,
            std::to_string(shape.heads) + " heads cannot share " + std::to_string(shape.kv_heads) +
                " kv_heads");
    const double scale = shape.scale;
    require(scale > 0 && scale <= static_cast<double>(std::numeric_limits<float>::max()),
            "scale " + std::to_string(scale) + " is not positive and finite");
}

void check_heads(const Heads& heads, DType dtype, const char* name) {
    const std::string text = name;
    require(heads.dtype == dtype, text + " has another element type than q");
    require(heads.data != nullptr, text + " is missing");
    require(reinterpret_cast<std::uintptr_t>(heads.data) % 16 == 0,
            text + " is not aligned to 16 bytes");
    for (const std::int64_t stride : {heads.batch_stride, heads.token_stride, heads.head_stride}) {
        require(stride % kChunk == 0, "a stride of " + text + ", " + std::to_string(stride) +
                                          " elements, is no multiple of 16 bytes");
    }
}

/// fp32, `width` for each query of each head.
void check_rows(const TensorView& rows, const Shape& shape, std::int64_t width, const char* name) {
    const std::string text = name;
    require(!rows.empty(), text + " is missing");
    require(rows.dtype() == DType::float32, text + " is not float32");
    require(width == 1 || reinterpret_cast<std::uintptr_t>(rows.data()) % 16 == 0,
            text + " is not aligned to 16 bytes");
    require(rows.size() == shape.batch * shape.heads * shape.query_length * width,
            text + " has the wrong size");
}

template <class T>
TypedHeads<const T> input(const Heads& heads) {
    return {static_cast<const T*>(heads.data), heads.batch_stride, heads.token_stride,
            heads.head_stride};
}
template <class T>
TypedHeads<T> output(const Heads& heads) {
    return {static_cast<T*>(heads.data), heads.batch_stride, heads.token_stride, heads.head_stride};
}
float* floats(const TensorView& view) {
    return static_cast<float*>(view.data());
}

Problem problem_of(const Shape& shape) {
    return {.heads = static_cast<int>(shape.heads),
            .kv_heads = static_cast<int>(shape.kv_heads),
            .query_length = static_cast<int>(shape.query_length),
            .key_length = static_cast<int>(shape.key_length),
            .causal = shape.causal,
            .scale = static_cast<float>(shape.scale)};
}

std::int64_t tiles_of(std::int64_t length, int tile) {
    return (length + tile - 1) / tile;
}

simt::Dim3 grid_of(std::int64_t blocks) {
    require(blocks <= std::numeric_limits<int>::max(), "more blocks than a grid can have");
    return {static_cast<int>(blocks)};
}
template <class Config>
simt::Launch launch_of(const char* name, simt::Stream stream, std::int64_t blocks) {
    return {.name = name,
            .grid = grid_of(blocks),
            .block = {Config::threads},
            .shared_bytes = static_cast<std::size_t>(Config::shared_bytes),
            .stream = stream};
}

template <int head_dim>
struct HeadDim {
    static constexpr int value = head_dim;
};

/// Calls run(element, HeadDim) for the instance that serves this type and head_dim.
template <class T, class Run>
void with_head_dim(std::int64_t head_dim, const Run& run) {
    switch (head_dim) {
        case 32: return run(T{}, HeadDim<32>{});
        case 64: return run(T{}, HeadDim<64>{});
        case 96: return run(T{}, HeadDim<96>{});
        case 128: return run(T{}, HeadDim<128>{});
        case 256: return run(T{}, HeadDim<256>{});
        default:
            require(false,
                    "head_dim " + std::to_string(head_dim) + " is none of 32, 64, 96, 128 and 256");
    }
}
template <class Run>
void with_instance(DType dtype, std::int64_t head_dim, const Run& run) {
    require(dtype == DType::bfloat16 || dtype == DType::float16,
            "no kernel for " + std::string(to_string(dtype)) + ", only bfloat16 and float16");
    if (dtype == DType::bfloat16) return with_head_dim<simt::Bfloat16>(head_dim, run);
    with_head_dim<simt::Float16>(head_dim, run);
}

template <class T, int head_dim>
void launch_forward(simt::Stream stream, const Shape& shape, const ForwardArguments& arguments) {
    constexpr TileShape tile = tile_for(kForwardTiles, head_dim);
    using Config = ForwardConfig<T, head_dim, tile.query_tile, tile.key_tile, tile.warps>;
    static_assert(Config::shared_bytes == tile.shared_bytes);
    const std::int64_t blocks =
        shape.batch * shape.heads * tiles_of(shape.query_length, tile.query_tile);
    simt::launch(launch_of<Config>("flash_attn_2 forward", stream, blocks), forward_kernel<Config>,
                 ForwardParameters<T>{.problem = problem_of(shape),
                                      .q = input<T>(arguments.q),
                                      .k = input<T>(arguments.k),
                                      .v = input<T>(arguments.v),
                                      .o = output<T>(arguments.o),
                                      .lse = floats(arguments.lse)});
}

template <class T, int head_dim>
void launch_row_sums(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments,
                     float* d_q_sums) {
    using Config = RowSums<T, head_dim>;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length;
    simt::launch({.name = "flash_attn_2 row sums",
                  .grid = grid_of(tiles_of(rows, Config::block_rows)),
                  .block = {Config::threads},
                  .stream = stream},
                 row_sums_kernel<T, head_dim>,
                 RowSumsParameters<T>{.problem = problem_of(shape),
                                      .rows = rows,
                                      .o = input<T>(arguments.o),
                                      .d_o = input<T>(arguments.d_o),
                                      .row_sums = floats(arguments.row_sums),
                                      .d_q_sums = d_q_sums});
}

template <class T, int head_dim>
void launch_round(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments,
                  float* d_q_sums) {
    constexpr int threads = 256;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length;
    const std::int64_t blocks = tiles_of(rows * (head_dim / kChunk), threads);
    simt::launch({.name = "flash_attn_2 round",
                  .grid = grid_of(blocks),
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

template <class T, int head_dim>
BackwardParameters<T> parameters_of(const Shape& shape, const BackwardArguments& arguments,
                                    float* d_q_sums) {
    return {.problem = problem_of(shape),
            .q = input<T>(arguments.q),
            .k = input<T>(arguments.k),
            .v = input<T>(arguments.v),
            .d_o = input<T>(arguments.d_o),
            .lse = floats(arguments.lse),
            .row_sums = floats(arguments.row_sums),
            .d_q = output<T>(arguments.d_q),
            .d_k = output<T>(arguments.d_k),
            .d_v = output<T>(arguments.d_v),
            .d_q_sums = d_q_sums};
}

/// By a pass over query tiles, and one over key tiles.
template <class T, int head_dim>
void launch_backward(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments) {
    const auto parameters = parameters_of<T, head_dim>(shape, arguments, nullptr);
    if (shape.query_length > 0) {
        launch_row_sums<T, head_dim>(stream, shape, arguments, nullptr);
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
    const auto parameters = parameters_of<T, head_dim>(shape, arguments, d_q_sums);
    if (shape.query_length > 0) {
        launch_row_sums<T, head_dim>(stream, shape, arguments, d_q_sums);
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

void check_backward(const Shape& shape, const BackwardArguments& arguments) {
    const DType dtype = arguments.q.dtype;
    if (shape.query_length > 0) {
        check_heads(arguments.q, dtype, "q");
        check_heads(arguments.o, dtype, "o");
        check_heads(arguments.d_o, dtype, "d_o");
        check_heads(arguments.d_q, dtype, "d_q");
        check_rows(arguments.lse, shape, 1, "lse");
        check_rows(arguments.row_sums, shape, 1, "row_sums");
    }
    if (shape.key_length > 0) {
        check_heads(arguments.k, dtype, "k");
        check_heads(arguments.v, dtype, "v");
        check_heads(arguments.d_k, dtype, "d_k");
        check_heads(arguments.d_v, dtype, "d_v");
    }
}

}  // namespace

void forward(simt::Stream stream, const Shape& shape, const ForwardArguments& arguments) {
    check_shape(shape);
    if (shape.batch == 0 || shape.query_length == 0) return;
    const DType dtype = arguments.q.dtype;
    check_heads(arguments.q, dtype, "q");
    check_heads(arguments.o, dtype, "o");
    if (shape.key_length > 0) {
        check_heads(arguments.k, dtype, "k");
        check_heads(arguments.v, dtype, "v");
    }
    check_rows(arguments.lse, shape, 1, "lse");
    with_instance(dtype, shape.head_dim, [&](auto element, auto head_dim) {
        launch_forward<decltype(element), decltype(head_dim)::value>(stream, shape, arguments);
    });
}

void backward(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments) {
    check_shape(shape);
    if (shape.batch == 0) return;
    check_backward(shape, arguments);
    with_instance(arguments.q.dtype, shape.head_dim, [&](auto element, auto head_dim) {
        launch_backward<decltype(element), decltype(head_dim)::value>(stream, shape, arguments);
    });
}

void backward_with_atomics(simt::Stream stream, const Shape& shape,
                           const BackwardArguments& arguments, const TensorView& d_q_sums) {
    check_shape(shape);
    if (shape.batch == 0) return;
    check_backward(shape, arguments);
    if (shape.query_length > 0) check_rows(d_q_sums, shape, shape.head_dim, "d_q_sums");
    with_instance(arguments.q.dtype, shape.head_dim, [&](auto element, auto head_dim) {
        launch_atomic_backward<decltype(element), decltype(head_dim)::value>(
            stream, shape, arguments, floats(d_q_sums));
    });
}

}  // namespace isoflop::attention::flash_attn_2
