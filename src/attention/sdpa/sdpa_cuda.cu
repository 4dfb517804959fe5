// Launches of the kernels beside this file, one instance of each for every head_dim and element
// type.
#include "attention/sdpa/sdpa_cuda.hpp"

#include <algorithm>

#include "attention/sdpa/backward_kernel.hpp"
#include "attention/sdpa/block_shapes.hpp"
#include "attention/sdpa/forward_kernel.hpp"
#include "attention/tensor_cores/launch.hpp"

namespace isoflop::attention::sdpa {
namespace {

constexpr const char* kName = "sdpa";

/// Calls run(first block, blocks) for as many blocks at a time as the scratch memory holds.
template <class Run>
void in_parts(std::int64_t blocks, std::uint64_t block_bytes, const ScratchMemory& scratch,
              const Run& run) {
    require(kName, blocks <= std::numeric_limits<int>::max(), "more blocks than a grid can have");
    const auto fit =
        static_cast<std::int64_t>(scratch.bytes / std::max(block_bytes, std::uint64_t{1}));
    const auto mebibytes = [](std::uint64_t bytes) {
        constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
        return std::to_string((bytes + mebibyte - 1) / mebibyte) + " MiB";
    };
    require(kName, fit >= 1,
            "the sums of one block take " + mebibytes(block_bytes) + ", scratch memory has " +
                mebibytes(scratch.bytes));
    for (std::int64_t first = 0; first < blocks; first += fit) {
        run(static_cast<int>(first), std::min(fit, blocks - first));
    }
}

template <class T, int head_dim>
void launch_forward(simt::Stream stream, const Shape& shape, const ForwardArguments& arguments,
                    const ScratchMemory& scratch) {
    constexpr TileShape tile = tile_for(kForwardTiles, head_dim);
    using Config = ForwardConfig<T, head_dim, tile.query_tile, tile.key_tile, tile.warps>;
    static_assert(Config::shared_bytes == tile.shared_bytes);
    const std::int64_t blocks =
        shape.batch * shape.heads * tiles_of(shape.query_length, Config::chunk);
    in_parts(
        blocks, Config::block_floats * sizeof(float), scratch, [&](int first, std::int64_t count) {
            simt::launch(launch_of<Config>("sdpa forward", stream, count), forward_kernel<Config>,
                         ForwardPart<T>{.arguments = parameters_of<T>(shape, arguments),
                                        .first_block = first,
                                        .waiting = reinterpret_cast<float*>(scratch.data)});
        });
}

template <class T, int head_dim, KeyGradients results>
void launch_key_tiles(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments,
                      const ScratchMemory& scratch) {
    constexpr TileShape tile = tile_for(kBackwardTiles, head_dim);
    using Config = BackwardConfig<T, head_dim, tile.query_tile, tile.key_tile, tile.warps, results>;
    static_assert(Config::shared_bytes == tile.shared_bytes);
    const auto block_floats = static_cast<std::uint64_t>(
        shape.heads / shape.kv_heads * tiles_of(shape.query_length, Config::query_tile) *
        Config::tile_floats);
    in_parts(shape.batch * shape.kv_heads, Config::of_keys ? block_floats * sizeof(float) : 0,
             scratch, [&](int first, std::int64_t count) {
                 simt::launch(launch_of<Config>("sdpa backward", stream, count),
                              backward_kernel<Config>,
                              BackwardPart<T>{.arguments = parameters_of<T>(shape, arguments),
                                              .first_block = first,
                                              .waiting = reinterpret_cast<float*>(scratch.data)});
             });
}

template <class T, int head_dim>
void launch_backward(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments,
                     const ScratchMemory& scratch) {
    if (shape.query_length > 0)
        launch_row_sums<T, head_dim>("sdpa row sums", stream, shape, arguments);
    if constexpr (head_dim <= 128) {
        launch_key_tiles<T, head_dim, KeyGradients::both>(stream, shape, arguments, scratch);
    } else {
        launch_key_tiles<T, head_dim, KeyGradients::of_values>(stream, shape, arguments, scratch);
        launch_key_tiles<T, head_dim, KeyGradients::of_keys>(stream, shape, arguments, scratch);
    }
}

}  // namespace

void forward(simt::Stream stream, const Shape& shape, const ForwardArguments& arguments,
             const ScratchMemory& scratch) {
    check_arguments(kName, shape, arguments);
    if (shape.batch == 0 || shape.query_length == 0) return;
    with_instance(kName, arguments.q.dtype, shape.head_dim, [&](auto element, auto head_dim) {
        launch_forward<decltype(element), decltype(head_dim)::value>(stream, shape, arguments,
                                                                     scratch);
    });
}

void backward(simt::Stream stream, const Shape& shape, const BackwardArguments& arguments,
              const ScratchMemory& scratch) {
    check_arguments(kName, shape, arguments);
    if (shape.batch == 0) return;
    with_instance(kName, arguments.q.dtype, shape.head_dim, [&](auto element, auto head_dim) {
        launch_backward<decltype(element), decltype(head_dim)::value>(stream, shape, arguments,
                                                                      scratch);
    });
}

}  // namespace isoflop::attention::sdpa
