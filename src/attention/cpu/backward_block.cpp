#include "attention/cpu/backward_block.hpp"

#include <limits>

#include "attention/cpu/tile_mask.hpp"

namespace isoflop::attention {
namespace {

/// Copies rows into a dense array of `width` >= columns elements per row, zero beyond the columns.
template <class T>
void copy_rows(std::int64_t rows, std::int64_t columns, const HeadRows<T>& from, std::int64_t first,
               T* to, std::int64_t width) {
    for (std::int64_t row = 0; row < rows; ++row) {
        T* target = std::copy_n(from.row(first + row), columns, to + row * width);
        std::fill_n(target, width - columns, T(0));
    }
}

/// One block at work. Tiles are stored as in tile_kernels.hpp.
template <class T>
class Block {
public:
    Block(const Shape& shape, const BackwardArguments& arguments, const BlockPosition& position,
          Scratch scratch)
        : kernels_(tile_kernels<T>()),
          shape_(shape),
          arguments_(arguments),
          position_(position),
          block_size_(backward_block_size(shape.head_dim)),
          keys_(std::min(block_size_, shape.key_length - position.first_key)),
          width_(round_up(shape.head_dim, kernels_.lanes)),
          mask_(scratch) {
        take_tiles(scratch);
    }
    [[nodiscard]] static std::int64_t scratch_bytes(const Shape& shape) {
        const std::int64_t width = round_up(shape.head_dim, tile_kernels<T>().lanes);
        return 5 * Scratch::size<T>(width * kQueryTile) +
               (shape.soft_cap > 0 ? 3 : 2) * Scratch::size<T>(kKeyTile * kQueryTile) +
               4 * Scratch::size<T>(backward_block_size(shape.head_dim) * width) +
               2 * Scratch::size<T>(kQueryTile) + TileMask<T>::scratch_bytes();
    }

    [[nodiscard]] const ProductCount& issued() const { return issued_; }

    void run() {
        load_keys();
        const std::int64_t group = shape_.heads / shape_.kv_heads;
        const std::int64_t end = std::min(position_.first_query + block_size_, shape_.query_length);
        for (std::int64_t in_group = 0; in_group < group; ++in_group) {
            const std::int64_t head = position_.kv_head * group + in_group;
            for (std::int64_t query = position_.first_query; query < end; query += kQueryTile) {
                const std::int64_t visited = cost::visited_keys(query, shape_.query_length,
                                                                shape_.key_length, shape_.causal);
                const std::int64_t start =
                    std::max<std::int64_t>(key_start(shape_, query) - position_.first_key, 0);
                const std::int64_t keys = std::min(visited - position_.first_key, keys_);
                if (keys > start) query_tile(head, query, start, keys);
            }
        }
        store_key_gradients();
    }

private:
    void take_tiles(Scratch& scratch) {
        q_transposed_ = scratch.take<T>(width_ * kQueryTile);
        d_o_transposed_ = scratch.take<T>(width_ * kQueryTile);
        d_q_transposed_ = scratch.take<T>(width_ * kQueryTile);
        q_ = scratch.take<T>(width_ * kQueryTile);
        d_o_ = scratch.take<T>(width_ * kQueryTile);
        probabilities_ = scratch.take<T>(kKeyTile * kQueryTile);
        d_scores_ = scratch.take<T>(kKeyTile * kQueryTile);
        k_ = scratch.take<T>(block_size_ * width_);
        v_ = scratch.take<T>(block_size_ * width_);
        d_k_ = scratch.take<T>(block_size_ * width_);
        d_v_ = scratch.take<T>(block_size_ * width_);
        lse2_ = scratch.take<T>(kQueryTile);
        row_sums_ = scratch.take<T>(kQueryTile);
        if (shape_.soft_cap > 0) slopes_ = scratch.take<T>(kKeyTile * kQueryTile);
    }

    [[nodiscard]] HeadRows<T> kv_rows(const Heads& heads) const {
        return head_rows<T>(heads, position_.batch, position_.kv_head);
    }

    void load_keys() {
        const std::int64_t first = position_.first_key;
        copy_rows(keys_, shape_.head_dim, kv_rows(arguments_.k), first, k_, width_);
        copy_rows(keys_, shape_.head_dim, kv_rows(arguments_.v), first, v_, width_);
        copy_rows(keys_, shape_.head_dim, kv_rows(arguments_.d_k), first, d_k_, width_);
        copy_rows(keys_, shape_.head_dim, kv_rows(arguments_.d_v), first, d_v_, width_);
    }

    void store_key_gradients() const {
        const HeadRows<T> d_k = kv_rows(arguments_.d_k);
        const HeadRows<T> d_v = kv_rows(arguments_.d_v);
        for (std::int64_t key = 0; key < keys_; ++key) {
            std::copy_n(d_k_ + key * width_, shape_.head_dim, d_k.row(position_.first_key + key));
            std::copy_n(d_v_ + key * width_, shape_.head_dim, d_v.row(position_.first_key + key));
        }
    }

    /// One tile of queries of one head against the keys [start, keys) of the block.
    void query_tile(std::int64_t head, std::int64_t first_query, std::int64_t start,
                    std::int64_t keys) {
        first_query_ = first_query;
        load_queries(head);
        std::fill_n(d_q_transposed_, shape_.head_dim * kQueryTile, T(0));
        for (std::int64_t key = start; key < keys; key += kKeyTile) {
            key_tile(key, std::min(kKeyTile, keys - key));
        }
        const HeadRows<T> d_q = head_rows<T>(arguments_.d_q, position_.batch, head);
        kernels_.transpose_add(shape_.head_dim, queries_, d_q_transposed_, kQueryTile,
                               d_q.row(first_query), d_q.stride);
    }

    void load_queries(std::int64_t head) {
        queries_ = std::min(kQueryTile, shape_.query_length - first_query_);
        lanes_ = round_up(queries_, kernels_.lanes);
        const HeadRows<T> q = head_rows<T>(arguments_.q, position_.batch, head);
        const HeadRows<T> d_o = head_rows<T>(arguments_.d_o, position_.batch, head);
        const T scale = static_cast<T>(shape_.scale);
        if (queries_ < lanes_) {
            std::fill_n(q_transposed_, width_ * kQueryTile, T(0));
            std::fill_n(d_o_transposed_, width_ * kQueryTile, T(0));
        }
        // `scale` enters dS through dP and the row sums, and so both dQ and dK.
        kernels_.transpose(queries_, shape_.head_dim, q.row(first_query_), q.stride,
                           scale * kLog2E<T>, q_transposed_, kQueryTile);
        kernels_.transpose(queries_, shape_.head_dim, d_o.row(first_query_), d_o.stride, scale,
                           d_o_transposed_, kQueryTile);
        copy_rows(queries_, shape_.head_dim, q, first_query_, q_, width_);
        copy_rows(queries_, shape_.head_dim, d_o, first_query_, d_o_, width_);

        const std::int64_t row = row_index(shape_, position_.batch, head, first_query_);
        const T* lse = arguments_.lse.as<T>().data() + row;
        const T* row_sums = arguments_.row_sums.as<T>().data() + row;
        std::fill_n(lse2_, kQueryTile, std::numeric_limits<T>::infinity());
        std::fill_n(row_sums_, kQueryTile, T(0));
        for (std::int64_t lane = 0; lane < queries_; ++lane) {
            lse2_[lane] = lse[lane] * kLog2E<T>;
            row_sums_[lane] = row_sums[lane] * scale;
        }
    }

    void key_tile(std::int64_t first, std::int64_t keys) {
        const T* k = k_ + first * width_;
        const T* v = v_ + first * width_;
        issued_.scores += lane_product(keys, k, q_transposed_, probabilities_);
        issued_.values += lane_product(keys, v, d_o_transposed_, d_scores_);
        mask_.set(shape_, first_query_, lanes_, position_.first_key + first, keys);
        const bool masked = mask_.masked();
        if (slopes_ != nullptr) cap_scores_and_keep_slopes(keys);
        kernels_.backward_probabilities(keys, lanes_, masked ? mask_.limits() : nullptr, lse2_,
                                        row_sums_, probabilities_, d_scores_);
        if (masked) {
            for (T* const tile : {probabilities_, d_scores_})
                kernels_.fill_before(mask_.unseen_by_some(), lanes_, mask_.starts(), T(0), tile);
        }
        if (slopes_ != nullptr) multiply_by_slopes(keys);
        issued_.values +=
            add_key_gradient(keys, probabilities_, d_o_, d_v_ + first * width_, masked);
        issued_.scores += add_key_gradient(keys, d_scores_, q_, d_k_ + first * width_, masked);
        issued_.scores += add_query_gradient(keys, k, masked);
    }

    void cap_scores_and_keep_slopes(std::int64_t keys) const {
        const T cap = static_cast<T>(shape_.soft_cap) * kLog2E<T>;
        for (std::int64_t key = 0; key < keys; ++key) {
            T* const scores = probabilities_ + key * kQueryTile;
            cap_scores(lanes_, cap, scores);
            for (std::int64_t lane = 0; lane < lanes_; ++lane)
                slopes_[key * kQueryTile + lane] = slope_of_capped(scores[lane], cap);
        }
    }

    /// Masked gradients stay 0, even where a slope is not a number.
    void multiply_by_slopes(std::int64_t keys) const {
        for (std::int64_t key = 0; key < keys; ++key) {
            for (std::int64_t lane = 0; lane < lanes_; ++lane) {
                T& d_score = d_scores_[key * kQueryTile + lane];
                if (d_score != T(0)) d_score *= slopes_[key * kQueryTile + lane];
            }
        }
    }

    // The products return their multiply-adds.

    /// out[key][query] = rows[key] . transposed[:][query]
    std::uint64_t lane_product(std::int64_t keys, const T* rows, const T* transposed,
                               T* out) const {
        kernels_.product({.rows = keys,
                          .lanes = lanes_,
                          .depth = shape_.head_dim,
                          .a = rows,
                          .row_stride = width_,
                          .depth_stride = 1,
                          .b = transposed,
                          .b_stride = kQueryTile,
                          .c = out,
                          .c_stride = kQueryTile});
        return multiply_adds(keys, queries_, shape_.head_dim);
    }

    /// out[key] += sum over queries of tile[key][query] * rows[query]
    std::uint64_t add_key_gradient(std::int64_t keys, const T* tile, const T* rows, T* out,
                                   bool masked) const {
        if (masked && !kernels_.all_finite(queries_, width_, rows, width_)) {
            return add_visible_queries(keys, queries_, shape_.head_dim, mask_.visible(), tile, rows,
                                       width_, out, width_);
        }
        kernels_.product({.rows = keys,
                          .lanes = width_,
                          .depth = queries_,
                          .a = tile,
                          .row_stride = kQueryTile,
                          .depth_stride = 1,
                          .b = rows,
                          .b_stride = width_,
                          .c = out,
                          .c_stride = width_,
                          .accumulate = true});
        return multiply_adds(keys, shape_.head_dim, queries_);
    }

    /// dQ^T[column][query] += sum over keys of k[key][column] * dS[key][query]
    std::uint64_t add_query_gradient(std::int64_t keys, const T* k, bool masked) const {
        if (masked && !kernels_.all_finite(keys, width_, k, width_)) {
            return add_visible_keys(keys, queries_, shape_.head_dim, mask_.visible(), d_scores_, k,
                                    width_, d_q_transposed_);
        }
        kernels_.product({.rows = shape_.head_dim,
                          .lanes = lanes_,
                          .depth = keys,
                          .a = k,
                          .row_stride = 1,
                          .depth_stride = width_,
                          .b = d_scores_,
                          .b_stride = kQueryTile,
                          .c = d_q_transposed_,
                          .c_stride = kQueryTile,
                          .accumulate = true});
        return multiply_adds(shape_.head_dim, queries_, keys);
    }

    const TileKernels<T>& kernels_;
    const Shape& shape_;
    const BackwardArguments& arguments_;
    const BlockPosition& position_;
    std::int64_t block_size_;
    std::int64_t keys_;
    std::int64_t width_;  ///< head_dim padded to whole vectors: row length of the dense copies
    TileMask<T> mask_;
    std::int64_t first_query_ = 0;
    std::int64_t queries_ = 0;
    std::int64_t lanes_ = 0;
    T *q_transposed_, *d_o_transposed_, *d_q_transposed_;  // [head_dim][kQueryTile]
    T *q_, *d_o_;                                          // [kQueryTile][width]
    T *probabilities_, *d_scores_;                         // [kKeyTile][kQueryTile]
    T *k_, *v_, *d_k_, *d_v_;                              // [block size][width]
    T* slopes_ = nullptr;                                  // [kKeyTile][kQueryTile]
    T *lse2_, *row_sums_;                                  // [kQueryTile]
    ProductCount issued_;
};

template <class T>
void zero_rows(const HeadRows<T>& rows, std::int64_t first, std::int64_t count,
               std::int64_t columns) {
    for (std::int64_t row = first; row < first + count; ++row)
        std::fill_n(rows.row(row), columns, T(0));
}

}  // namespace

template <class T>
void prepare_backward(Context& context, const Shape& shape, const BackwardArguments& arguments) {
    const TileKernels<T>& kernels = tile_kernels<T>();
    const std::int64_t d = shape.head_dim;
    const std::int64_t query_tiles = round_up(shape.query_length, kQueryTile) / kQueryTile;
    T* row_sums = static_cast<T*>(arguments.row_sums.data());
    context.pool.parallel_for(shape.batch * shape.heads * query_tiles, [&](std::int64_t task) {
        const std::int64_t first = task % query_tiles * kQueryTile;
        const std::int64_t head = task / query_tiles % shape.heads;
        const std::int64_t batch = task / query_tiles / shape.heads;
        const std::int64_t queries = std::min(kQueryTile, shape.query_length - first);
        const HeadRows<T> o = head_rows<T>(arguments.o, batch, head);
        const HeadRows<T> d_o = head_rows<T>(arguments.d_o, batch, head);
        T* sums = row_sums + row_index(shape, batch, head, first);
        for (std::int64_t i = 0; i < queries; ++i) {
            sums[i] = kernels.dot(d, d_o.row(first + i), o.row(first + i));
        }
        zero_rows(head_rows<T>(arguments.d_q, batch, head), first, queries, d);
    });
    const std::int64_t key_tiles = round_up(shape.key_length, kQueryTile) / kQueryTile;
    context.pool.parallel_for(shape.batch * shape.kv_heads * key_tiles, [&](std::int64_t task) {
        const std::int64_t first = task % key_tiles * kQueryTile;
        const std::int64_t kv_head = task / key_tiles % shape.kv_heads;
        const std::int64_t batch = task / key_tiles / shape.kv_heads;
        const std::int64_t keys = std::min(kQueryTile, shape.key_length - first);
        zero_rows(head_rows<T>(arguments.d_k, batch, kv_head), first, keys, d);
        zero_rows(head_rows<T>(arguments.d_v, batch, kv_head), first, keys, d);
    });
}

bool block_is_visited(const Shape& shape, std::int64_t first_query, std::int64_t first_key) {
    if (first_query >= shape.query_length || first_key >= shape.key_length) return false;
    const std::int64_t end =
        std::min(first_query + backward_block_size(shape.head_dim), shape.query_length);
    const std::int64_t end_key = first_key + backward_block_size(shape.head_dim);
    return key_limit(shape, end - 1) > first_key && key_start(shape, first_query) < end_key;
}

template <class T>
void backward_block(const Shape& shape, const BackwardArguments& arguments,
                    const BlockPosition& position, IssuedProducts& issued) {
    Block<T> block(shape, arguments, position, Scratch(Block<T>::scratch_bytes(shape)));
    block.run();
    issued.add(block.issued());
}

template void prepare_backward<float>(Context&, const Shape&, const BackwardArguments&);
template void prepare_backward<double>(Context&, const Shape&, const BackwardArguments&);
template void backward_block<float>(const Shape&, const BackwardArguments&, const BlockPosition&,
                                    IssuedProducts&);
template void backward_block<double>(const Shape&, const BackwardArguments&, const BlockPosition&,
                                     IssuedProducts&);

}  // namespace isoflop::attention
