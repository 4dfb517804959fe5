// Fused attention in the loop order of the first FlashAttention (Dao 2022, arXiv 2205.14135,
// algorithms 1 and 4): keys outside, queries inside. A block of keys stays in cache while the tiles
// of queries pass; their outputs, maxima and sums wait in memory for the next block of keys.
//
// Forward runs one task per batch, head and chunk of queries, backward one task per batch and
// key/value head.
#include "attention/arguments.hpp"
#include "attention/backends_cpu.hpp"
#include "attention/cpu/backward_block.hpp"
#include "attention/cpu/forward_tile.hpp"

namespace isoflop::attention {
namespace {

inline constexpr std::int64_t kQueryChunk = 16 * kQueryTile;
inline constexpr std::int64_t kKeyBlock = 512;

template <class T>
void forward_chunk(const Shape& shape, const ForwardArguments& arguments, std::int64_t batch,
                   std::int64_t head, std::int64_t first_query, IssuedProducts& issued) {
    Scratch scratch(ForwardTile<T>::scratch_bytes(shape.head_dim) +
                    2 * Scratch::size<T>(kQueryChunk));
    ForwardTile<T> tile(tile_kernels<T>(), shape, scratch);
    T* maxima = scratch.take<T>(kQueryChunk);
    T* sums = scratch.take<T>(kQueryChunk);
    const std::int64_t kv_head = kv_head_of(shape, head);
    const HeadRows<T> q = head_rows<T>(arguments.q, batch, head);
    const HeadRows<T> k = head_rows<T>(arguments.k, batch, kv_head);
    const HeadRows<T> v = head_rows<T>(arguments.v, batch, kv_head);
    const HeadRows<T> o = head_rows<T>(arguments.o, batch, head);
    T* lse = arguments.lse.as<T>().data() + row_index(shape, batch, head, 0);
    const std::int64_t end = std::min(first_query + kQueryChunk, shape.query_length);
    const auto first_block = [&](std::int64_t query) {
        return key_start(shape, query) / kKeyBlock * kKeyBlock;
    };
    // At least one block, so that queries without keys are written too.
    const std::int64_t first = first_block(first_query);
    for (std::int64_t key = first; key == first || key < key_limit(shape, end - 1);
         key += kKeyBlock) {
        for (std::int64_t query = first_query; query < end; query += kQueryTile) {
            const std::int64_t visited =
                cost::visited_keys(query, shape.query_length, shape.key_length, shape.causal);
            const std::int64_t begins = first_block(query);
            if (key < begins || (key > begins && key >= visited)) continue;
            const std::int64_t start = std::max(key, key_start(shape, query));
            const std::int64_t saved = query - first_query;
            tile.start(q, query);
            if (key > begins) tile.restore(o, maxima + saved, sums + saved);
            tile.attend(k, v, start, std::min(visited, key + kKeyBlock) - start);
            if (key + kKeyBlock < visited) {
                tile.save(o, maxima + saved, sums + saved);
            } else {
                tile.finish(o, lse + query);
            }
        }
    }
    issued.add(tile.issued());
}

template <class T>
void forward_all(Context& context, const Shape& shape, const ForwardArguments& arguments,
                 IssuedProducts& issued) {
    const std::int64_t chunks = round_up(shape.query_length, kQueryChunk) / kQueryChunk;
    const std::int64_t all_heads = shape.batch * shape.heads;
    context.pool.parallel_for(all_heads * chunks, [&](std::int64_t task) {
        const std::int64_t chunk = chunks - 1 - task / all_heads;  // the heaviest first
        const std::int64_t batch = task % all_heads / shape.heads;
        const std::int64_t head = task % all_heads % shape.heads;
        forward_chunk<T>(shape, arguments, batch, head, chunk * kQueryChunk, issued);
    });
}

template <class T>
void backward_all(Context& context, const Shape& shape, const BackwardArguments& arguments,
                  IssuedProducts& issued) {
    prepare_backward<T>(context, shape, arguments);
    const std::int64_t size = backward_block_size(shape.head_dim);
    context.pool.parallel_for(shape.batch * shape.kv_heads, [&](std::int64_t task) {
        BlockPosition block{.batch = task / shape.kv_heads, .kv_head = task % shape.kv_heads};
        for (block.first_key = 0; block.first_key < shape.key_length; block.first_key += size) {
            for (block.first_query = 0; block.first_query < shape.query_length;
                 block.first_query += size) {
                if (!block_is_visited(shape, block.first_query, block.first_key)) continue;
                backward_block<T>(shape, arguments, block, issued);
            }
        }
    });
}

struct SdpaCpu {
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

std::unique_ptr<Backend> make_sdpa_cpu() {
    return std::make_unique<CpuBackend<cost::AttentionBackend::sdpa, SdpaCpu>>();
}

}  // namespace isoflop::attention
