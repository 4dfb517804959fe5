// FlashAttention-2 on the CPU (Dao 2023, arXiv 2307.08691).
//
// Forward: one task per batch, head and tile of queries; the tile's outputs stay in cache while
// keys pass. Backward: one task per block of queries x keys. Blocks of one (batch, kv_head) are cut
// into n x n; step t runs the blocks (query block, key block) = (j + t mod n, j) for all j at once.
// No two of them share queries or keys, so nothing is added by two threads, no atomics and no
// second copy of a gradient are needed, and since the steps follow each other, every gradient is
// summed in the same order for any number of threads.
#include <vector>

#include "attention/arguments.hpp"
#include "attention/backends_cpu.hpp"
#include "attention/cpu/backward_block.hpp"
#include "attention/cpu/forward_tile.hpp"

namespace isoflop::attention {
namespace {

template <class T>
void forward_query_tile(const Shape& shape, const ForwardArguments& arguments, std::int64_t batch,
                        std::int64_t head, std::int64_t first_query, IssuedProducts& issued) {
    Scratch scratch(ForwardTile<T>::scratch_bytes(shape.head_dim));
    ForwardTile<T> tile(tile_kernels<T>(), shape, scratch);
    tile.start(head_rows<T>(arguments.q, batch, head), first_query);
    const std::int64_t kv_head = kv_head_of(shape, head);
    const std::int64_t start = key_start(shape, first_query);
    const std::int64_t end =
        cost::visited_keys(first_query, shape.query_length, shape.key_length, shape.causal);
    tile.attend(head_rows<T>(arguments.k, batch, kv_head),
                head_rows<T>(arguments.v, batch, kv_head), start, end - start);
    tile.finish(head_rows<T>(arguments.o, batch, head),
                arguments.lse.as<T>().data() + row_index(shape, batch, head, first_query));
    issued.add(tile.issued());
}

template <class T>
void forward_all(Context& context, const Shape& shape, const ForwardArguments& arguments,
                 IssuedProducts& issued) {
    const std::int64_t tiles = round_up(shape.query_length, kQueryTile) / kQueryTile;
    const std::int64_t all_heads = shape.batch * shape.heads;
    context.pool.parallel_for(all_heads * tiles, [&](std::int64_t task) {
        // The last tiles see the most keys: they start first, so that threads finish together.
        const std::int64_t tile = tiles - 1 - task / all_heads;
        const std::int64_t batch = task % all_heads / shape.heads;
        const std::int64_t head = task % all_heads % shape.heads;
        forward_query_tile<T>(shape, arguments, batch, head, tile * kQueryTile, issued);
    });
}

/// The blocks of step `step`, of every batch and key/value head.
std::vector<BlockPosition> blocks_of_step(const Shape& shape, std::int64_t side,
                                          std::int64_t step) {
    const std::int64_t size = backward_block_size(shape.head_dim);
    std::vector<BlockPosition> blocks;
    for (std::int64_t j = 0; j < side; ++j) {
        const std::int64_t first_query = (j + step) % side * size;
        const std::int64_t first_key = j * size;
        if (!block_is_visited(shape, first_query, first_key)) continue;
        for (std::int64_t batch = 0; batch < shape.batch; ++batch) {
            for (std::int64_t kv_head = 0; kv_head < shape.kv_heads; ++kv_head) {
                blocks.push_back({batch, kv_head, first_query, first_key});
            }
        }
    }
    return blocks;
}

template <class T>
void backward_all(Context& context, const Shape& shape, const BackwardArguments& arguments,
                  IssuedProducts& issued) {
    prepare_backward<T>(context, shape, arguments);
    const std::int64_t size = backward_block_size(shape.head_dim);
    const std::int64_t side = round_up(std::max(shape.query_length, shape.key_length), size) / size;
    for (std::int64_t step = 0; step < side; ++step) {
        const std::vector<BlockPosition> blocks = blocks_of_step(shape, side, step);
        context.pool.parallel_for(static_cast<std::int64_t>(blocks.size()), [&](std::int64_t task) {
            backward_block<T>(shape, arguments, blocks[static_cast<std::size_t>(task)], issued);
        });
    }
}

struct FlashAttention2Cpu {
    template <class T>
    static void forward(Context& context, const Shape& shape, const ForwardArguments& arguments,
                        IssuedProducts& issued) {
        forward_all<T>(context, shape, arguments, issued);
    }
    template <class T>
    static void backward(Context& context, const Shape& shape, const BackwardArguments& arguments,
                         IssuedProducts& issued) {
        backward_all<T>(context, shape, arguments, issued);
    }
};

}  // namespace

std::unique_ptr<Backend> make_flash_attn_2_cpu() {
    return std::make_unique<CpuBackend<cost::AttentionBackend::flash_attn_2, FlashAttention2Cpu>>();
}

}  // namespace isoflop::attention
