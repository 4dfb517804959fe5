// Online softmax of the rows of accumulators, in base 2, masked where a query must not see a key.
#pragma once

#include "attention/tensor_cores/fragments.hpp"
#include "attention/tensor_cores/heads.hpp"

namespace isoflop::attention::tensor_cores {

/// Of each row that a lane shares: the largest score so far, in units of log2, and this lane's part
/// of the sum of exp2(score - maximum).
template <int row_tiles>
struct SoftmaxRows {
    float maximum[row_tiles][2];
    float sum[row_tiles][2];

    SIMT_DEVICE void clear() {
        SIMT_UNROLL
        for (int r = 0; r < row_tiles; ++r) {
            SIMT_UNROLL
            for (int half = 0; half < 2; ++half) {
                maximum[r][half] = -kInfinity;
                sum[r][half] = 0.0F;
            }
        }
    }
};

/// `value` where a key lies before the window of a query.
template <int m, int n>
SIMT_DEVICE void fill_before_window(Accumulator<m, n>& scores, const Problem& problem,
                                    int first_query, int first_key, float value) {
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        SIMT_UNROLL
        for (int i = 0; i < 4; ++i) {
            const int start =
                key_start(problem, first_query + 16 * r + row_in_piece(i)) - first_key;
            SIMT_UNROLL
            for (int c = 0; c < n; ++c) {
                if (8 * c + column_in_piece(i) < start) scores.at[r][c][i] = value;
            }
        }
    }
}

/// -inf where a query must not see a key.
template <class Steps, int m, int n>
SIMT_DEVICE void mask_scores(Accumulator<m, n>& scores, const Problem& problem, int first_query,
                             int first_key) {
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        SIMT_UNROLL
        for (int i = 0; i < 4; ++i) {
            const int limit =
                key_limit<Steps>(problem, first_query + 16 * r + row_in_piece(i)) - first_key;
            SIMT_UNROLL
            for (int c = 0; c < n; ++c) {
                if (8 * c + column_in_piece(i) >= limit) scores.at[r][c][i] = -kInfinity;
            }
        }
    }
    if (problem.window != 0)
        fill_before_window(scores, problem, first_query, first_key, -kInfinity);
}

/// Turns the scores of one row into probabilities times exp2(maximum). Returns by what earlier
/// results of the row are to be multiplied.
template <int m, int n>
SIMT_DEVICE float softmax_row(Accumulator<m, n>& scores, SoftmaxRows<m>& rows, int r, int half,
                              float scale) {
    float largest = -kInfinity;
    SIMT_UNROLL
    for (int c = 0; c < n; ++c) {
        largest = fmaxf(largest, fmaxf(scores.at[r][c][2 * half], scores.at[r][c][2 * half + 1]));
    }
    const float before = rows.maximum[r][half];
    const float maximum = fmaxf(before, quad_maximum(largest) * scale);
    rows.maximum[r][half] = maximum;
    // Nothing seen yet: subtracting -inf would give NaN.
    const float subtrahend = maximum == -kInfinity ? 0.0F : maximum;
    const float factor = simt::exp2_approximate(before - subtrahend);
    float sum = 0.0F;
    SIMT_UNROLL
    for (int c = 0; c < n; ++c) {
        SIMT_UNROLL
        for (int i = 2 * half; i < 2 * half + 2; ++i) {
            scores.at[r][c][i] =
                simt::exp2_approximate(fmaf(scores.at[r][c][i], scale, -subtrahend));
            sum += scores.at[r][c][i];
        }
    }
    rows.sum[r][half] = fmaf(rows.sum[r][half], factor, sum);
    return factor;
}

/// Online softmax of a tile of scores; the output so far is rescaled where a maximum moved.
template <int m, int n, int d>
SIMT_DEVICE void online_softmax(Accumulator<m, n>& scores, Accumulator<m, d>& output,
                                SoftmaxRows<m>& rows, float scale) {
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        const float factors[2] = {softmax_row(scores, rows, r, 0, scale),
                                  softmax_row(scores, rows, r, 1, scale)};
        if (!simt::vote_any(factors[0] != 1.0F || factors[1] != 1.0F)) continue;
        SIMT_UNROLL
        for (int c = 0; c < d; ++c) {
            SIMT_UNROLL
            for (int i = 0; i < 4; ++i) output.at[r][c][i] *= factors[i / 2];
        }
    }
}

/// Divides by the sums and writes lse. A row without keys becomes 0, its lse +inf.
template <int m, int d>
SIMT_DEVICE void finish_rows(Accumulator<m, d>& output, const SoftmaxRows<m>& rows,
                             const Global<float>& lse, int first_query, int query_length) {
    SIMT_UNROLL
    for (int r = 0; r < m; ++r) {
        SIMT_UNROLL
        for (int half = 0; half < 2; ++half) {
            const float sum = quad_sum(rows.sum[r][half]);
            const float inverse = sum == 0.0F ? 0.0F : 1.0F / sum;
            SIMT_UNROLL
            for (int c = 0; c < d; ++c) {
                output.at[r][c][2 * half] *= inverse;
                output.at[r][c][2 * half + 1] *= inverse;
            }
            const int query = first_query + 16 * r + row_in_piece(2 * half);
            if (query >= query_length || simt::lane_index() % 4 != 0) continue;
            const float value = fmaf(rows.maximum[r][half], kLn2, logf(sum));
            simt::store(lse + query, sum == 0.0F ? kInfinity : value);
        }
    }
}

}  // namespace isoflop::attention::tensor_cores
