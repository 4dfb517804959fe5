// Attention in 16 bits on the emulated device, beside the naive reference in double of the CPU
// tests. Everything around the tensors is NaN: what a kernel reads there shows in its results, and
// what it writes there is found.
#pragma once

#include <cstring>
#include <functional>
#include <memory>

#include "attention/attention_problem.hpp"
#include "attention/flash_attn_2/flash_attn_2_cuda.hpp"
#include "simt_emulator/test_support.hpp"

namespace isoflop::test {

template <class T>
inline constexpr DType kHalfType =
    std::is_same_v<T, simt::Bfloat16> ? DType::bfloat16 : DType::float16;

/// What is tested.
struct FusedAttention {
    std::function<void(const Shape&, const attention::ForwardArguments&)> forward;
    std::function<void(const Shape&, const attention::BackwardArguments&)> backward;
};
inline const FusedAttention kFlashAttn2 = {
    .forward = [](const auto& s,
                  const auto& a) { attention::flash_attn_2::forward(nullptr, s, a); },
    .backward = [](const auto& s,
                   const auto& a) { attention::flash_attn_2::backward(nullptr, s, a); }};

enum class Layout {
    tokens,  ///< [batch, length, heads, head_dim], as tensors mostly are
    packed,  ///< q, k and v side by side in one row
    heads,   ///< [batch, heads, length, head_dim]
    padded,  ///< as tokens, with a gap after each row
};

/// A tensor of 16-bit numbers with `margin` elements of NaN on each side and in all gaps.
template <class T>
struct HalfTensor {
    static constexpr std::uint16_t kPoison = 0x7FFF;  // a NaN in both formats
    static constexpr std::int64_t kMargin = 512;

    std::shared_ptr<emulator::GlobalArray<T>> storage;
    std::int64_t batch = 0, tokens = 0, heads = 0, head_dim = 0;
    std::int64_t offset = 0, batch_stride = 0, token_stride = 0, head_stride = 0;

    HalfTensor() = default;
    HalfTensor(std::int64_t num_batch, std::int64_t num_tokens, std::int64_t num_heads,
               std::int64_t width, Layout layout)
        : batch(num_batch), tokens(num_tokens), heads(num_heads), head_dim(width) {
        const std::int64_t gap = layout == Layout::padded ? 24 : 0;
        token_stride = layout == Layout::heads ? head_dim : heads * head_dim + gap;
        head_stride = layout == Layout::heads ? tokens * head_dim : head_dim;
        batch_stride = layout == Layout::heads ? heads * head_stride : tokens * token_stride;
        offset = kMargin;
        storage = allocate(batch * batch_stride);
    }
    static std::shared_ptr<emulator::GlobalArray<T>> allocate(std::int64_t elements) {
        return std::make_shared<emulator::GlobalArray<T>>(
            static_cast<std::size_t>(elements + 2 * kMargin), T{kPoison});
    }

    [[nodiscard]] std::size_t index(std::int64_t b, std::int64_t s, std::int64_t h,
                                    std::int64_t i) const {
        return static_cast<std::size_t>(offset + b * batch_stride + s * token_stride +
                                        h * head_stride + i);
    }
    [[nodiscard]] Heads view() const {
        return {.data = &(*storage)[static_cast<std::size_t>(offset)],
                .dtype = kHalfType<T>,
                .batch_stride = batch_stride,
                .token_stride = token_stride,
                .head_stride = head_stride};
    }
    /// visit(b, s, h, i, element)
    template <class Visit>
    void for_each(const Visit& visit) const {
        for (std::int64_t b = 0; b < batch; ++b) {
            for (std::int64_t s = 0; s < tokens; ++s) {
                for (std::int64_t h = 0; h < heads; ++h) {
                    for (std::int64_t i = 0; i < head_dim; ++i) {
                        visit(b, s, h, i, (*storage)[index(b, s, h, i)]);
                    }
                }
            }
        }
    }
    void copy_from(Tensor<double>& exact) {
        for_each([&](auto b, auto s, auto h, auto i, T& x) {
            x = simt::round_to<T>(static_cast<float>(exact.at(b, s, h, i)));
            exact.at(b, s, h, i) = static_cast<double>(simt::to_float(x));
        });
    }
    void copy_to(Tensor<double>& exact) const {
        for_each([&](auto b, auto s, auto h, auto i, const T& x) {
            exact.at(b, s, h, i) = static_cast<double>(simt::to_float(x));
        });
    }
    /// All memory outside the elements of the tensor still has its poison.
    [[nodiscard]] bool surroundings_are_untouched() const {
        std::vector<T> rest = storage->values();
        for_each([&](auto b, auto s, auto h, auto i, const T&) {
            rest[index(b, s, h, i)] = T{kPoison};
        });
        return std::all_of(rest.begin(), rest.end(), [](T x) { return x.bits == kPoison; });
    }
};

struct HalfOptions {
    Layout layout = Layout::tokens;
    double amplitude = 1;  ///< of q and k
    unsigned seed = 1;
    /// Changes the exact inputs before they are rounded.
    std::function<void(Problem<double>&)> change = {};
};

template <class T>
struct HalfProblem : ProblemTensors<HalfTensor<T>> {
    using Tensors = ProblemTensors<HalfTensor<T>>;
    using Tensors::d_o, Tensors::d_q, Tensors::d_k, Tensors::d_v;
    using Tensors::q, Tensors::k, Tensors::v, Tensors::o;
    Shape shape;
    Problem<double> exact;  ///< the same inputs
    emulator::GlobalArray<float> lse, row_sums;

    explicit HalfProblem(const Shape& given, const HalfOptions& options = {})
        : shape(given), exact(given, 1, 0) {
        const auto tensor = [&](std::int64_t length, std::int64_t heads, Layout layout) {
            return HalfTensor<T>(shape.batch, length, heads, shape.head_dim, layout);
        };
        const Layout other = options.layout == Layout::packed ? Layout::tokens : options.layout;
        for (auto* x : {&q, &o, &d_o, &d_q}) *x = tensor(shape.query_length, shape.heads, other);
        for (auto* x : {&k, &v, &d_k, &d_v}) *x = tensor(shape.key_length, shape.kv_heads, other);
        if (options.layout == Layout::packed) {
            pack(q, k, v);
            pack(d_q, d_k, d_v);
        }
        fill_with_normal_values(exact, options.seed, options.amplitude);
        if (options.change) options.change(exact);
        q.copy_from(exact.q);
        k.copy_from(exact.k);
        v.copy_from(exact.v);
        d_o.copy_from(exact.d_o);
        const auto rows = static_cast<std::size_t>(shape.batch * shape.heads * shape.query_length);
        lse = emulator::GlobalArray<float>(rows, std::numeric_limits<float>::quiet_NaN());
        row_sums = lse;
    }

    [[nodiscard]] device::TensorView rows(emulator::GlobalArray<float>& data) const {
        float* first = data.size() == 0 ? nullptr : &data[0];
        return {first, DType::float32, {shape.batch, shape.heads, shape.query_length}};
    }
    [[nodiscard]] attention::ForwardArguments forward_arguments() {
        return Tensors::forward_arguments(rows(lse));
    }
    [[nodiscard]] attention::BackwardArguments backward_arguments() {
        return Tensors::backward_arguments(rows(lse), rows(row_sums));
    }
    void run(const FusedAttention& attention = kFlashAttn2) {
        attention.forward(shape, forward_arguments());
        attention.backward(shape, backward_arguments());
        read_results();
    }
    void run_with_atomics() {
        emulator::GlobalArray<float> d_q_sums(lse.size() * static_cast<std::size_t>(shape.head_dim),
                                              std::numeric_limits<float>::quiet_NaN());
        attention::flash_attn_2::forward(nullptr, shape, forward_arguments());
        attention::flash_attn_2::backward_with_atomics(
            nullptr, shape, backward_arguments(),
            {&d_q_sums[0],
             DType::float32,
             {shape.batch, shape.heads, shape.query_length, shape.head_dim}});
        read_results();
    }
    /// Into `exact`, where the helpers of the CPU tests look.
    void read_results() {
        o.copy_to(exact.o);
        d_q.copy_to(exact.d_q);
        d_k.copy_to(exact.d_k);
        d_v.copy_to(exact.d_v);
        const std::vector<float> values = lse.values();
        exact.lse.assign(values.begin(), values.end());
    }
    [[nodiscard]] bool surroundings_are_untouched() const {
        for (const auto* x : {&o, &d_q, &d_k, &d_v}) {
            if (x->storage.use_count() == 1 && !x->surroundings_are_untouched()) return false;
        }
        return true;
    }
    /// All results, bit by bit.
    [[nodiscard]] std::vector<std::uint32_t> bits() const {
        std::vector<std::uint32_t> all;
        for (const auto* x : {&o, &d_q, &d_k, &d_v}) {
            for (const T value : x->storage->values()) all.push_back(value.bits);
        }
        for (const float x : lse.values()) all.push_back(std::bit_cast<std::uint32_t>(x));
        return all;
    }

private:
    void pack(HalfTensor<T>& a, HalfTensor<T>& b, HalfTensor<T>& c) const {
        const std::int64_t width = (shape.heads + 2 * shape.kv_heads) * shape.head_dim;
        const std::int64_t length = std::max(shape.query_length, shape.key_length);
        auto storage = HalfTensor<T>::allocate(shape.batch * length * width);
        std::int64_t offset = HalfTensor<T>::kMargin;
        for (auto* x : {&a, &b, &c}) {
            x->storage = storage;
            x->offset = offset;
            x->token_stride = width;
            x->batch_stride = length * width;
            offset += x->heads * x->head_dim;
        }
    }
};

/// The bounds.
template <class T>
inline constexpr Tolerance kHalfTolerance =
    std::is_same_v<T, simt::Bfloat16> ? Tolerance{.output = 4e-3, .gradient = 4e-3, .lse = 1e-5}
                                      : Tolerance{.output = 5e-4, .gradient = 5e-4, .lse = 1e-5};

}  // namespace isoflop::test
