// How an op reaches the device of its context.
#pragma once

#include <utility>

#include "isoflop/device/context.hpp"
#include "ops/op_list.hpp"

namespace isoflop::ops {

/// The functions of the device that the context computes on: the one place that chooses.
[[nodiscard]] const Kernels& kernels(const Context& context);

namespace cuda {
/// Of this build; throws std::logic_error in one without CUDA.
[[nodiscard]] const Kernels& kernels();
}  // namespace cuda

/// Calls what the context's device has for the op `function`: run<fill>(context, value, x).
template <auto function, class... Arguments>
decltype(auto) run(Context& context, Arguments&&... arguments) {
    constexpr std::size_t kIndex = AllOps::index_of<function>();
    return std::get<kIndex>(kernels(context))(context, std::forward<Arguments>(arguments)...);
}

}  // namespace isoflop::ops
