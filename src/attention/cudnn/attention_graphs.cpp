#include "attention/cudnn/attention_graphs.hpp"

namespace isoflop::attention::cudnn {
namespace {

constexpr DataType kFloat = DataType::float32;

/// Adds the operations that forward and backward share, with the sizes of a shape.
class Builder {
public:
    Builder(Graph& graph, const Shape& shape, DataType type)
        : graph_(graph),
          shape_(shape),
          type_(type),
          scores_{shape.batch, shape.heads, shape.query_length, shape.key_length},
          rows_{shape.batch, shape.heads, shape.query_length, 1} {}

    [[nodiscard]] TensorId of_queries(std::int64_t uid, const Layout& layout) const {
        return graph_.real(uid, type_, query_dims(), strides(layout));
    }
    [[nodiscard]] TensorId of_keys(std::int64_t uid, const Layout& layout) const {
        return graph_.real(uid, type_, key_dims(shape_.kv_heads), strides(layout));
    }
    /// The transpose: rows are columns of memory.
    [[nodiscard]] TensorId of_keys_transposed(std::int64_t uid, const Layout& layout) const {
        return graph_.real(uid, type_, swapped(key_dims(shape_.kv_heads)),
                           swapped(strides(layout)));
    }
    /// fp32, one for each query.
    [[nodiscard]] TensorId of_rows(std::int64_t uid) const {
        return graph_.real(uid, kFloat, rows_, packed_strides(rows_));
    }
    [[nodiscard]] TensorId between_rows() const { return graph_.intermediate(kFloat, rows_); }
    [[nodiscard]] TensorId between_scores(DataType type = kFloat) const {
        return graph_.intermediate(type, scores_);
    }

    [[nodiscard]] TensorId scaled_scores(TensorId q, TensorId k_transposed, TensorId scale) const {
        const TensorId products = between_scores();
        const TensorId scores = between_scores();
        graph_.matmul(q, k_transposed, products);
        graph_.pointwise(PointwiseMode::mul, products, scale, scores);
        return scores;
    }
    /// -inf where a query must not see a key.
    [[nodiscard]] TensorId masked(TensorId scores) const {
        if (!shape_.causal) return scores;
        const TensorId rows = between_scores(DataType::int32);
        const TensorId columns = between_scores(DataType::int32);
        const TensorId seen = between_scores(DataType::boolean);
        const TensorId result = between_scores();
        graph_.index(scores, 2, rows);
        graph_.index(scores, 3, columns);
        graph_.greater_or_equal(rows, columns, seen);
        graph_.select(scores, graph_.scalar(kMinusInfinity), seen, result);
        return result;
    }
    /// In 16 bits, [keys, queries].
    [[nodiscard]] TensorId transposed(TensorId scores) const {
        const TensorId result =
            graph_.intermediate(type_, swapped(scores_), swapped(packed_strides(scores_)));
        graph_.reshape(scores, result);
        return result;
    }
    /// result = a b, summed over the query heads of each group.
    void sum_over_groups(TensorId a, TensorId b, TensorId result) const {
        if (shape_.heads == shape_.kv_heads) return graph_.matmul(a, b, result);
        const TensorId all_heads = graph_.intermediate(type_, key_dims(shape_.heads));
        graph_.matmul(a, b, all_heads);
        graph_.reduce(ReductionOperator::add, all_heads, result);
    }

    [[nodiscard]] Extents query_dims() const {
        return {shape_.batch, shape_.heads, shape_.query_length, shape_.head_dim};
    }
    [[nodiscard]] Extents key_dims(std::int64_t heads) const {
        return {shape_.batch, heads, shape_.key_length, shape_.head_dim};
    }
    [[nodiscard]] static Extents strides(const Layout& layout) {
        return {layout.batch_stride, layout.head_stride, layout.token_stride, 1};
    }

private:
    Graph& graph_;
    const Shape& shape_;
    DataType type_;
    Extents scores_;
    Extents rows_;
};

}  // namespace

Layout layout_of(const Heads& heads) {
    return {heads.batch_stride, heads.token_stride, heads.head_stride};
}

void build_forward(Graph& graph, const Shape& shape, DataType type, const ForwardLayouts& layouts) {
    const Builder build(graph, shape, type);
    const TensorId q = build.of_queries(kQ, layouts.q);
    const TensorId k = build.of_keys_transposed(kK, layouts.k);
    const TensorId v = build.of_keys(kV, layouts.v);
    const TensorId o = build.of_queries(kO, layouts.o);
    const TensorId lse = build.of_rows(kLse);
    const TensorId scores = build.masked(build.scaled_scores(q, k, graph.scalar(kScale)));

    const TensorId maxima = build.between_rows();
    const TensorId differences = build.between_scores();
    const TensorId powers = build.between_scores();
    const TensorId sums = build.between_rows();
    const TensorId logarithms = build.between_rows();
    const TensorId probabilities = build.between_scores(type);
    graph.reduce(ReductionOperator::max, scores, maxima);
    graph.pointwise(PointwiseMode::sub, scores, maxima, differences);
    graph.pointwise(PointwiseMode::exp, differences, powers);
    graph.reduce(ReductionOperator::add, powers, sums);
    graph.pointwise(PointwiseMode::log, sums, logarithms);
    graph.pointwise(PointwiseMode::add, maxima, logarithms, lse);
    graph.pointwise(PointwiseMode::div, powers, sums, probabilities);
    graph.matmul(probabilities, v, o);
}

void build_backward(Graph& graph, const Shape& shape, DataType type, const BackwardLayouts& layouts,
                    bool deterministic) {
    const Builder build(graph, shape, type);
    const TensorId q = build.of_queries(kQ, layouts.q);
    const TensorId k = build.of_keys_transposed(kK, layouts.k);
    const TensorId v = build.of_keys_transposed(kV, layouts.v);
    const TensorId o = build.of_queries(kO, layouts.o);
    const TensorId d_o = build.of_queries(kDO, layouts.d_o);
    const TensorId scale = graph.scalar(kScale);

    // Row sums, times one: the place of what dropout would divide by.
    const TensorId products = graph.intermediate(kFloat, build.query_dims());
    const TensorId sums = build.between_rows();
    const TensorId row_sums = build.of_rows(kRowSums);
    graph.pointwise(PointwiseMode::mul, d_o, o, products);
    graph.reduce(ReductionOperator::add, products, sums);
    graph.pointwise(PointwiseMode::mul, sums, graph.scalar(kOne), row_sums);

    // Probabilities, d_v.
    const TensorId shifted = build.between_scores();
    graph.pointwise(PointwiseMode::sub, build.scaled_scores(q, k, scale), build.of_rows(kLse),
                    shifted);
    const TensorId probabilities = build.between_scores();
    graph.pointwise(PointwiseMode::exp, build.masked(shifted), probabilities);
    build.sum_over_groups(build.transposed(probabilities), d_o, build.of_keys(kDV, layouts.d_v));

    // Gradients of scores, d_k.
    const TensorId d_p = build.between_scores();
    const TensorId centred = build.between_scores();
    const TensorId weighted = build.between_scores();
    const TensorId d_s = build.between_scores();
    graph.matmul(d_o, v, d_p);
    graph.pointwise(PointwiseMode::sub, d_p, row_sums, centred);
    graph.pointwise(PointwiseMode::mul, centred, probabilities, weighted);
    graph.pointwise(PointwiseMode::mul, weighted, scale, d_s);
    build.sum_over_groups(build.transposed(d_s), q, build.of_keys(kDK, layouts.d_k));

    // d_q.
    const TensorId keys =
        graph.intermediate(type, build.key_dims(shape.kv_heads), Builder::strides(layouts.k));
    graph.reshape(k, keys);
    const TensorId d_q = build.of_queries(kDQ, layouts.d_q);
    if (deterministic) return graph.matmul(d_s, keys, d_q);
    const TensorId d_q_sums =
        graph.real(kDQSums, kFloat, build.query_dims(), packed_strides(build.query_dims()));
    graph.matmul(d_s, keys, d_q_sums);
    graph.pointwise(PointwiseMode::identity, d_q_sums, d_q);
}

}  // namespace isoflop::attention::cudnn
