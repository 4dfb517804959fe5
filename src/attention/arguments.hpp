// What the backends share, those of the CPU besides the tile kernels: checked arguments, rows of
// one head, scratch memory of a thread, and the record of products.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <numbers>

#include "attention/cpu/tile_kernels.hpp"
#include "attention/issued_products.hpp"
#include "isoflop/attention/attention.hpp"
#include "isoflop/base/rounding.hpp"

namespace isoflop::attention {

/// Throw std::invalid_argument, naming the argument, when types, sizes or pointers do not fit the
/// shape. lse and row_sums have the type of q, but are fp32 beside 16-bit ones.
void check_forward(cost::AttentionBackend backend, const Shape& shape,
                   const ForwardArguments& arguments,
                   cost::DeviceKind device = cost::DeviceKind::cpu);
void check_backward(cost::AttentionBackend backend, const Shape& shape,
                    const BackwardArguments& arguments,
                    cost::DeviceKind device = cost::DeviceKind::cpu);

/// Products that the kernels have counted.
void record_counted(const Context& context, cost::Pass pass, const ProductCount& issued);
/// Products of all heads as cost::core_pairs plans them: fused kernels of GPUs and libraries do not
/// count.
void record_planned_forward(const Context& context, cost::AttentionBackend backend,
                            const Shape& shape, cost::Pass pass);
void record_planned_backward(const Context& context, cost::AttentionBackend backend,
                             const Shape& shape, bool deterministic);

/// The rows of one head of one sequence.
template <class T>
struct HeadRows {
    T* data = nullptr;
    std::int64_t stride = 0;

    [[nodiscard]] T* row(std::int64_t token) const { return data + token * stride; }
};

template <class T>
[[nodiscard]] HeadRows<T> head_rows(const Heads& heads, std::int64_t batch, std::int64_t head) {
    return {static_cast<T*>(heads.data) + batch * heads.batch_stride + head * heads.head_stride,
            heads.token_stride};
}

[[nodiscard]] inline std::int64_t kv_head_of(const Shape& shape, std::int64_t head) {
    return head / (shape.heads / shape.kv_heads);
}

/// First key that `query` must not see.
[[nodiscard]] inline std::int64_t key_limit(const Shape& shape, std::int64_t query) {
    return shape.causal ? cost::causal_key_limit(query, shape.query_length, shape.key_length)
                        : shape.key_length;
}

/// First key that `query` sees, unless it sees none.
[[nodiscard]] inline std::int64_t key_start(const Shape& shape, std::int64_t query) {
    return cost::window_key_start(query, shape.query_length, shape.key_length, shape.window);
}

/// Offset of the row of `query` in lse and row_sums, [batch, heads, query_length].
[[nodiscard]] inline std::int64_t row_index(const Shape& shape, std::int64_t batch,
                                            std::int64_t head, std::int64_t query) {
    return (batch * shape.heads + head) * shape.query_length + query;
}

template <class T>
inline constexpr T kLog2E = std::numbers::log2e_v<T>;
template <class T>
inline constexpr T kLn2 = std::numbers::ln2_v<T>;

/// Memory of the calling thread, kept between calls and grown when needed: tiles of one task.
class Scratch {
public:
    explicit Scratch(std::int64_t bytes) : next_(thread_memory(static_cast<std::size_t>(bytes))) {}

    /// The next `count` elements, aligned to kAlignment; contents are undefined.
    template <class T>
    [[nodiscard]] T* take(std::int64_t count) {
        T* taken = reinterpret_cast<T*>(next_);
        next_ += size<T>(count);
        return taken;
    }
    /// Bytes that take() consumes.
    template <class T>
    [[nodiscard]] static constexpr std::int64_t size(std::int64_t count) {
        return round_up(count * static_cast<std::int64_t>(sizeof(T)), kAlignment);
    }

    static constexpr std::int64_t kAlignment = 64;

private:
    [[nodiscard]] static std::byte* thread_memory(std::size_t bytes);
    std::byte* next_;
};

}  // namespace isoflop::attention
