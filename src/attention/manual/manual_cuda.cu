// Attention with the whole matrix of probabilities on a GPU: two products by the device and a
// masked softmax between them, in place: a product leaves scaled scores (or the gradient of the
// probabilities) in the element type, and a kernel with one block per row makes them probabilities
// (or gradients of scores), computing in fp32.
//
// Query heads that share a key/value head are products of their own, one after another, each for
// all key/value heads of a sequence at once; so gradients of keys and values are added in order of
// heads. A row of the matrix depends on its query alone: numbers that are not finite stay in it.
#include "attention/arguments.hpp"
#include "attention/backends_cuda.hpp"
#include "isoflop/ops/cuda/softmax.hpp"

namespace isoflop::attention {
namespace {

using device::DeviceGemm;
using device::Transpose;
using ops::cuda::Pack;
using ops::cuda::RowParts;

/// Rows of the [batch, heads, query_length, key_length] matrix, seen as one.
struct MatrixRows {
    std::int64_t count, query_length, key_length;
    std::int64_t misplaced;  ///< elements from a multiple of 16 bytes to the first row
    bool causal;
    std::int64_t window;
    float soft_cap;
    /// The two matrices of backward begin at the same distance from a multiple of 16 bytes, so that
    /// packs of one are packs of the other.
    bool together;
};

/// First key that the query of a row must not see; cost::causal_key_limit for kernels.
SIMT_DEVICE std::int64_t key_limit_of_row(const MatrixRows& rows, std::int64_t row) {
    if (!rows.causal) return rows.key_length;
    const std::int64_t limit = row % rows.query_length + 1 + rows.key_length - rows.query_length;
    return limit > 0 ? limit : 0;
}
/// First key that it sees; cost::window_key_start for kernels.
SIMT_DEVICE std::int64_t key_start_of_row(const MatrixRows& rows, std::int64_t row) {
    if (rows.window == 0) return 0;
    const std::int64_t start = key_limit_of_row(rows, row) - rows.window;
    return start > 0 ? start : 0;
}

SIMT_DEVICE float capped(float score, float soft_cap) {
    return soft_cap > 0 ? soft_cap * std::tanh(score / soft_cap) : score;
}

// ---- Kernels

/// Scores become probabilities, zero where the row sees no key; lse, where there is one, the
/// logarithm of the sum of their exponentials.
template <class T>
SIMT_KERNEL void softmax_rows(simt::Global<T> matrix, simt::Global<float> lse, MatrixRows rows) {
    SIMT_SHARED_ARRAY(float, partial, 2 * ops::cuda::kMostRowWarps);
    for (std::int64_t row = simt::block_index().x; row < rows.count; row += simt::grid_size().x) {
        const auto z = matrix + row * rows.key_length;
        const std::int64_t misplaced = rows.misplaced + row * rows.key_length;
        const std::int64_t limit = key_limit_of_row(rows, row);
        const std::int64_t start = key_start_of_row(rows, row);
        const auto score_of = [&](T value) { return capped(simt::to_float(value), rows.soft_cap); };
        ops::cuda::SoftmaxSum softmax;
        ops::cuda::for_each_part<T>(
            RowParts<T>(misplaced + start, limit - start), [&](std::int64_t first, auto constant) {
                constexpr int width = constant.value;
                const Pack<T, width> pack = ops::cuda::load_pack<width>(z + (start + first));
                float values[width];
                for (int i = 0; i < width; ++i) values[i] = score_of(pack.values[i]);
                ops::cuda::add_to_softmax(softmax, values);
            });
        softmax = ops::cuda::block_softmax(softmax, partial);
        if (lse && simt::thread_index().x == 0) {
            simt::store(lse + row, limit > 0 ? softmax.shift + std::log(softmax.sum)
                                             : -ops::cuda::kMinusInfinity);
        }
        const float factor = 1.0F / softmax.sum;
        ops::cuda::for_each_part<T>(
            RowParts<T>(misplaced, rows.key_length), [&](std::int64_t first, auto constant) {
                constexpr int width = constant.value;
                Pack<T, width> pack{};
                if (first < limit && first + width > start)
                    pack = ops::cuda::load_pack<width>(z + first);
                for (int i = 0; i < width; ++i) {
                    const bool seen = first + i >= start && first + i < limit;
                    const float score = score_of(pack.values[i]);
                    const float p = seen ? std::exp(score - softmax.shift) * factor : 0.0F;
                    pack.values[i] = simt::round_to<T>(p);
                }
                ops::cuda::store_pack(z + first, pack);
            });
    }
}

template <class T>
SIMT_DEVICE RowParts<T> parts_of(const MatrixRows& rows, std::int64_t misplaced,
                                 std::int64_t length) {
    RowParts<T> parts(misplaced, length);
    if (!rows.together) parts.head = parts.packs = 0;  // one by one
    return parts;
}

/// Gradients of probabilities become those of scores, before scaling: p * (d_p - sum of p d_p),
/// zero where the row sees no key.
template <class T>
SIMT_KERNEL void softmax_rows_backward(simt::Global<T> gradients,
                                       simt::Global<const T> probabilities, MatrixRows rows) {
    SIMT_SHARED_ARRAY(float, partial, ops::cuda::kMostRowWarps);
    for (std::int64_t row = simt::block_index().x; row < rows.count; row += simt::grid_size().x) {
        const auto d = gradients + row * rows.key_length;
        const auto p = probabilities + row * rows.key_length;
        const std::int64_t misplaced = rows.misplaced + row * rows.key_length;
        const std::int64_t limit = key_limit_of_row(rows, row);
        const std::int64_t start = key_start_of_row(rows, row);
        float sum = 0;
        ops::cuda::for_each_part<T>(
            parts_of<T>(rows, misplaced + start, limit - start),
            [&](std::int64_t first, auto constant) {
                constexpr int width = constant.value;
                const Pack<T, width> d_p = ops::cuda::load_pack<width>(d + (start + first));
                const Pack<T, width> weight = ops::cuda::load_pack<width>(p + (start + first));
                for (int i = 0; i < width; ++i) {
                    sum += simt::to_float(d_p.values[i]) * simt::to_float(weight.values[i]);
                }
            });
        sum = ops::cuda::block_sum(sum, partial);
        ops::cuda::for_each_part<T>(
            parts_of<T>(rows, misplaced, rows.key_length), [&](std::int64_t first, auto constant) {
                constexpr int width = constant.value;
                Pack<T, width> pack{};
                Pack<T, width> weight{};
                if (first < limit && first + width > start) {
                    pack = ops::cuda::load_pack<width>(d + first);
                    weight = ops::cuda::load_pack<width>(p + first);
                }
                for (int i = 0; i < width; ++i) {
                    const float d_score =
                        simt::to_float(weight.values[i]) * (simt::to_float(pack.values[i]) - sum);
                    const bool seen = first + i >= start && first + i < limit;
                    pack.values[i] = simt::round_to<T>(seen ? d_score : 0.0F);
                }
                ops::cuda::store_pack(d + first, pack);
            });
    }
}

/// Rows of queries and keys in place, for the scores of capped_scores_backward.
template <class T>
struct ScoredHeads {
    simt::Global<const T> q, k;
    std::int64_t q_batch, q_token, q_head;  ///< strides
    std::int64_t k_batch, k_token, k_head;
    std::int64_t heads, group, head_dim;
    float scale;
};

/// The largest value of the block's threads, known to all.
SIMT_DEVICE float block_maximum(float value, simt::Shared<float> partial) {
    return ops::cuda::block_softmax({value, 0.0F}, partial).shift;
}

/// Gradients of capped scores become those of scores. The scores are not stored: a capped score is
/// lse plus the logarithm of its probability, and lse follows from the score with the largest one,
/// the first of equal ones.
template <class T>
SIMT_KERNEL void capped_scores_backward(simt::Global<T> gradients,
                                        simt::Global<const T> probabilities, ScoredHeads<T> heads,
                                        MatrixRows rows) {
    SIMT_SHARED_ARRAY(float, partial, 2 * ops::cuda::kMostRowWarps);
    const int thread = simt::thread_index().x;
    const int threads = simt::block_size().x;
    for (std::int64_t row = simt::block_index().x; row < rows.count; row += simt::grid_size().x) {
        const auto d = gradients + row * rows.key_length;
        const auto p = probabilities + row * rows.key_length;
        const std::int64_t limit = key_limit_of_row(rows, row);
        const std::int64_t start = key_start_of_row(rows, row);
        if (limit <= start) continue;
        float largest = -1.0F;
        std::int64_t place = start;
        for (std::int64_t key = start + thread; key < limit; key += threads) {
            const float value = simt::to_float(simt::load(p + key));
            if (value <= largest) continue;
            largest = value;
            place = key;
        }
        const float peak = block_maximum(largest, partial);
        // Key lengths are exact in fp32 as far as a matrix of scores fits into memory.
        const auto key = static_cast<std::int64_t>(-block_maximum(
            largest == peak ? -static_cast<float>(place) : -static_cast<float>(limit - 1),
            partial));
        const std::int64_t head = row / rows.query_length % heads.heads;
        const std::int64_t batch = row / rows.query_length / heads.heads;
        const auto q = heads.q + (batch * heads.q_batch + head * heads.q_head +
                                  row % rows.query_length * heads.q_token);
        const auto k = heads.k + (batch * heads.k_batch + head / heads.group * heads.k_head +
                                  key * heads.k_token);
        float dot = 0;
        for (std::int64_t i = thread; i < heads.head_dim; i += threads)
            dot += simt::to_float(simt::load(q + i)) * simt::to_float(simt::load(k + i));
        dot = ops::cuda::block_sum(dot, partial);
        const float lse = capped(heads.scale * dot, rows.soft_cap) - std::log(peak);
        for (std::int64_t j = start + thread; j < limit; j += threads) {
            const float weight = simt::to_float(simt::load(p + j));
            if (weight == 0.0F) continue;  // no gradient, and no logarithm
            float part = (lse + std::log(weight)) / rows.soft_cap;
            if (part > 1.0F) part = 1.0F;  // by rounding
            if (part < -1.0F) part = -1.0F;
            const float slope = (1.0F - part) * (1.0F + part);
            simt::store(d + j, simt::round_to<T>(simt::to_float(simt::load(d + j)) * slope));
        }
    }
}

/// Of all heads, element by element: where there are no rows to sum over.
template <class T>
SIMT_KERNEL void fill_heads_with_zeros(simt::Global<T> data, std::int64_t count,
                                       std::int64_t tokens, std::int64_t heads,
                                       std::int64_t head_dim, std::int64_t batch_stride,
                                       std::int64_t token_stride, std::int64_t head_stride) {
    const std::int64_t threads =
        static_cast<std::int64_t>(simt::grid_size().x) * simt::block_size().x;
    for (std::int64_t i = static_cast<std::int64_t>(simt::block_index().x) * simt::block_size().x +
                          simt::thread_index().x;
         i < count; i += threads) {
        const std::int64_t column = i % head_dim;
        const std::int64_t head = i / head_dim % heads;
        const std::int64_t token = i / head_dim / heads % tokens;
        const std::int64_t batch = i / head_dim / heads / tokens;
        simt::store(
            data + (batch * batch_stride + token * token_stride + head * head_stride + column),
            T{});
    }
}

// ---- Launches

template <class T>
[[nodiscard]] MatrixRows matrix_rows(const Shape& shape, const T* matrix) {
    return {.count = shape.batch * shape.heads * shape.query_length,
            .query_length = shape.query_length,
            .key_length = shape.key_length,
            .misplaced = ops::cuda::misplacement(matrix),
            .causal = shape.causal,
            .window = shape.window,
            .soft_cap = static_cast<float>(shape.soft_cap),
            .together = true};
}

[[nodiscard]] simt::Launch row_launch(const Context& context, const char* name,
                                      const MatrixRows& rows) {
    return {.name = name,
            .grid = {ops::cuda::blocks_for(rows.count, 1, 1 << 20)},
            .block = {ops::cuda::threads_for_row(rows.key_length)},
            .stream = ops::cuda::stream_of(context)};
}

template <class T>
void fill_with_zeros(Context& context, const Shape& shape, const Heads& heads, std::int64_t count,
                     std::int64_t tokens) {
    const std::int64_t elements = shape.batch * tokens * count * shape.head_dim;
    if (elements == 0) return;
    simt::launch({.name = "fill_heads_with_zeros",
                  .grid = {ops::cuda::blocks_for(elements, ops::cuda::kBlockThreads)},
                  .block = {ops::cuda::kBlockThreads},
                  .stream = ops::cuda::stream_of(context)},
                 fill_heads_with_zeros<T>, static_cast<T*>(heads.data), elements, tokens, count,
                 shape.head_dim, heads.batch_stride, heads.token_stride, heads.head_stride);
}

// ---- Products

/// The query heads of one sequence that are the n-th of their groups: one per key/value head.
struct Slice {
    std::int64_t batch, in_group;
};

template <class Run>
void for_each_slice(const Shape& shape, const Run& run) {
    for (std::int64_t batch = 0; batch < shape.batch; ++batch) {
        for (std::int64_t i = 0; i < shape.heads / shape.kv_heads; ++i) run(Slice{batch, i});
    }
}

/// A factor or result of `kv_heads` products: where the first one is, and the distance to the next.
struct Operand {
    void* data;
    std::int64_t stride, row_stride;
};

template <class T>
[[nodiscard]] Operand query_heads(const Shape& shape, const Heads& heads, const Slice& slice) {
    const std::int64_t first =
        slice.batch * heads.batch_stride + slice.in_group * heads.head_stride;
    return {static_cast<T*>(heads.data) + first, shape.heads / shape.kv_heads * heads.head_stride,
            heads.token_stride};
}
template <class T>
[[nodiscard]] Operand key_heads(const Heads& heads, const Slice& slice) {
    return {static_cast<T*>(heads.data) + slice.batch * heads.batch_stride, heads.head_stride,
            heads.token_stride};
}
template <class T>
[[nodiscard]] Operand matrices(const Shape& shape, const TensorView& matrix, const Slice& slice) {
    const std::int64_t size = shape.query_length * shape.key_length;
    return {ops::cuda::data<T>(matrix) + (slice.batch * shape.heads + slice.in_group) * size,
            shape.heads / shape.kv_heads * size, shape.key_length};
}

struct ProductOptions {
    Transpose transpose_a = Transpose::no;
    Transpose transpose_b = Transpose::no;
    double alpha = 1;
    bool accumulate = false;
};

/// c [m, n] = alpha a b, for every key/value head. Adds the multiply-adds to `issued`.
template <class T>
void multiply(Context& context, const Shape& shape, std::int64_t m, std::int64_t n, std::int64_t k,
              const Operand& a, const Operand& b, const Operand& c, const ProductOptions& options,
              std::uint64_t& issued) {
    issued += multiply_adds(m, n, k) * static_cast<std::uint64_t>(shape.kv_heads);
    context.device.gemm(context.pool, {.shape = {.transpose_a = options.transpose_a,
                                                 .transpose_b = options.transpose_b,
                                                 .m = m,
                                                 .n = n,
                                                 .k = k,
                                                 .lda = a.row_stride,
                                                 .ldb = b.row_stride,
                                                 .ldc = c.row_stride},
                                       .dtype = ops::cuda::kDTypeOf<T>,
                                       .alpha = static_cast<float>(options.alpha),
                                       .a = a.data,
                                       .b = b.data,
                                       .beta = options.accumulate ? 1.0F : 0.0F,
                                       .c = c.data,
                                       .count = shape.kv_heads,
                                       .stride_a = a.stride,
                                       .stride_b = b.stride,
                                       .stride_c = c.stride});
}

// ---- The backend

template <class T>
void forward_all(Context& context, const Shape& shape, const ForwardArguments& arguments,
                 ProductCount& issued) {
    const std::int64_t queries = shape.query_length;
    const std::int64_t keys = shape.key_length;
    for_each_slice(shape, [&](const Slice& slice) {
        if (keys == 0) return;
        multiply<T>(context, shape, queries, keys, shape.head_dim,
                    query_heads<T>(shape, arguments.q, slice), key_heads<T>(arguments.k, slice),
                    matrices<T>(shape, arguments.probabilities, slice),
                    {.transpose_b = Transpose::yes, .alpha = shape.scale}, issued.scores);
    });
    T* const matrix = ops::cuda::data<T>(arguments.probabilities);
    const MatrixRows rows = matrix_rows(shape, matrix);
    simt::launch(row_launch(context, "softmax_rows", rows), softmax_rows<T>, matrix,
                 ops::cuda::data<float>(arguments.lse), rows);
    if (keys == 0) return fill_with_zeros<T>(context, shape, arguments.o, shape.heads, queries);
    for_each_slice(shape, [&](const Slice& slice) {
        multiply<T>(context, shape, queries, shape.head_dim, keys,
                    matrices<T>(shape, arguments.probabilities, slice),
                    key_heads<T>(arguments.v, slice), query_heads<T>(shape, arguments.o, slice), {},
                    issued.values);
    });
}

template <class T>
[[nodiscard]] ScoredHeads<T> scored_heads(const Shape& shape, const BackwardArguments& arguments) {
    const Heads& q = arguments.q;
    const Heads& k = arguments.k;
    return {.q = static_cast<const T*>(q.data),
            .k = static_cast<const T*>(k.data),
            .q_batch = q.batch_stride,
            .q_token = q.token_stride,
            .q_head = q.head_stride,
            .k_batch = k.batch_stride,
            .k_token = k.token_stride,
            .k_head = k.head_stride,
            .heads = shape.heads,
            .group = shape.heads / shape.kv_heads,
            .head_dim = shape.head_dim,
            .scale = static_cast<float>(shape.scale)};
}

template <class T>
void score_gradients(Context& context, const Shape& shape, const BackwardArguments& arguments,
                     ProductCount& issued) {
    for_each_slice(shape, [&](const Slice& slice) {
        multiply<T>(context, shape, shape.query_length, shape.key_length, shape.head_dim,
                    query_heads<T>(shape, arguments.d_o, slice), key_heads<T>(arguments.v, slice),
                    matrices<T>(shape, arguments.d_scores, slice), {.transpose_b = Transpose::yes},
                    issued.values);
    });
    T* const gradients = ops::cuda::data<T>(arguments.d_scores);
    const T* const probabilities = ops::cuda::data<T>(arguments.probabilities);
    MatrixRows rows = matrix_rows(shape, gradients);
    rows.together = ops::cuda::misplacement(probabilities) == rows.misplaced;
    simt::launch(row_launch(context, "softmax_rows_backward", rows), softmax_rows_backward<T>,
                 gradients, probabilities, rows);
    if (shape.soft_cap > 0) {
        simt::launch(row_launch(context, "capped_scores_backward", rows), capped_scores_backward<T>,
                     gradients, probabilities, scored_heads<T>(shape, arguments), rows);
    }
}

template <class T>
void backward_all(Context& context, const Shape& shape, const BackwardArguments& arguments,
                  ProductCount& issued) {
    const std::int64_t queries = shape.query_length;
    const std::int64_t keys = shape.key_length;
    if (queries == 0 || keys == 0) {
        fill_with_zeros<T>(context, shape, arguments.d_q, shape.heads, queries);
        fill_with_zeros<T>(context, shape, arguments.d_k, shape.kv_heads, keys);
        fill_with_zeros<T>(context, shape, arguments.d_v, shape.kv_heads, keys);
        return;
    }
    score_gradients<T>(context, shape, arguments, issued);
    for_each_slice(shape, [&](const Slice& slice) {
        const Operand p = matrices<T>(shape, arguments.probabilities, slice);
        const Operand d_scores = matrices<T>(shape, arguments.d_scores, slice);
        const bool accumulate = slice.in_group > 0;
        multiply<T>(context, shape, queries, shape.head_dim, keys, d_scores,
                    key_heads<T>(arguments.k, slice), query_heads<T>(shape, arguments.d_q, slice),
                    {.alpha = shape.scale}, issued.scores);
        multiply<T>(context, shape, keys, shape.head_dim, queries, p,
                    query_heads<T>(shape, arguments.d_o, slice), key_heads<T>(arguments.d_v, slice),
                    {.transpose_a = Transpose::yes, .accumulate = accumulate}, issued.values);
        multiply<T>(context, shape, keys, shape.head_dim, queries, d_scores,
                    query_heads<T>(shape, arguments.q, slice), key_heads<T>(arguments.d_k, slice),
                    {.transpose_a = Transpose::yes, .alpha = shape.scale, .accumulate = accumulate},
                    issued.scores);
    });
}

/// Its products are the device's, so it counts them where it issues them.
class ManualCuda final : public Backend {
public:
    [[nodiscard]] cost::AttentionBackend kind() const override {
        return cost::AttentionBackend::manual;
    }

    void forward(Context& context, const Shape& shape,
                 const ForwardArguments& arguments) const override {
        check_forward(kind(), shape, arguments, cost::DeviceKind::cuda);
        if (shape.batch == 0 || shape.query_length == 0) return;
        ProductCount issued;
        ops::cuda::visit_storage(arguments.q.dtype, [&](auto zero) {
            forward_all<decltype(zero)>(context, shape, arguments, issued);
        });
        record_counted(context, arguments.pass, issued);
    }

    void backward(Context& context, const Shape& shape,
                  const BackwardArguments& arguments) const override {
        check_backward(kind(), shape, arguments, cost::DeviceKind::cuda);
        if (shape.batch == 0) return;
        ProductCount issued;
        ops::cuda::visit_storage(arguments.q.dtype, [&](auto zero) {
            backward_all<decltype(zero)>(context, shape, arguments, issued);
        });
        record_counted(context, cost::Pass::backward, issued);
    }
};

}  // namespace

std::unique_ptr<Backend> make_manual_cuda() {
    return std::make_unique<ManualCuda>();
}

}  // namespace isoflop::attention
