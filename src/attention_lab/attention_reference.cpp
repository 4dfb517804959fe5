#include "attention_reference.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace isoflop::attention_lab {
namespace {

constexpr std::int64_t kFewestQueries = 64;
/// Two forward, five backward.
constexpr double kProducts = 7;

double products_of(const attention::Shape& shape, const ReferencePart& part) {
    const double group = static_cast<double>(shape.heads) / static_cast<double>(shape.kv_heads);
    const auto keys = static_cast<double>(shape.key_length);
    const bool half = shape.causal && part.queries == shape.query_length;
    return kProducts * static_cast<double>(part.batch * part.kv_heads * part.queries) * group *
           (half ? keys / 2 : keys) * static_cast<double>(shape.head_dim);
}

/// sums[i] += factor * terms[i]: a loop that compilers vectorise.
void add_scaled(double factor, const double* terms, double* sums, std::int64_t count) {
    for (std::int64_t i = 0; i < count; ++i) sums[i] += factor * terms[i];
}

/// The derivative of a capped score by the score before the cap.
double slope_of_capped(double capped, double soft_cap) {
    const double part = capped / soft_cap;
    return (1 - part) * (1 + part);
}

/// Sums of squares of a tensor's difference and reference.
struct Norms {
    double difference = 0;
    double reference = 0;
    void add(float got, double expected) {
        const double error = static_cast<double>(got) - expected;
        difference += error * error;
        reference += expected * expected;
    }
    [[nodiscard]] double relative(double floor) const {
        return std::sqrt(difference) /
               std::max({std::sqrt(reference), floor, std::numeric_limits<double>::min()});
    }
};

}  // namespace

ReferencePart reference_part(const attention::Shape& shape, double products) {
    if (products <= 0) return {};
    ReferencePart part{
        .batch = shape.batch, .kv_heads = shape.kv_heads, .queries = shape.query_length};
    const auto fits = [&] { return products_of(shape, part) <= products; };
    if (!fits()) part.batch = 1;
    const auto shrink = [&](std::int64_t& extent, std::int64_t least) {
        while (!fits() && extent > least) extent = std::max(least, extent / 2);
    };
    shrink(part.queries, kFewestQueries);
    shrink(part.kv_heads, 1);
    shrink(part.queries, 1);
    return part;
}

std::string describe(const ReferencePart& part, const attention::Shape& shape) {
    std::string text;
    const auto add = [&](std::int64_t some, std::int64_t all, const std::string& what) {
        if (some == all) return;
        text += (text.empty() ? "" : ", ") + what;
    };
    add(part.queries, shape.query_length,
        fmt::format("the last {} of {} queries", part.queries, shape.query_length));
    add(part.batch, shape.batch, fmt::format("{} of {} sequences", part.batch, shape.batch));
    add(part.kv_heads, shape.kv_heads,
        fmt::format("{} of {} key/value heads", part.kv_heads, shape.kv_heads));
    return text;
}

/// Keys and values by element, so that scores are sums of whole rows, and by key.
struct AttentionReference::Group {
    Group(const attention::Shape& shape, std::int64_t of_sequence, std::int64_t of_kv_head,
          const AttentionInputs& inputs)
        : sequence(of_sequence),
          kv_head(of_kv_head),
          k(static_cast<std::size_t>(shape.key_length * shape.head_dim)),
          k_by_element(k.size()),
          v_by_element(k.size()),
          v(k.size()),
          d_k(k.size()),
          d_v(k.size()) {
        const std::int64_t S = shape.key_length;
        const std::int64_t D = shape.head_dim;
        for (std::int64_t key = 0; key < S; ++key) {
            for (std::int64_t i = 0; i < D; ++i) {
                const auto from = static_cast<std::size_t>(
                    ((sequence * S + key) * shape.kv_heads + kv_head) * D + i);
                const auto by_key = static_cast<std::size_t>(key * D + i);
                const auto by_element = static_cast<std::size_t>(i * S + key);
                k[by_key] = k_by_element[by_element] = static_cast<double>(inputs.k[from]);
                v[by_key] = v_by_element[by_element] = static_cast<double>(inputs.v[from]);
            }
        }
    }

    std::int64_t sequence;
    std::int64_t kv_head;
    std::vector<double> k, k_by_element, v_by_element, v;
    mutable std::vector<double> d_k, d_v;
};

AttentionReference::AttentionReference(device::ThreadPool& pool, const attention::Shape& shape,
                                       const ReferencePart& part, const AttentionInputs& inputs)
    : shape_(shape), part_(part) {
    o_.resize(inputs.q.size());
    d_q_.resize(inputs.q.size());
    d_k_.resize(inputs.k.size());
    d_v_.resize(inputs.k.size());
    lse_.resize(static_cast<std::size_t>(part.batch * shape.heads * shape.query_length));
    pool.parallel_for(part.batch * part.kv_heads, [&](std::int64_t task) {
        compute(task / part.kv_heads, task % part.kv_heads, inputs);
    });
}

void AttentionReference::compute(std::int64_t sequence, std::int64_t kv_head,
                                 const AttentionInputs& inputs) {
    const Group group(shape_, sequence, kv_head, inputs);
    const std::int64_t heads = shape_.heads / shape_.kv_heads;
    std::vector<double> scratch;
    for (std::int64_t head = kv_head * heads; head < (kv_head + 1) * heads; ++head) {
        for (std::int64_t row = 0; row < part_.queries; ++row)
            compute_row(group, head, row, inputs, scratch);
    }
    const std::int64_t D = shape_.head_dim;
    for (std::int64_t key = 0; key < shape_.key_length; ++key) {
        for (std::int64_t i = 0; i < D; ++i) {
            const auto to = static_cast<std::size_t>(
                ((sequence * shape_.key_length + key) * shape_.kv_heads + kv_head) * D + i);
            d_k_[to] = group.d_k[static_cast<std::size_t>(key * D + i)];
            d_v_[to] = group.d_v[static_cast<std::size_t>(key * D + i)];
        }
    }
}

void AttentionReference::compute_row(const Group& group, std::int64_t head, std::int64_t row,
                                     const AttentionInputs& inputs, std::vector<double>& scratch) {
    const std::int64_t S = shape_.key_length;
    const std::int64_t D = shape_.head_dim;
    const std::int64_t query = shape_.query_length - part_.queries + row;
    const std::int64_t keys = shape_.causal ? query + 1 : S;
    const std::int64_t start = cost::window_key_start(query, shape_.query_length, S, shape_.window);
    const std::int64_t seen = keys - start;
    const auto first = static_cast<std::size_t>(
        ((group.sequence * part_.queries + row) * shape_.heads + head) * D);
    scratch.assign(static_cast<std::size_t>(3 * S), 0.0);
    double* const p = scratch.data();        // scores, then probabilities
    double* const d_p = scratch.data() + S;  // then gradients of scores
    double* const slopes = scratch.data() + 2 * S;
    std::fill(slopes, slopes + S, 1.0);
    for (std::int64_t i = 0; i < D; ++i) {
        const auto element = first + static_cast<std::size_t>(i);
        add_scaled(shape_.scale * static_cast<double>(inputs.q[element]),
                   group.k_by_element.data() + i * S + start, p + start, seen);
        add_scaled(static_cast<double>(inputs.d_o[element]),
                   group.v_by_element.data() + i * S + start, d_p + start, seen);
    }
    for (std::int64_t key = start; shape_.soft_cap > 0 && key < keys; ++key) {
        p[key] = shape_.soft_cap * std::tanh(p[key] / shape_.soft_cap);
        slopes[key] = slope_of_capped(p[key], shape_.soft_cap);
    }
    const double largest = *std::max_element(p + start, p + keys);
    double sum = 0;
    for (std::int64_t key = start; key < keys; ++key) sum += p[key] = std::exp(p[key] - largest);
    double row_sum = 0;
    for (std::int64_t key = start; key < keys; ++key) row_sum += (p[key] /= sum) * d_p[key];
    const auto place = (group.sequence * shape_.heads + head) * shape_.query_length + query;
    lse_[static_cast<std::size_t>(place)] = largest + std::log(sum);
    std::vector<double> q_row(static_cast<std::size_t>(D));
    std::vector<double> d_o_row(static_cast<std::size_t>(D));
    for (std::size_t i = 0; i < q_row.size(); ++i) {
        q_row[i] = static_cast<double>(inputs.q[first + i]);
        d_o_row[i] = static_cast<double>(inputs.d_o[first + i]);
    }
    for (std::int64_t key = start; key < keys; ++key) {
        const double d_s = shape_.scale * slopes[key] * p[key] * (d_p[key] - row_sum);
        add_scaled(p[key], group.v.data() + key * D, o_.data() + first, D);
        add_scaled(d_s, group.k.data() + key * D, d_q_.data() + first, D);
        add_scaled(d_s, q_row.data(), group.d_k.data() + key * D, D);
        add_scaled(p[key], d_o_row.data(), group.d_v.data() + key * D, D);
    }
}

AttentionErrors AttentionReference::errors(const AttentionResults& results) const {
    const std::int64_t D = shape_.head_dim;
    const std::int64_t group = shape_.heads / shape_.kv_heads;
    const std::int64_t heads = part_.kv_heads * group;
    Norms o, d_q, d_k, d_v;
    AttentionErrors errors;  // NaN stays: nothing is greater
    for (std::int64_t sequence = 0; sequence < part_.batch; ++sequence) {
        for (std::int64_t row = 0; row < part_.queries; ++row) {
            const std::int64_t first = (sequence * part_.queries + row) * shape_.heads * D;
            for (std::int64_t i = first; i < first + heads * D; ++i) {
                const auto at = static_cast<std::size_t>(i);
                o.add(results.o[at], o_[at]);
                d_q.add(results.d_q[at], d_q_[at]);
            }
            for (std::int64_t head = 0; head < heads; ++head) {
                const auto at = static_cast<std::size_t>((sequence * shape_.heads + head + 1) *
                                                             shape_.query_length -
                                                         part_.queries + row);
                const double error = std::abs(static_cast<double>(results.lse[at]) - lse_[at]);
                const double relative = error / std::max(1.0, std::abs(lse_[at]));
                if (relative > errors.lse || std::isnan(relative)) errors.lse = relative;
            }
        }
        for (std::int64_t key = 0; key < shape_.key_length; ++key) {
            const std::int64_t first = (sequence * shape_.key_length + key) * shape_.kv_heads * D;
            for (std::int64_t i = first; i < first + part_.kv_heads * D; ++i) {
                const auto at = static_cast<std::size_t>(i);
                d_k.add(results.d_k[at], d_k_[at]);
                d_v.add(results.d_v[at], d_v_[at]);
            }
        }
    }
    // Even probabilities 1 / S and inputs of unit variance give an element of d_q the variance
    // 1 / S, and one of d_k that of the queries which share it over S^2.
    const auto S = static_cast<double>(shape_.key_length);
    const double query_elements = static_cast<double>(part_.batch * part_.queries * heads * D);
    errors.output = o.relative(0);
    errors.d_query = d_q.relative(std::sqrt(query_elements / S));
    errors.d_key = d_k.relative(std::sqrt(query_elements / S));
    errors.d_value = d_v.relative(0);
    return errors;
}

}  // namespace isoflop::attention_lab
