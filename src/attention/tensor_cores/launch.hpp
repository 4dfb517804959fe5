// From the arguments of a backend to launches: checks that name what cannot run, tensors as kernels
// want them, and the instance that serves an element type and head_dim. `backend` begins messages.
#pragma once

#include <cstdint>
#include <limits>
#include <stdexcept>
#include <string>

#include "attention/tensor_cores/row_sums_kernel.hpp"
#include "isoflop/attention/attention.hpp"

namespace isoflop::attention::tensor_cores {

inline void require(const char* backend, bool condition, const std::string& message) {
    if (!condition) throw std::invalid_argument(std::string(backend) + " on cuda: " + message);
}

inline void check_shape(const char* backend, const Shape& shape) {
    // Row numbers and their sums with a tile are in 32 bits, offsets in 64.
    constexpr std::int64_t longest = std::int64_t{1} << 30;
    require(backend, shape.batch >= 0 && shape.query_length >= 0 && shape.key_length >= 0,
            "negative length");
    require(backend, shape.query_length <= longest && shape.key_length <= longest,
            "a sequence is longer than 2^30");
    require(backend, shape.kv_heads >= 1 && shape.heads >= 1 && shape.heads % shape.kv_heads == 0,
            std::to_string(shape.heads) + " heads cannot share " + std::to_string(shape.kv_heads) +
                " kv_heads");
    require(backend, shape.window >= 0 && (shape.window == 0 || shape.causal),
            "a window of " + std::to_string(shape.window) + " keys is negative or not causal");
    require(backend, shape.soft_cap == 0, "no kernel has a soft cap of scores");
    const double scale = shape.scale;
    require(backend, scale > 0 && scale <= static_cast<double>(std::numeric_limits<float>::max()),
            "scale " + std::to_string(scale) + " is not positive and finite");
}

inline void check_heads(const char* backend, const Heads& heads, DType dtype, const char* name) {
    const std::string text = name;
    require(backend, heads.dtype == dtype, text + " has another element type than q");
    require(backend, heads.data != nullptr, text + " is missing");
    require(backend, reinterpret_cast<std::uintptr_t>(heads.data) % 16 == 0,
            text + " is not aligned to 16 bytes");
    for (const std::int64_t stride : {heads.batch_stride, heads.token_stride, heads.head_stride}) {
        require(backend, stride % kChunk == 0,
                "a stride of " + text + ", " + std::to_string(stride) +
                    " elements, is no multiple of 16 bytes");
    }
}

/// fp32, `width` for each query of each head.
inline void check_rows(const char* backend, const TensorView& rows, const Shape& shape,
                       std::int64_t width, const char* name) {
    const std::string text = name;
    require(backend, !rows.empty(), text + " is missing");
    require(backend, rows.dtype() == DType::float32, text + " is not float32");
    require(backend, width == 1 || reinterpret_cast<std::uintptr_t>(rows.data()) % 16 == 0,
            text + " is not aligned to 16 bytes");
    require(backend, rows.size() == shape.batch * shape.heads * shape.query_length * width,
            text + " has the wrong size");
}

/// What is empty needs no memory.
inline void check_arguments(const char* backend, const Shape& shape,
                            const ForwardArguments& arguments) {
    check_shape(backend, shape);
    if (shape.batch == 0 || shape.query_length == 0) return;
    const DType dtype = arguments.q.dtype;
    check_heads(backend, arguments.q, dtype, "q");
    check_heads(backend, arguments.o, dtype, "o");
    if (shape.key_length > 0) {
        check_heads(backend, arguments.k, dtype, "k");
        check_heads(backend, arguments.v, dtype, "v");
    }
    check_rows(backend, arguments.lse, shape, 1, "lse");
}

inline void check_arguments(const char* backend, const Shape& shape,
                            const BackwardArguments& arguments) {
    check_shape(backend, shape);
    if (shape.batch == 0) return;
    const DType dtype = arguments.q.dtype;
    if (shape.query_length > 0) {
        check_heads(backend, arguments.q, dtype, "q");
        check_heads(backend, arguments.o, dtype, "o");
        check_heads(backend, arguments.d_o, dtype, "d_o");
        check_heads(backend, arguments.d_q, dtype, "d_q");
        check_rows(backend, arguments.lse, shape, 1, "lse");
        check_rows(backend, arguments.row_sums, shape, 1, "row_sums");
    }
    if (shape.key_length > 0) {
        check_heads(backend, arguments.k, dtype, "k");
        check_heads(backend, arguments.v, dtype, "v");
        check_heads(backend, arguments.d_k, dtype, "d_k");
        check_heads(backend, arguments.d_v, dtype, "d_v");
    }
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
inline float* floats(const TensorView& view) {
    return static_cast<float*>(view.data());
}

inline Problem problem_of(const Shape& shape) {
    return {.heads = static_cast<int>(shape.heads),
            .kv_heads = static_cast<int>(shape.kv_heads),
            .query_length = static_cast<int>(shape.query_length),
            .key_length = static_cast<int>(shape.key_length),
            .causal = shape.causal,
            .scale = static_cast<float>(shape.scale),
            .window = shape.window < shape.key_length ? static_cast<int>(shape.window) : 0};
}

template <class T>
ForwardParameters<T> parameters_of(const Shape& shape, const ForwardArguments& arguments) {
    return {.problem = problem_of(shape),
            .q = input<T>(arguments.q),
            .k = input<T>(arguments.k),
            .v = input<T>(arguments.v),
            .o = output<T>(arguments.o),
            .lse = floats(arguments.lse)};
}
template <class T>
BackwardParameters<T> parameters_of(const Shape& shape, const BackwardArguments& arguments,
                                    float* d_q_sums = nullptr) {
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

inline simt::Dim3 grid_of(const char* backend, std::int64_t blocks) {
    require(backend, blocks <= std::numeric_limits<int>::max(), "more blocks than a grid can have");
    return {static_cast<int>(blocks)};
}
/// `name` begins with that of the backend.
template <class Config>
simt::Launch launch_of(const char* name, simt::Stream stream, std::int64_t blocks) {
    return {.name = name,
            .grid = grid_of(name, blocks),
            .block = {Config::threads},
            .shared_bytes = static_cast<std::size_t>(Config::shared_bytes),
            .stream = stream};
}

inline std::int64_t tiles_of(std::int64_t length, int tile) {
    return (length + tile - 1) / tile;
}

template <int head_dim>
struct HeadDim {
    static constexpr int value = head_dim;
};

/// Calls run(element, HeadDim) for the instance that serves this type and head_dim.
template <class T, class Run>
void with_head_dim(const char* backend, std::int64_t head_dim, const Run& run) {
    switch (head_dim) {
        case 32: return run(T{}, HeadDim<32>{});
        case 64: return run(T{}, HeadDim<64>{});
        case 96: return run(T{}, HeadDim<96>{});
        case 128: return run(T{}, HeadDim<128>{});
        case 256: return run(T{}, HeadDim<256>{});
        default:
            require(backend, false,
                    "head_dim " + std::to_string(head_dim) + " is none of 32, 64, 96, 128 and 256");
    }
}
template <class Run>
void with_instance(const char* backend, DType dtype, std::int64_t head_dim, const Run& run) {
    require(backend, dtype == DType::bfloat16 || dtype == DType::float16,
            "no kernel for " + std::string(to_string(dtype)) + ", only bfloat16 and float16");
    if (dtype == DType::bfloat16) return with_head_dim<simt::Bfloat16>(backend, head_dim, run);
    with_head_dim<simt::Float16>(backend, head_dim, run);
}

/// Also clears d_q_sums, unless null.
template <class T, int head_dim>
void launch_row_sums(const char* name, simt::Stream stream, const Shape& shape,
                     const BackwardArguments& arguments, float* d_q_sums = nullptr) {
    using Config = RowSums<T, head_dim>;
    const std::int64_t rows = shape.batch * shape.heads * shape.query_length;
    simt::launch(launch_of<Config>(name, stream, tiles_of(rows, Config::block_rows)),
                 row_sums_kernel<T, head_dim>,
                 RowSumsParameters<T>{.problem = problem_of(shape),
                                      .rows = rows,
                                      .o = input<T>(arguments.o),
                                      .d_o = input<T>(arguments.d_o),
                                      .row_sums = floats(arguments.row_sums),
                                      .d_q_sums = d_q_sums});
}

}  // namespace isoflop::attention::tensor_cores
