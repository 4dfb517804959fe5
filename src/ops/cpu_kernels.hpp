// The CPU side of every op: same signatures as the public functions, arguments already checked.
// kernels.hpp makes them a table, which `op.cpp` calls.
#pragma once

#include <cstdint>
#include <span>

#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/adamw.hpp"
#include "isoflop/ops/cross_entropy.hpp"
#include "isoflop/ops/dropout.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/linear.hpp"
#include "isoflop/ops/norm.hpp"
#include "isoflop/ops/qk_norm.hpp"
#include "isoflop/ops/random.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/ops/rope.hpp"

namespace isoflop::ops::cpu {

void activation_forward(Context& context, model::Activation kind, const TensorView& x,
                        const TensorView& out);
void activation_backward(Context& context, model::Activation kind, const TensorView& x,
                         const TensorView& d_out, const TensorView& d_x);
void gated_forward(Context& context, model::Activation kind, const TensorView& gate_up,
                   const TensorView& out);
void gated_backward(Context& context, model::Activation kind, const TensorView& gate_up,
                    const TensorView& d_out, const TensorView& d_gate_up);

void adamw(Context& context, const AdamWOptions& options, std::span<const AdamWSegment> segments,
           const AdamWState& state);

void cross_entropy_forward(Context& context, const TensorView& logits,
                           std::span<const std::int32_t> targets, std::int32_t ignore_index,
                           const TensorView& losses);
void cross_entropy_forward_backward(Context& context, const TensorView& logits,
                                    std::span<const std::int32_t> targets,
                                    std::int32_t ignore_index, double scale,
                                    const TensorView& losses);

void dropout(Context& context, const DropoutKey& key, double probability,
             std::int64_t sequence_length, const TensorView& x);

void embedding_forward(Context& context, std::span<const std::int32_t> tokens,
                       const TensorView& table, const TensorView& positions,
                       std::int64_t sequence_length, std::int64_t first_position,
                       const TensorView& out);
void embedding_backward(Context& context, std::span<const std::int32_t> tokens,
                        const TensorView& d_out, std::int64_t sequence_length,
                        const TensorView& d_table, const TensorView& d_positions);

void linear_forward(Context& context, const Linear& layer, const TensorView& x,
                    const TensorView& y);
/// The layer and GELU (its tanh form) in one, where a library does both: else they return false,
/// and nothing has been computed.
bool linear_gelu_forward(Context& context, const Linear& layer, const TensorView& x,
                         const TensorView& y, const TensorView& activated);
bool linear_gelu_backward_input(Context& context, const Linear& layer, const TensorView& d_y,
                                const TensorView& before, const TensorView& d_before);
void linear_backward_input(Context& context, const Linear& layer, const TensorView& d_y,
                           bool accumulate, const TensorView& d_x);
void linear_backward_weight(Context& context, const Linear& layer, const TensorView& x,
                            const TensorView& d_y, const TensorView& d_weight,
                            const TensorView& d_bias);

/// `branch` and `sum` are empty for a norm without residual addition.
void add_norm_forward(Context& context, const NormParameters& parameters, const TensorView& x,
                      const TensorView& branch, const TensorView& sum, const TensorView& out,
                      const TensorView& statistics);
void norm_backward(Context& context, const NormParameters& parameters, const TensorView& d_out,
                   const TensorView& x, const TensorView& statistics, bool accumulate,
                   const TensorView& d_x, const TensorView& d_weight, const TensorView& d_bias);

void qk_norm_forward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                     const TensorView& key_weight, const TensorView& packed,
                     const TensorView& before, const TensorView& statistics);
void qk_norm_backward(Context& context, const QkNormShape& shape, const TensorView& query_weight,
                      const TensorView& key_weight, const TensorView& before,
                      const TensorView& statistics, const TensorView& d_packed,
                      const TensorView& d_query_weight, const TensorView& d_key_weight);

void fill_normal(Context& context, double deviation, std::uint64_t seed, std::uint64_t stream,
                 std::int64_t first, const TensorView& x);

[[nodiscard]] device::DeferredValue sum_of_squares(Context& context, const TensorView& x);
[[nodiscard]] TensorStatistics statistics(Context& context, const TensorView& x);
[[nodiscard]] device::DeferredValue sum(Context& context, const TensorView& x);
void add(Context& context, const TensorView& x, const TensorView& y, const TensorView& out);
void scale(Context& context, double factor, const TensorView& x);
void fill(Context& context, double value, const TensorView& x);
/// Element types may differ.
void copy(Context& context, const TensorView& from, const TensorView& to);
[[nodiscard]] std::uint64_t checksum(Context& context, const TensorView& x);

enum class RopeDirection { forward, backward };
void rope(Context& context, const RopeTable& table, const RopeShape& shape, RopeDirection direction,
          const TensorView& packed);

}  // namespace isoflop::ops::cpu
