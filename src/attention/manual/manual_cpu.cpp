// Attention as written in the paper (Vaswani 2017, equation 1): scores of all pairs by a product,
// masked softmax, product with the values. The whole matrix of probabilities is stored for
// backward. The reference for the fused backends, and what runs when they cannot.
//
// Tasks are blocks of kRowBlock queries of one head; d_k and d_v take blocks of kRowBlock keys of
// one key/value head and add the query heads of its group in order, so bits do not depend on the
// number of threads.
#include <limits>

#include "attention/arguments.hpp"
#include "attention/backends_cpu.hpp"
#include "attention/cpu/tile_mask.hpp"
#include "isoflop/device/gemm.hpp"

namespace isoflop::attention {
namespace {

using device::GemmShape;
using device::Transpose;

inline constexpr std::int64_t kRowBlock = 128;

/// One head of one sequence, and one block of its rows (queries, or keys for d_k and d_v).
struct RowBlock {
    std::int64_t batch = 0;
    std::int64_t head = 0;
    std::int64_t first = 0;
    std::int64_t rows = 0;
};

/// Calls run(block) for all blocks of `length` rows of `heads` heads; it returns what it has
/// issued.
template <class Run>
void for_all_blocks(Context& context, const Shape& shape, std::int64_t heads, std::int64_t length,
                    IssuedProducts& issued, const Run& run) {
    const std::int64_t blocks = round_up(length, kRowBlock) / kRowBlock;
    context.pool.parallel_for(shape.batch * heads * blocks, [&](std::int64_t task) {
        const std::int64_t first = task % blocks * kRowBlock;
        issued.add(run(RowBlock{.batch = task / blocks / heads,
                                .head = task / blocks % heads,
                                .first = first,
                                .rows = std::min(kRowBlock, length - first)}));
    });
}

/// The product in this thread; returns its multiply-adds.
template <class T>
std::uint64_t multiply(const GemmShape& product, T factor, const T* a, const T* b, T beta, T* c) {
    gemm_serial(product, factor, a, b, beta, c);
    return multiply_adds(product.m, product.n, product.k);
}

/// Rows of the [batch, heads, query_length, key_length] matrix from `query` on.
template <class T>
T* matrix_row(const TensorView& matrix, const Shape& shape, std::int64_t batch, std::int64_t head,
              std::int64_t query) {
    return matrix.as<T>().data() + row_index(shape, batch, head, query) * shape.key_length;
}

/// out = sum over keys of matrix(query, key) * rows(key). A masked entry of the matrix is 0 and
/// drops out unless a row is Inf or NaN; then only visible keys are summed, one by one.
/// Returns the multiply-adds, as those that follow.
template <class T>
std::uint64_t product_with_keys(const Shape& shape, const RowBlock& block, const T* matrix,
                                const HeadRows<T>& rows, const HeadRows<T>& out) {
    const std::int64_t d = shape.head_dim;
    if (!shape.causal ||
        tile_kernels<T>().all_finite(shape.key_length, d, rows.data, rows.stride)) {
        const GemmShape product{.m = block.rows,
                                .n = d,
                                .k = shape.key_length,
                                .lda = shape.key_length,
                                .ldb = rows.stride,
                                .ldc = out.stride};
        return multiply(product, T(1), matrix, rows.data, T(0), out.row(block.first));
    }
    std::uint64_t pairs = 0;
    for (std::int64_t i = 0; i < block.rows; ++i) {
        T* sums = out.row(block.first + i);
        std::fill_n(sums, d, T(0));
        const std::int64_t limit = key_limit(shape, block.first + i);
        for (std::int64_t key = key_start(shape, block.first + i); key < limit; ++key) {
            const T factor = matrix[i * shape.key_length + key];
            for (std::int64_t column = 0; column < d; ++column)
                sums[column] += factor * rows.row(key)[column];
            ++pairs;
        }
    }
    return pairs * static_cast<std::uint64_t>(d);
}

/// out (+)= sum over queries of matrix(query, key) * rows(query), for the block's keys; masked
/// entries as above.
template <class T>
std::uint64_t product_with_queries(const Shape& shape, const RowBlock& block, const T* matrix,
                                   const HeadRows<T>& rows, const HeadRows<T>& out,
                                   bool accumulate) {
    const std::int64_t d = shape.head_dim;
    if (!shape.causal ||
        tile_kernels<T>().all_finite(shape.query_length, d, rows.data, rows.stride)) {
        const GemmShape product{.transpose_a = Transpose::yes,
                                .m = block.rows,
                                .n = d,
                                .k = shape.query_length,
                                .lda = shape.key_length,
                                .ldb = rows.stride,
                                .ldc = out.stride};
        return multiply(product, T(1), matrix + block.first, rows.data, accumulate ? T(1) : T(0),
                        out.row(block.first));
    }
    std::uint64_t pairs = 0;
    for (std::int64_t key = block.first; key < block.first + block.rows; ++key) {
        T* sums = out.row(key);
        if (!accumulate) std::fill_n(sums, d, T(0));
        for (std::int64_t query = 0; query < shape.query_length; ++query) {
            if (key < key_start(shape, query) || key >= key_limit(shape, query)) continue;
            const T factor = matrix[query * shape.key_length + key];
            for (std::int64_t column = 0; column < d; ++column)
                sums[column] += factor * rows.row(query)[column];
            ++pairs;
        }
    }
    return pairs * static_cast<std::uint64_t>(d);
}

/// matrix = factor * queries keys^T for the block's queries and all keys.
template <class T>
std::uint64_t product_of_all_pairs(const Shape& shape, const RowBlock& block, T factor,
                                   const HeadRows<T>& queries, const HeadRows<T>& keys, T* matrix) {
    const GemmShape product{.transpose_b = Transpose::yes,
                            .m = block.rows,
                            .n = shape.key_length,
                            .k = shape.head_dim,
                            .lda = queries.stride,
                            .ldb = keys.stride,
                            .ldc = shape.key_length};
    return multiply(product, factor, queries.row(block.first), keys.data, T(0), matrix);
}

/// The keys that a query sees, and its row of the matrix that is 0 elsewhere.
struct VisibleRange {
    std::int64_t start = 0;
    std::int64_t limit = 0;

    VisibleRange(const Shape& shape, std::int64_t query)
        : start(key_start(shape, query)), limit(key_limit(shape, query)) {}
    [[nodiscard]] std::int64_t size() const { return limit - start; }
    template <class T>
    void clear_rest(std::int64_t key_length, T* row) const {
        std::fill(row, row + start, T(0));
        std::fill(row + limit, row + key_length, T(0));
    }
};

/// Gradients of capped scores become those of scores. The scores are not stored: a capped score is
/// lse plus the logarithm of its probability, and lse follows from the score with the largest one.
template <class T>
void multiply_by_slopes(const Shape& shape, const VisibleRange& range, const T* q,
                        const HeadRows<T>& keys, const T* p, T* d_row) {
    const T cap = static_cast<T>(shape.soft_cap);
    const std::int64_t largest = std::max_element(p + range.start, p + range.limit) - p;
    const T score =
        static_cast<T>(shape.scale) * tile_kernels<T>().dot(shape.head_dim, q, keys.row(largest));
    const T lse = cap * std::tanh(score / cap) - std::log(p[largest]);
    for (std::int64_t key = range.start; key < range.limit; ++key) {
        // Far below the largest probability there is no gradient; rounding must not pass the cap.
        if (p[key] == T(0)) continue;
        d_row[key] *= slope_of_capped(std::clamp(lse + std::log(p[key]), -cap, cap), cap);
    }
}

template <class T>
ProductCount forward_block(const Shape& shape, const ForwardArguments& arguments,
                           const RowBlock& block) {
    const std::int64_t kv_head = kv_head_of(shape, block.head);
    T* matrix = matrix_row<T>(arguments.probabilities, shape, block.batch, block.head, block.first);
    ProductCount count;
    count.scores = product_of_all_pairs(shape, block, static_cast<T>(shape.scale) * kLog2E<T>,
                                        head_rows<T>(arguments.q, block.batch, block.head),
                                        head_rows<T>(arguments.k, block.batch, kv_head), matrix);
    for (std::int64_t i = 0; i < block.rows; ++i) {
        T* row = matrix + i * shape.key_length;
        const std::int64_t query = block.first + i;
        const VisibleRange range(shape, query);
        if (shape.soft_cap > 0) {
            cap_scores(range.size(), static_cast<T>(shape.soft_cap) * kLog2E<T>, row + range.start);
        }
        const T lse = range.size() > 0
                          ? tile_kernels<T>().softmax_row(range.size(), row + range.start) * kLn2<T>
                          : std::numeric_limits<T>::infinity();
        range.clear_rest(shape.key_length, row);
        if (!arguments.lse.empty()) {
            arguments.lse.as<T>()[static_cast<std::size_t>(
                row_index(shape, block.batch, block.head, query))] = lse;
        }
    }
    count.values =
        product_with_keys(shape, block, matrix, head_rows<T>(arguments.v, block.batch, kv_head),
                          head_rows<T>(arguments.o, block.batch, block.head));
    return count;
}

/// d_scores and d_q of a block of queries.
template <class T>
ProductCount backward_queries(const Shape& shape, const BackwardArguments& arguments,
                              const RowBlock& block) {
    const std::int64_t kv_head = kv_head_of(shape, block.head);
    const T* p =
        matrix_row<T>(arguments.probabilities, shape, block.batch, block.head, block.first);
    T* d_scores = matrix_row<T>(arguments.d_scores, shape, block.batch, block.head, block.first);
    ProductCount count;
    count.values = product_of_all_pairs(shape, block, T(1),
                                        head_rows<T>(arguments.d_o, block.batch, block.head),
                                        head_rows<T>(arguments.v, block.batch, kv_head), d_scores);
    for (std::int64_t i = 0; i < block.rows; ++i) {
        T* row = d_scores + i * shape.key_length;
        const T* p_row = p + i * shape.key_length;
        const VisibleRange range(shape, block.first + i);
        tile_kernels<T>().softmax_row_backward(range.size(), static_cast<T>(shape.scale),
                                               p_row + range.start, row + range.start);
        range.clear_rest(shape.key_length, row);
        if (shape.soft_cap > 0 && range.size() > 0) {
            const HeadRows<T> q = head_rows<T>(arguments.q, block.batch, block.head);
            multiply_by_slopes(shape, range, q.row(block.first + i),
                               head_rows<T>(arguments.k, block.batch, kv_head), p_row, row);
        }
    }
    count.scores =
        product_with_keys(shape, block, d_scores, head_rows<T>(arguments.k, block.batch, kv_head),
                          head_rows<T>(arguments.d_q, block.batch, block.head));
    return count;
}

/// d_k and d_v of a block of keys.
template <class T>
ProductCount backward_keys(const Shape& shape, const BackwardArguments& arguments,
                           const RowBlock& block) {
    ProductCount count;
    const std::int64_t group = shape.heads / shape.kv_heads;
    const HeadRows<T> d_k = head_rows<T>(arguments.d_k, block.batch, block.head);
    const HeadRows<T> d_v = head_rows<T>(arguments.d_v, block.batch, block.head);
    for (std::int64_t in_group = 0; in_group < group; ++in_group) {
        const std::int64_t head = block.head * group + in_group;
        count.values += product_with_queries(
            shape, block, matrix_row<T>(arguments.probabilities, shape, block.batch, head, 0),
            head_rows<T>(arguments.d_o, block.batch, head), d_v, in_group > 0);
        count.scores += product_with_queries(
            shape, block, matrix_row<T>(arguments.d_scores, shape, block.batch, head, 0),
            head_rows<T>(arguments.q, block.batch, head), d_k, in_group > 0);
    }
    return count;
}

struct ManualCpu {
    template <class T>
    static void forward(Context& context, const Shape& shape, const ForwardArguments& arguments,
                        IssuedProducts& issued) {
        for_all_blocks(
            context, shape, shape.heads, shape.query_length, issued,
            [&](const RowBlock& block) { return forward_block<T>(shape, arguments, block); });
    }
    template <class T>
    static void backward(Context& context, const Shape& shape, const BackwardArguments& arguments,
                         IssuedProducts& issued) {
        for_all_blocks(
            context, shape, shape.heads, shape.query_length, issued,
            [&](const RowBlock& block) { return backward_queries<T>(shape, arguments, block); });
        for_all_blocks(
            context, shape, shape.kv_heads, shape.key_length, issued,
            [&](const RowBlock& block) { return backward_keys<T>(shape, arguments, block); });
    }
};

}  // namespace

std::unique_ptr<Backend> make_manual_cpu() {
    return std::make_unique<CpuBackend<cost::AttentionBackend::manual, ManualCpu>>();
}

}  // namespace isoflop::attention
