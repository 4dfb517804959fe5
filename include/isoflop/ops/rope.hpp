// Rotary position embedding (Su 2021) of the first r of the d dimensions of each head, all of them
// but in models with partial rotation. In the half-split layout of Hugging Face dimension i rotates
// with i + r/2, in the interleaved one (GPT-J, Cohere) 2i with 2i + 1. Frequencies theta^(-2i/r);
// Llama-3 scaling stretches the long wavelengths (rope_type "llama3").
#pragma once

#include <cstdint>
#include <vector>

#include "isoflop/device/context.hpp"
#include "isoflop/device/tensor_view.hpp"
#include "isoflop/model/model_config.hpp"

namespace isoflop::ops {

using device::Context;
using device::TensorView;

/// cos and sin of every (position, frequency), computed in double, row-major [positions, r / 2].
class RopeTable {
public:
    RopeTable() = default;
    /// Throws ConfigError for an odd number of rotated dimensions or a scaling type other than
    /// llama3 (or linear/default).
    RopeTable(const model::ModelConfig& config, std::int64_t positions);
    /// Of layers with another base and without scaling (the window layers of Gemma-3).
    [[nodiscard]] static RopeTable local(const model::ModelConfig& config, std::int64_t positions);
    [[nodiscard]] std::int64_t positions() const { return positions_; }
    [[nodiscard]] std::int64_t half_dim() const { return half_dim_; }
    [[nodiscard]] const std::vector<double>& cosines() const { return cosines_; }
    [[nodiscard]] const std::vector<double>& sines() const { return sines_; }
    [[nodiscard]] const std::vector<float>& cosines_fp32() const { return cosines_fp32_; }
    [[nodiscard]] const std::vector<float>& sines_fp32() const { return sines_fp32_; }

    /// fp32 values of the table for a GPU: all cosines, then all sines; positions * r.
    [[nodiscard]] std::vector<float> device_values() const;
    /// Where device_values() have been copied to; must outlive the use of the table there.
    void set_device_copy(const float* values) { device_copy_ = values; }
    [[nodiscard]] const float* device_cosines() const { return device_copy_; }
    [[nodiscard]] const float* device_sines() const {
        return device_copy_ + positions_ * half_dim_;
    }

private:
    std::int64_t positions_ = 0;
    std::int64_t half_dim_ = 0;
    std::vector<double> cosines_, sines_;
    std::vector<float> cosines_fp32_, sines_fp32_;
    const float* device_copy_ = nullptr;
};

/// Packed rows [T, row_width]: `heads` heads of each row (query and key heads) are rotated in
/// place, in each its first dimensions, as many as the table is for; token t stands at position
/// first_position + t mod sequence_length.
struct RopeShape {
    std::int64_t heads = 0;  ///< query heads + key heads
    std::int64_t head_dim = 0;
    std::int64_t sequence_length = 0;
    std::int64_t first_position = 0;
    bool interleaved = false;
    /// Heads lie in threes, query, key and value, of which the third is left as it is (GPT-NeoX).
    bool in_threes = false;

    /// Where a rotated head begins in its row, in heads.
    [[nodiscard]] std::int64_t place(std::int64_t head) const {
        return in_threes ? head / 2 * 3 + head % 2 : head;
    }
};
void rope_forward(Context& context, const RopeTable& table, const RopeShape& shape,
                  const TensorView& packed);
/// The transposed rotation, in place on the gradient.
void rope_backward(Context& context, const RopeTable& table, const RopeShape& shape,
                   const TensorView& d_packed);

// What each device implements: the same functions, of arguments that have been checked.
namespace cpu {
decltype(ops::rope_forward) rope_forward;
decltype(ops::rope_backward) rope_backward;
}  // namespace cpu
namespace cuda {
decltype(ops::rope_forward) rope_forward;
decltype(ops::rope_backward) rope_backward;
}  // namespace cuda

}  // namespace isoflop::ops
