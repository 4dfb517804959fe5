// The list of all ops that a device implements: one line per op with the public function and its
// implementation for each kind of device. All three have the same type. The tables of kernels.hpp
// are made from this list.
#pragma once

#include <cstddef>
#include <tuple>
#include <type_traits>

#include "isoflop/ops/activation.hpp"
#include "isoflop/ops/adamw.hpp"
#include "isoflop/ops/cross_entropy.hpp"
#include "isoflop/ops/dropout.hpp"
#include "isoflop/ops/embedding.hpp"
#include "isoflop/ops/norm.hpp"
#include "isoflop/ops/qk_norm.hpp"
#include "isoflop/ops/random.hpp"
#include "isoflop/ops/reduction.hpp"
#include "isoflop/ops/rope.hpp"

namespace isoflop::ops {

template <auto function, decltype(function) on_cpu, decltype(function) on_cuda>
struct Op {
    using Function = decltype(function);
    static constexpr Function kFunction = function;
    static constexpr Function kOnCpu = on_cpu;
    static constexpr Function kOnCuda = on_cuda;
};

template <class... Ops>
struct OpList {
    /// A function of one device for every op, in the order of the list.
    using Table = std::tuple<typename Ops::Function...>;
    [[nodiscard]] static constexpr Table on_cpu() { return {Ops::kOnCpu...}; }
    [[nodiscard]] static constexpr Table on_cuda() { return {Ops::kOnCuda...}; }

    /// Place of the op in the list; a function that is not in it does not compile.
    template <auto function>
    [[nodiscard]] static consteval std::size_t index_of() {
        constexpr bool matches[] = {std::is_same_v<Key<function>, Key<Ops::kFunction>>...};
        std::size_t index = 0;
        while (!matches[index]) ++index;
        return index;
    }

private:
    template <auto>
    struct Key {};
};

// clang-format off
using AllOps = OpList<
    Op<activation_forward, cpu::activation_forward, cuda::activation_forward>,
    Op<activation_backward, cpu::activation_backward, cuda::activation_backward>,
    Op<gated_forward, cpu::gated_forward, cuda::gated_forward>,
    Op<gated_backward, cpu::gated_backward, cuda::gated_backward>,
    Op<soft_cap_forward, cpu::soft_cap_forward, cuda::soft_cap_forward>,
    Op<soft_cap_backward, cpu::soft_cap_backward, cuda::soft_cap_backward>,
    Op<adamw, cpu::adamw, cuda::adamw>,
    Op<cross_entropy_forward, cpu::cross_entropy_forward, cuda::cross_entropy_forward>,
    Op<cross_entropy_forward_backward, cpu::cross_entropy_forward_backward, cuda::cross_entropy_forward_backward>,
    Op<dropout, cpu::dropout, cuda::dropout>,
    Op<embedding_forward, cpu::embedding_forward, cuda::embedding_forward>,
    Op<embedding_backward, cpu::embedding_backward, cuda::embedding_backward>,
    Op<add_norm_forward, cpu::add_norm_forward, cuda::add_norm_forward>,
    Op<norm_backward, cpu::norm_backward, cuda::norm_backward>,
    Op<qk_norm_forward, cpu::qk_norm_forward, cuda::qk_norm_forward>,
    Op<qk_norm_backward, cpu::qk_norm_backward, cuda::qk_norm_backward>,
    Op<fill_normal, cpu::fill_normal, cuda::fill_normal>,
    Op<deferred_sum_of_squares, cpu::deferred_sum_of_squares, cuda::deferred_sum_of_squares>,
    Op<statistics, cpu::statistics, cuda::statistics>,
    Op<deferred_sum, cpu::deferred_sum, cuda::deferred_sum>,
    Op<checksum, cpu::checksum, cuda::checksum>,
    Op<add_column_sums, cpu::add_column_sums, cuda::add_column_sums>,
    Op<add, cpu::add, cuda::add>,
    Op<scale, cpu::scale, cuda::scale>,
    Op<fill, cpu::fill, cuda::fill>,
    Op<copy, cpu::copy, cuda::copy>,
    Op<rope_forward, cpu::rope_forward, cuda::rope_forward>,
    Op<rope_backward, cpu::rope_backward, cuda::rope_backward>>;
// clang-format on

using Kernels = AllOps::Table;

}  // namespace isoflop::ops
